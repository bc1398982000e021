//! MONITOR: clients that are shown every command this gateway runs, as it begins to run.
//!
//! Lines wait in the clients' mailboxes, so a reader that is too slow is cut off and slows nobody down. Commands for
//! operators are not shown, nor are passwords.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::redis::{Spec, Value, table::Flag};
use parking_lot::Mutex;

use super::clients::Client;
use super::mailbox::Delivery;

/// Stands for what nobody may see.
const REDACTED: &[u8] = b"(redacted)";

/// Who is shown commands.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    clients: Mutex<Vec<Arc<Client>>>,
    /// Looked at with every command.
    count: AtomicUsize,
}

impl Monitors {
    pub(super) fn add(&self, client: &Arc<Client>) {
        let mut clients = self.clients.lock();
        if !clients.iter().any(|other| other.id == client.id) {
            clients.push(client.clone());
        }
        client.is_monitor.store(true, Ordering::Relaxed);
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    pub(super) fn remove(&self, client: &Client) {
        if !client.is_monitor.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut clients = self.clients.lock();
        clients.retain(|other| other.id != client.id);
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    /// Shows a command; `origin` is the address of its client, or `lua`.
    pub(super) fn show(&self, spec: &Spec, args: &[Bytes], database: u8, origin: &dyn Display) {
        if self.count.load(Ordering::Relaxed) == 0 || spec.has(Flag::Admin) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = format!("{}.{:06} [{database} {origin}]", now.as_secs(), now.subsec_micros());
        for arg in shown(spec, args) {
            line.push(' ');
            quote(&arg, &mut line);
        }
        let line = Value::Simple(line.into());
        self.clients.lock().iter().for_each(|client| client.mailbox.deliver(Delivery::Line(line.clone())));
    }
}

/// Settings whose values nobody may see.
const SECRET_SETTINGS: [&str; 5] =
    ["masterauth", "masteruser", "requirepass", "tls-client-key-file-pass", "tls-key-file-pass"];

/// Whether a command line may have passwords in it.
pub(super) fn has_secrets(spec: &Spec) -> bool {
    matches!(spec.name, "acl|setuser" | "auth" | "config|set" | "hello" | "migrate")
}

/// A command line without its passwords.
pub(super) fn shown(spec: &Spec, args: &[Bytes]) -> Vec<Bytes> {
    let mut shown = args.to_vec();
    if !has_secrets(spec) {
        return shown;
    }
    let is = |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let behind = |word: &str, count: usize| {
        let at = (1..args.len()).find(|at| is(*at, word)).map_or(args.len(), |at| at + 1);
        at..at + count
    };
    let hidden: Vec<usize> = match spec.name {
        "auth" => (1..args.len()).collect(),
        "acl|setuser" => (2..args.len()).collect(),
        "hello" => behind("auth", 2).collect(),
        "migrate" => behind("auth", 1).chain(behind("auth2", 2)).collect(),
        "config|set" => {
            (3..args.len()).step_by(2).filter(|at| SECRET_SETTINGS.iter().any(|name| is(at - 1, name))).collect()
        }
        _ => Vec::new(),
    };
    for at in hidden {
        if let Some(arg) = shown.get_mut(at) {
            *arg = Bytes::from_static(REDACTED);
        }
    }
    shown
}

/// Bytes in quotes, as redis-cli reads them back.
fn quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use commands::redis::resolve;

    use super::*;
    use crate::redis::clients::Clients;
    use crate::redis::reply::Protocol;

    fn line(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn hidden(text: &str) -> String {
        let args = line(text);
        let words = shown(resolve(&args).unwrap(), &args);
        words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn passwords_are_never_shown() {
        assert_eq!(hidden("hello 3 auth me secret setname x"), "hello 3 auth (redacted) (redacted) setname x");
        assert_eq!(hidden("config set hz 1 masterauth secret"), "config set hz 1 masterauth (redacted)");
        assert_eq!(hidden("migrate h 1 k 0 9 auth2 me secret"), "migrate h 1 k 0 9 auth2 (redacted) (redacted)");
        assert_eq!(hidden("set auth secret"), "set auth secret");
    }

    #[test]
    fn who_monitors_is_shown_what_runs() {
        let address = "127.0.0.1:7".parse().unwrap();
        let client = Clients::default().add(address, address, 9).unwrap();
        let monitors = Monitors::default();
        let show = |text: &str| {
            let args = line(text);
            monitors.show(resolve(&args).unwrap(), &args, 3, &"lua");
        };
        show("set before x");
        monitors.add(&client);
        show("set \"a\u{1}\\ \n");
        show("config get hz");
        let mut out = bytes::BytesMut::new();
        client.mailbox.write(Protocol::Resp2, 1 << 20, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        assert!(text.starts_with('+') && text.ends_with(" [3 lua] \"set\" \"\\\"a\\x01\\\\\" \"\\n\"\r\n"), "{text}");
        monitors.remove(&client);
        show("set after x");
        assert!(client.mailbox.is_empty());
    }
}
