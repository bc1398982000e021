//! What a connection is sent without having asked at that moment: messages of channels, invalidations, MONITOR's lines.
//!
//! Whoever has something to say puts it into the client's mailbox and goes on; the session writes it when it is next
//! awake, between replies, never inside one. What waits is bounded in bytes: a client that does not read is cut off,
//! and its session ends, as Redis does beyond `client-output-buffer-limit`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use commands::redis::Value;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::reply::{self, Protocol};

/// Most bytes that wait for one client.
const MAX_BYTES: usize = 32 << 20;
/// What a delivery costs beside its text.
const OVERHEAD_BYTES: usize = 64;

/// One thing to say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Delivery {
    /// A push of RESP3, an array in RESP2.
    Push(Vec<Value>),
    /// A value of its own.
    Line(Value),
}

impl Delivery {
    fn bytes(&self) -> usize {
        let of = |value: &Value| match value {
            Value::Bulk(bytes) => bytes.len(),
            Value::Simple(text) => text.len(),
            _ => 0,
        };
        OVERHEAD_BYTES
            + match self {
                Delivery::Push(items) => items.iter().map(of).sum(),
                Delivery::Line(value) => of(value),
            }
    }
}

/// The mailbox of one client.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    cut_off: AtomicBool,
    cut: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
}

impl Mailbox {
    /// Leaves something for the client. One that has too much waiting already is cut off.
    pub(super) fn deliver(&self, delivery: Delivery) {
        if self.is_cut_off() {
            return;
        }
        {
            let mut waiting = self.waiting.lock();
            waiting.bytes += delivery.bytes();
            if waiting.bytes > MAX_BYTES {
                *waiting = Waiting::default();
                self.cut_off.store(true, Ordering::Release);
                self.cut.notify_one();
            } else {
                waiting.deliveries.push_back(delivery);
            }
        }
        // One permit is kept if the session is not waiting just now.
        self.arrived.notify_one();
    }

    /// How many deliveries wait, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let waiting = self.waiting.lock();
        (waiting.deliveries.len(), waiting.bytes)
    }

    /// Cuts the client off, whatever it is about to be sent: CLIENT KILL.
    pub(super) fn cut_off(&self) {
        *self.waiting.lock() = Waiting::default();
        self.cut_off.store(true, Ordering::Release);
        self.cut.notify_one();
        self.arrived.notify_one();
    }

    /// Returns when there is something to take, or the client is cut off.
    pub(super) async fn arrived(&self) {
        while self.is_empty() && !self.is_cut_off() {
            self.arrived.notified().await;
        }
    }

    /// Whether the client did not read what it was sent, or was killed.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Returns when the client is cut off: its session may hang in a write that will never end.
    pub(super) async fn cut(&self) {
        while !self.is_cut_off() {
            self.cut.notified().await;
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().deliveries.is_empty()
    }

    /// Moves what waits onto the wire until that holds `bytes`.
    pub(super) fn write(&self, protocol: Protocol, bytes: usize, out: &mut BytesMut) {
        while out.len() < bytes {
            let next = {
                let mut waiting = self.waiting.lock();
                let Some(next) = waiting.deliveries.pop_front() else {
                    *waiting = Waiting::default();
                    return;
                };
                waiting.bytes -= next.bytes();
                next
            };
            match next {
                Delivery::Push(items) => reply::write_push(&items, protocol, out),
                Delivery::Line(value) => reply::write(&value, protocol, out),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Delivery {
        Delivery::Push(vec![Value::bulk("message"), Value::Bulk(vec![b'm'; bytes].into())])
    }

    #[tokio::test]
    async fn what_arrives_is_written_in_order_and_in_portions() {
        let mailbox = Mailbox::default();
        mailbox.deliver(message(1));
        mailbox.deliver(Delivery::Line(Value::Simple("line".into())));
        mailbox.arrived().await;
        let mut out = BytesMut::new();
        mailbox.write(Protocol::Resp2, 1, &mut out);
        assert_eq!(&out[..], b"*2\r\n$7\r\nmessage\r\n$1\r\nm\r\n");
        out.clear();
        mailbox.write(Protocol::Resp3, 1 << 10, &mut out);
        assert_eq!(&out[..], b"+line\r\n");
        mailbox.deliver(message(0));
        out.clear();
        mailbox.write(Protocol::Resp3, 1 << 10, &mut out);
        assert_eq!(&out[..], b">2\r\n$7\r\nmessage\r\n$0\r\n\r\n");
        assert!(mailbox.is_empty());
    }

    #[tokio::test]
    async fn who_does_not_read_is_cut_off() {
        let mailbox = Mailbox::default();
        (0..33).for_each(|_| mailbox.deliver(message(1 << 20)));
        mailbox.arrived().await;
        mailbox.cut().await;
        assert!(mailbox.is_cut_off() && mailbox.is_empty());
    }
}
