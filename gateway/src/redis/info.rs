//! INFO: what this gateway knows of itself. Of the data it knows nothing; that is what the metrics of the storage nodes
//! are for. A field of Redis that would have to be invented is left out.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{Shared, process};

/// The version of Redis whose behaviour is kept; clients choose their features by it.
pub(super) const REDIS_VERSION: &str = "7.0.15";

/// Appends the lines of one section.
type Section = fn(&Shared, &mut String) -> std::fmt::Result;

/// Name, title, whether INFO without arguments has it, lines.
const SECTIONS: [(&str, &str, bool, Section); 13] = [
    ("server", "Server", true, server),
    ("clients", "Clients", true, clients),
    ("memory", "Memory", true, memory),
    ("persistence", "Persistence", true, persistence),
    ("stats", "Stats", true, stats),
    ("replication", "Replication", true, replication),
    ("cpu", "CPU", true, cpu),
    ("modules", "Modules", true, modules),
    ("commandstats", "Commandstats", false, commandstats),
    ("errorstats", "Errorstats", true, errorstats),
    ("latencystats", "Latencystats", false, latencystats),
    ("cluster", "Cluster", true, cluster),
    ("keyspace", "Keyspace", true, keyspace),
];

/// The sections that were asked for, each once; those that most people want when none was.
pub(super) fn render(wanted: &[Bytes], shared: &Shared) -> String {
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name.as_bytes()));
    let all = is_wanted("all") || is_wanted("everything");
    let usual = wanted.is_empty() || is_wanted("default");
    let mut out = String::new();
    for (name, title, is_usual, write) in SECTIONS {
        if all || (usual && is_usual) || is_wanted(name) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            // Writing to a string cannot fail.
            let _ = write!(out, "# {title}\r\n");
            let _ = write(shared, &mut out);
        }
    }
    out
}

fn server(shared: &Shared, out: &mut String) -> std::fmt::Result {
    let uptime = shared.started.elapsed().as_secs();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(out, "redis_version:{REDIS_VERSION}\r\n")?;
    write!(out, "elastickv_version:{}\r\n", env!("CARGO_PKG_VERSION"))?;
    write!(out, "redis_mode:standalone\r\n")?;
    write!(out, "os:{} {}\r\n", std::env::consts::OS, std::env::consts::ARCH)?;
    write!(out, "arch_bits:{}\r\n", usize::BITS)?;
    write!(out, "process_id:{}\r\n", std::process::id())?;
    write!(out, "run_id:{}\r\n", shared.run_id)?;
    write!(out, "tcp_port:{}\r\n", shared.address.port())?;
    write!(out, "server_time_usec:{}\r\n", now.as_micros())?;
    write!(out, "uptime_in_seconds:{uptime}\r\n")?;
    write!(out, "uptime_in_days:{}\r\n", uptime / 86_400)?;
    write!(out, "executable:{}\r\n", std::env::current_exe().unwrap_or_default().display())?;
    write!(out, "config_file:\r\n")
}

fn clients(shared: &Shared, out: &mut String) -> std::fmt::Result {
    write!(out, "connected_clients:{}\r\n", shared.clients.count())?;
    write!(out, "cluster_connections:0\r\n")?;
    write!(out, "maxclients:{}\r\n", shared.parameters.effects().connections.load(Ordering::Relaxed))?;
    write!(out, "blocked_clients:{}\r\n", shared.clients.count_waiting())?;
    write!(out, "tracking_clients:0\r\n")?;
    write!(out, "clients_in_timeout_table:0\r\n")
}

/// The memory of the process. Data is not kept here, so there is nothing to be evicted or freed later.
fn memory(shared: &Shared, out: &mut String) -> std::fmt::Result {
    let process::Memory { resident, peak, total } = process::memory();
    let waiting: usize = shared.clients.all().iter().map(|client| client.mailbox.waiting().1).sum();
    let most: u64 = shared.parameters.text("maxmemory").parse().unwrap_or_default();
    let fields = [
        ("used_memory", resident),
        ("used_memory_rss", resident),
        ("used_memory_peak", peak),
        ("total_system_memory", total),
        ("maxmemory", most),
    ];
    for (name, bytes) in fields {
        write!(out, "{name}:{bytes}\r\n{name}_human:{}\r\n", human(bytes))?;
    }
    write!(out, "maxmemory_policy:{}\r\n", shared.parameters.text("maxmemory-policy"))?;
    write!(out, "number_of_cached_scripts:{}\r\n", shared.scripts.count_kept())?;
    write!(out, "mem_not_counted_for_evict:0\r\n")?;
    write!(out, "mem_clients_slaves:0\r\n")?;
    write!(out, "mem_clients_normal:{waiting}\r\n")?;
    write!(out, "active_defrag_running:0\r\n")?;
    write!(out, "lazyfree_pending_objects:0\r\n")?;
    write!(out, "lazyfreed_objects:0\r\n")
}

/// `1.50M`
fn human(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let power = (bytes.max(1).ilog2() / 10).min(5) as usize;
    match power {
        0 => format!("{bytes}B"),
        _ => format!("{:.2}{}", bytes as f64 / (1_u64 << (10 * power)) as f64, units[power]),
    }
}

/// The data is never being loaded here: a storage node that starts answers when it is ready. Every write is logged.
fn persistence(_: &Shared, out: &mut String) -> std::fmt::Result {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(out, "loading:0\r\nasync_loading:0\r\n")?;
    write!(out, "rdb_changes_since_last_save:0\r\nrdb_bgsave_in_progress:0\r\n")?;
    write!(out, "rdb_last_save_time:{}\r\nrdb_last_bgsave_status:ok\r\n", now.as_secs())?;
    write!(out, "aof_enabled:1\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n")?;
    write!(out, "aof_last_bgrewrite_status:ok\r\naof_last_write_status:ok\r\n")?;
    write!(out, "module_fork_in_progress:0\r\n")
}

fn stats(shared: &Shared, out: &mut String) -> std::fmt::Result {
    let stats = &shared.stats;
    write!(out, "total_connections_received:{}\r\n", stats.connections.load(Ordering::Relaxed))?;
    write!(out, "total_commands_processed:{}\r\n", stats.commands.load(Ordering::Relaxed))?;
    write!(out, "total_net_input_bytes:{}\r\n", stats.bytes_in.load(Ordering::Relaxed))?;
    write!(out, "total_net_output_bytes:{}\r\n", stats.bytes_out.load(Ordering::Relaxed))?;
    write!(out, "rejected_connections:{}\r\n", stats.rejected.load(Ordering::Relaxed))?;
    write!(out, "evicted_keys:0\r\nevicted_clients:0\r\n")?;
    write!(out, "latest_fork_usec:0\r\ntotal_forks:0\r\n")?;
    write!(out, "tracking_total_keys:0\r\ntracking_total_items:0\r\ntracking_total_prefixes:0\r\n")?;
    write!(out, "unexpected_error_replies:0\r\n")?;
    write!(out, "total_error_replies:{}\r\n", shared.statistics.total_errors())?;
    write!(out, "router_requests_in_flight:{}\r\n", shared.router.in_flight())
}

/// Replication happens below, between storage nodes; to a client this is a server that takes writes.
fn replication(shared: &Shared, out: &mut String) -> std::fmt::Result {
    write!(out, "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n")?;
    write!(out, "master_replid:{}\r\nmaster_replid2:{:040}\r\n", shared.run_id, 0)?;
    write!(out, "master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n")
}

fn cpu(_: &Shared, out: &mut String) -> std::fmt::Result {
    let process::Processor { user, system } = process::processor();
    write!(out, "used_cpu_sys:{system:.6}\r\nused_cpu_user:{user:.6}\r\n")?;
    write!(out, "used_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n")
}

fn modules(_: &Shared, _: &mut String) -> std::fmt::Result {
    Ok(())
}

fn commandstats(shared: &Shared, out: &mut String) -> std::fmt::Result {
    shared.statistics.write_commands(out)
}

fn errorstats(shared: &Shared, out: &mut String) -> std::fmt::Result {
    shared.statistics.write_errors(out)
}

fn latencystats(shared: &Shared, out: &mut String) -> std::fmt::Result {
    let percentiles = shared.parameters.effects().percentiles.lock().clone();
    shared.statistics.write_percentiles(&percentiles, out)
}

/// Clients that speak the cluster protocol are served (`cluster`); all others need not know.
fn cluster(_: &Shared, out: &mut String) -> std::fmt::Result {
    write!(out, "cluster_enabled:0\r\n")
}

/// Keys are counted by asking every range, which is too much for INFO. A line with `#` is a remark.
fn keyspace(_: &Shared, out: &mut String) -> std::fmt::Result {
    write!(out, "# not counted: DBSIZE counts the keys of a database\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!([0, 1023, 1536, 3 << 20, 5 << 40].map(human), ["0B", "1023B", "1.50K", "3.00M", "5.00T"]);
    }
}
