//! INFO: what this gateway knows of itself. Of the data it knows nothing; that is what the metrics of the storage nodes
//! are for.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Shared;

/// The version of Redis whose behaviour is kept; clients choose their features by it.
pub(super) const REDIS_VERSION: &str = "7.0.15";

/// Appends the lines of one section.
type Section = fn(&Shared, &mut String) -> std::fmt::Result;

const SECTIONS: [(&str, Section); 6] = [
    ("server", server),
    ("clients", clients),
    ("persistence", persistence),
    ("stats", stats),
    ("replication", replication),
    ("cluster", cluster),
];

/// The sections that were asked for; all of them when none was.
pub(super) fn render(wanted: &[Bytes], shared: &Shared) -> String {
    let all =
        wanted.is_empty() || wanted.iter().any(|name| ["all", "everything", "default"].iter().any(|all| is(name, all)));
    let mut out = String::new();
    for (name, write) in SECTIONS {
        if all || wanted.iter().any(|wanted| is(wanted, name)) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            let title = name[..1].to_ascii_uppercase() + &name[1..];
            // Writing to a string cannot fail.
            let _ = write!(out, "# {title}\r\n");
            let _ = write(shared, &mut out);
        }
    }
    out
}

fn is(arg: &Bytes, word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

fn server(shared: &Shared, out: &mut String) -> std::fmt::Result {
    let uptime = shared.started.elapsed().as_secs();
    write!(out, "redis_version:{REDIS_VERSION}\r\n")?;
    write!(out, "elastickv_version:{}\r\n", env!("CARGO_PKG_VERSION"))?;
    write!(out, "redis_mode:standalone\r\n")?;
    write!(out, "os:{} {}\r\n", std::env::consts::OS, std::env::consts::ARCH)?;
    write!(out, "arch_bits:{}\r\n", usize::BITS)?;
    write!(out, "process_id:{}\r\n", std::process::id())?;
    write!(out, "run_id:{}\r\n", shared.run_id)?;
    write!(out, "tcp_port:{}\r\n", shared.address.port())?;
    write!(out, "uptime_in_seconds:{uptime}\r\n")?;
    write!(out, "uptime_in_days:{}\r\n", uptime / 86_400)
}

fn clients(shared: &Shared, out: &mut String) -> std::fmt::Result {
    write!(out, "connected_clients:{}\r\n", shared.clients.count())?;
    write!(out, "maxclients:{}\r\n", shared.limits.max_connections)?;
    write!(out, "blocked_clients:0\r\n")
}

fn persistence(_: &Shared, out: &mut String) -> std::fmt::Result {
    // The data is never being loaded here: a storage node that starts answers when it is ready.
    write!(out, "loading:0\r\naof_enabled:1\r\n")
}

fn stats(shared: &Shared, out: &mut String) -> std::fmt::Result {
    let stats = &shared.stats;
    write!(out, "total_connections_received:{}\r\n", stats.connections.load(Ordering::Relaxed))?;
    write!(out, "total_commands_processed:{}\r\n", stats.commands.load(Ordering::Relaxed))?;
    write!(out, "total_net_input_bytes:{}\r\n", stats.bytes_in.load(Ordering::Relaxed))?;
    write!(out, "total_net_output_bytes:{}\r\n", stats.bytes_out.load(Ordering::Relaxed))?;
    write!(out, "rejected_connections:{}\r\n", stats.rejected.load(Ordering::Relaxed))?;
    write!(out, "router_requests_in_flight:{}\r\n", shared.router.in_flight())
}

fn replication(_: &Shared, out: &mut String) -> std::fmt::Result {
    // Replication happens below, between storage nodes; to a client this is a server that takes writes.
    write!(out, "role:master\r\nconnected_slaves:0\r\n")
}

fn cluster(_: &Shared, out: &mut String) -> std::fmt::Result {
    write!(out, "cluster_enabled:0\r\n")
}
