//! What the operating system says of this process. Where it says nothing, everything is 0.

use std::fs;

/// Units in which Linux counts processor time, per second; the same on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) resident: u64,
    /// The most that it ever was.
    pub(super) peak: u64,
    /// Of the machine.
    pub(super) total: u64,
}

/// Seconds of processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Processor {
    pub(super) user: f64,
    pub(super) system: f64,
}

pub(super) fn memory() -> Memory {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Memory { resident: bytes(&status, "VmRSS:"), peak: bytes(&status, "VmHWM:"), total: bytes(&machine, "MemTotal:") }
}

pub(super) fn processor() -> Processor {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may have anything in it. User and system time are fields 14 and 15 of the line.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let seconds =
        |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0) / TICKS_PER_SECOND;
    Processor { user: seconds(11), system: seconds(12) }
}

/// A line such as `VmRSS: 1234 kB`, with a tab in between.
fn bytes(lines: &str, name: &str) -> u64 {
    let line = lines.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_time() {
        let memory = memory();
        assert!(
            memory.resident > 1 << 20 && memory.peak >= memory.resident && memory.total > memory.peak,
            "{memory:?}"
        );
        assert!(processor().user >= 0.0);
        assert_eq!(bytes("a: 1 kB\nVmRSS:\t 12 kB\n", "VmRSS:"), 12 << 10);
    }
}
