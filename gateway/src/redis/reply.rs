//! Replies onto the wire, in RESP2 or RESP3.
//!
//! Writing is infallible and needs nothing but room; a proptest reads everything back with redis-protocol.

use bytes::{BufMut, BytesMut};
use commands::redis::{Value, format_double};

/// Version of the protocol that a connection has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    /// What every client begins with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// The number in HELLO.
    pub(super) fn number(self) -> u8 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// Appends the beginning of an array, whose items follow. It is the same in both versions.
pub(super) fn write_array(items: usize, out: &mut BytesMut) {
    length(b'*', items, out);
}

/// Appends what nobody asked for at this moment: a push in RESP3; RESP2 has no more for it than an array.
pub(super) fn write_push(items: &[Value], protocol: Protocol, out: &mut BytesMut) {
    length(if protocol == Protocol::Resp3 { b'>' } else { b'*' }, items.len(), out);
    items.iter().for_each(|item| write(item, protocol, out));
}

/// Appends one reply.
pub(super) fn write(value: &Value, protocol: Protocol, out: &mut BytesMut) {
    let resp3 = protocol == Protocol::Resp3;
    match value {
        Value::Simple(status) => line(b'+', status.as_bytes(), out),
        Value::Error(error) => line(b'-', error.as_bytes(), out),
        Value::Integer(integer) => header(b':', *integer, out),
        Value::Bulk(bytes) => bulk(bytes, out),
        Value::Null if resp3 => out.put_slice(b"_\r\n"),
        Value::Null => out.put_slice(b"$-1\r\n"),
        Value::NullArray if resp3 => out.put_slice(b"_\r\n"),
        Value::NullArray => out.put_slice(b"*-1\r\n"),
        Value::Array(items) => {
            length(b'*', items.len(), out);
            items.iter().for_each(|item| write(item, protocol, out));
        }
        Value::Set(items) => {
            length(if resp3 { b'~' } else { b'*' }, items.len(), out);
            items.iter().for_each(|item| write(item, protocol, out));
        }
        Value::Map(pairs) => {
            let (mark, count) = if resp3 { (b'%', pairs.len()) } else { (b'*', pairs.len() * 2) };
            length(mark, count, out);
            for (key, value) in pairs {
                write(key, protocol, out);
                write(value, protocol, out);
            }
        }
        Value::Pairs(pairs) => {
            length(b'*', if resp3 { pairs.len() } else { pairs.len() * 2 }, out);
            for (first, second) in pairs {
                if resp3 {
                    length(b'*', 2, out);
                }
                write(first, protocol, out);
                write(second, protocol, out);
            }
        }
        // Whoever has run the command has taken them off; they are not for the client.
        Value::Told(reply, _) => write(reply, protocol, out),
        Value::Streams(pairs) => {
            length(if resp3 { b'%' } else { b'*' }, pairs.len(), out);
            for (first, second) in pairs {
                if !resp3 {
                    length(b'*', 2, out);
                }
                write(first, protocol, out);
                write(second, protocol, out);
            }
        }
        Value::Double(double) if resp3 => line(b',', format_double(*double).as_bytes(), out),
        Value::Double(double) => bulk(format_double(*double).as_bytes(), out),
        Value::Decimal(digits) if resp3 => line(b',', digits.as_bytes(), out),
        Value::Decimal(digits) => bulk(digits.as_bytes(), out),
        Value::Boolean(boolean) if resp3 => out.put_slice(if *boolean { b"#t\r\n" } else { b"#f\r\n" }),
        Value::Boolean(boolean) => header(b':', i64::from(*boolean), out),
        Value::BigNumber(digits) if resp3 => line(b'(', digits.as_bytes(), out),
        Value::BigNumber(digits) => bulk(digits.as_bytes(), out),
        Value::Verbatim { format, text } if resp3 => {
            length(b'=', format.len() + 1 + text.len(), out);
            out.put_slice(format.as_bytes());
            out.put_u8(b':');
            out.put_slice(text);
            out.put_slice(b"\r\n");
        }
        Value::Verbatim { text, .. } => bulk(text, out),
    }
}

fn bulk(bytes: &[u8], out: &mut BytesMut) {
    length(b'$', bytes.len(), out);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// One line. Line breaks inside would end it early, so they become spaces.
fn line(mark: u8, text: &[u8], out: &mut BytesMut) {
    out.reserve(text.len() + 3);
    out.put_u8(mark);
    if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        text.iter().for_each(|&byte| out.put_u8(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    } else {
        out.put_slice(text);
    }
    out.put_slice(b"\r\n");
}

fn length(mark: u8, length: usize, out: &mut BytesMut) {
    // Nothing in memory is longer than i64 can say.
    header(mark, length as i64, out);
}

fn header(mark: u8, number: i64, out: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.reserve(24);
    out.put_u8(mark);
    if number < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use redis_protocol::resp2::types::OwnedFrame as Frame2;
    use redis_protocol::resp3::types::OwnedFrame as Frame3;

    use super::*;

    fn written(value: &Value, protocol: Protocol) -> Bytes {
        let mut out = BytesMut::new();
        write(value, protocol, &mut out);
        out.freeze()
    }

    #[test]
    fn every_kind_in_both_versions() {
        let map = Value::Map(vec![(Value::Bulk("k".into()), Value::Integer(-1))]);
        let verbatim = Value::Verbatim { format: "txt".into(), text: "hi".into() };
        let pairs = Value::Pairs(vec![(Value::Bulk("m".into()), Value::Double(0.5))]);
        let streams = Value::Streams(vec![(Value::Bulk("s".into()), Value::Array(Vec::new()))]);
        let cases: [(Value, &str, &str); 17] = [
            (Value::OK, "+OK\r\n", "+OK\r\n"),
            (Value::Error("ERR a\r\nb".into()), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (Value::Integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (Value::Bulk(Bytes::new()), "$0\r\n\r\n", "$0\r\n\r\n"),
            (Value::Null, "$-1\r\n", "_\r\n"),
            (Value::NullArray, "*-1\r\n", "_\r\n"),
            (Value::Array(vec![Value::Integer(1), Value::Null]), "*2\r\n:1\r\n$-1\r\n", "*2\r\n:1\r\n_\r\n"),
            (Value::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (Value::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (Value::Decimal("0.25".into()), "$4\r\n0.25\r\n", ",0.25\r\n"),
            (Value::Boolean(true), ":1\r\n", "#t\r\n"),
            (map, "*2\r\n$1\r\nk\r\n:-1\r\n", "%1\r\n$1\r\nk\r\n:-1\r\n"),
            (pairs, "*2\r\n$1\r\nm\r\n$3\r\n0.5\r\n", "*1\r\n*2\r\n$1\r\nm\r\n,0.5\r\n"),
            (streams, "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n", "%1\r\n$1\r\ns\r\n*0\r\n"),
            (Value::Set(vec![Value::OK]), "*1\r\n+OK\r\n", "~1\r\n+OK\r\n"),
            (Value::BigNumber("123".into()), "$3\r\n123\r\n", "(123\r\n"),
            (verbatim, "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
        ];
        for (value, resp2, resp3) in cases {
            assert_eq!(written(&value, Protocol::Resp2), resp2, "{value:?}");
            assert_eq!(written(&value, Protocol::Resp3), resp3, "{value:?}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from);
        let leaf = prop_oneof![
            "[ -~]{0,20}".prop_map(|text| Value::Simple(text.into())),
            "[ -~\r\n]{0,20}".prop_map(Value::Error),
            any::<i64>().prop_map(Value::Integer),
            bytes().prop_map(Value::Bulk),
            Just(Value::Null),
            Just(Value::NullArray),
            any::<f64>().prop_map(Value::Double),
            any::<bool>().prop_map(Value::Boolean),
            "-?[1-9][0-9]{0,30}".prop_map(Value::BigNumber),
            bytes().prop_map(|text| Value::Verbatim { format: "txt".into(), text }),
        ];
        leaf.prop_recursive(3, 24, 5, move |inner| {
            let key = bytes().prop_map(Value::Bulk);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec((key, inner), 0..4).prop_map(Value::Map),
            ]
        })
    }

    fn is_read_as(value: &Value, frame: &Frame2) -> bool {
        match (value, frame) {
            (Value::Simple(text), Frame2::SimpleString(found)) => text.as_bytes() == found.as_slice(),
            (Value::Error(text), Frame2::Error(found)) => text.replace(['\r', '\n'], " ") == *found,
            (Value::Integer(integer), Frame2::Integer(found)) => integer == found,
            (Value::Boolean(boolean), Frame2::Integer(found)) => i64::from(*boolean) == *found,
            (Value::Bulk(bytes), Frame2::BulkString(found)) => bytes == found,
            (Value::Verbatim { text, .. }, Frame2::BulkString(found)) => text == found,
            (Value::BigNumber(text), Frame2::BulkString(found)) => text.as_bytes() == found.as_slice(),
            (Value::Double(double), Frame2::BulkString(found)) => {
                let read: f64 = std::str::from_utf8(found).unwrap().parse().unwrap();
                read == *double || (read.is_nan() && double.is_nan())
            }
            (Value::Null | Value::NullArray, Frame2::Null) => true,
            (Value::Array(items), Frame2::Array(found)) => {
                items.len() == found.len() && items.iter().zip(found).all(|(item, found)| is_read_as(item, found))
            }
            (Value::Map(pairs), Frame2::Array(found)) => {
                let flat: Vec<&Value> = pairs.iter().flat_map(|(key, value)| [key, value]).collect();
                flat.len() == found.len() && flat.iter().zip(found).all(|(item, found)| is_read_as(item, found))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_resp2_client_reads_what_was_meant(value in values()) {
            let bytes = written(&value, Protocol::Resp2);
            let (frame, used) = redis_protocol::resp2::decode::decode(&bytes).unwrap().unwrap();
            prop_assert_eq!(used, bytes.len());
            prop_assert!(is_read_as(&value, &frame), "{:?} was read as {:?}", value, frame);
        }

        #[test]
        fn a_resp3_client_reads_one_whole_reply(value in values()) {
            let bytes = written(&value, Protocol::Resp3);
            let (frame, used) = redis_protocol::resp3::decode::complete::decode(&bytes).unwrap().unwrap();
            prop_assert_eq!(used, bytes.len());
            if let (Value::Map(pairs), Frame3::Map { data, .. }) = (&value, &frame) {
                prop_assert!(data.len() <= pairs.len(), "equal keys fall together");
            }
        }
    }
}
