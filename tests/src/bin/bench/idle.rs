//! What a demo costs when nobody uses it: processor time and memory from `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use tests::cluster::{Process, binaries, ports};
use tests::resp::Connection;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// After the start, before the measurement: elections and first flushes are over.
const SETTLE: Duration = Duration::from_secs(5);
/// Linux counts processor time in these, whatever the kernel's own tick is.
const TICKS_A_SECOND: f64 = 100.0;

/// An idle process.
pub struct Idle {
    /// Percent of one core.
    pub cpu_percent: f64,
    /// Resident memory, MiB.
    pub memory_mib: f64,
}

/// Starts a demo, leaves it alone, measures for `duration`.
pub fn measure(root: &std::path::Path, duration: Duration) -> Result<Idle, String> {
    let base = ports::free_address().port();
    let arguments = ["--data-dir", &root.join("demo").display().to_string(), "--base-port", &base.to_string()];
    let arguments = arguments.map(str::to_owned).to_vec();
    let mut demo = Process::new("demo", binaries::binary("elastickv-demo"), arguments, root.join("demo.log"));
    demo.start();
    let begin = Instant::now();
    let redis = ([127, 0, 0, 1], base).into();
    let serves =
        || Connection::open(redis, Duration::from_secs(1))?.line("SET idle 1").map(|reply| reply.error().is_none());
    while !serves().unwrap_or(false) {
        if begin.elapsed() > START_TIMEOUT || !demo.is_running() {
            return Err(format!("the demo does not serve: {}", demo.log_end()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(SETTLE);
    let id = demo.id().ok_or("the demo has ended")?;
    let before = processor_seconds(id)?;
    std::thread::sleep(duration);
    let cpu_percent = 100.0 * (processor_seconds(id)? - before) / duration.as_secs_f64();
    Ok(Idle { cpu_percent, memory_mib: resident_mib(id)? })
}

fn processor_seconds(id: u32) -> Result<f64, String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).map_err(|error| error.to_string())?;
    // The name in brackets may hold blanks; user and system time are the 12th and 13th field behind it.
    let behind_name = stat.rsplit_once(')').map_or("", |parts| parts.1);
    let ticks = behind_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / TICKS_A_SECOND)
}

fn resident_mib(id: u32) -> Result<f64, String> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib = line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).ok_or("no VmRSS")?;
    Ok(kib / 1024.0)
}
