//! A blocking Redis client, small enough to follow: what a test sends is what goes over the wire.
//!
//! It speaks RESP2 and reads RESP3. Commands can be queued ([`Connection::queue`]) and their answers taken one by one
//! ([`Connection::receive`]), which is pipelining; [`Connection::call`] does one at a time. Bytes that are no command at
//! all go out with [`Connection::send_raw`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR …`: the server's sentence.
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$5…`, or a verbatim string with its format.
    Bulk(Vec<u8>),
    /// Nil, in any of its three forms.
    Nil,
    /// `*`, or the push type `>`.
    Array(Vec<Reply>),
    /// `%`
    Map(Vec<(Reply, Reply)>),
    /// `~`
    Set(Vec<Reply>),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`
    BigNumber(String),
}

impl Reply {
    /// The bulk or status text, for comparisons in tests.
    pub fn text(&self) -> Option<String> {
        match self {
            Reply::Status(text) => Some(text.clone()),
            Reply::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The server's sentence when this is an error.
    pub fn error(&self) -> Option<&str> {
        match self {
            Reply::Error(sentence) => Some(sentence),
            _ => None,
        }
    }
}

/// One connection to a gateway.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    outgoing: Vec<u8>,
}

impl Connection {
    /// Connects. Every read and write afterwards takes at most `timeout`.
    pub fn open(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { reader: BufReader::new(stream), outgoing: Vec::new() })
    }

    /// Queues a command without sending it.
    pub fn queue(&mut self, arguments: &[impl AsRef<[u8]>]) {
        encode(&mut self.outgoing, arguments);
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent = self.reader.get_mut().write_all(&self.outgoing);
        self.outgoing.clear();
        sent
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Waits for one answer.
    pub fn receive(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.reader, 0)
    }

    /// Sends one command and waits for its answer.
    pub fn call(&mut self, arguments: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        self.queue(arguments);
        self.flush()?;
        self.receive()
    }

    /// [`Connection::call`] with the words of one line, for commands without blanks in their arguments.
    pub fn line(&mut self, words: &str) -> io::Result<Reply> {
        self.call(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// Another handle of the same connection, to shut it down from another thread.
    pub fn handle(&self) -> io::Result<TcpStream> {
        self.reader.get_ref().try_clone()
    }

    /// Waits until the server closes; fails when it sends something instead or the time is up.
    pub fn expect_close(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(0) => Ok(()),
            Ok(_) => Err(junk(format!("unexpected bytes before the close: {:?}", String::from_utf8_lossy(&rest)))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Appends a command as an array of bulk strings.
pub fn encode(out: &mut Vec<u8>, arguments: &[impl AsRef<[u8]>]) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        let argument = argument.as_ref();
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn junk(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(junk("a line without its end"));
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).map_err(|_| junk("a line that is not text"))
}

fn read_reply(reader: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    if depth > 16 {
        return Err(junk("an answer nested too deeply"));
    }
    let line = read_line(reader)?;
    let mut characters = line.chars();
    let (kind, rest) = (characters.next(), characters.as_str());
    let number = || rest.parse::<i64>().map_err(|_| junk(format!("not a number: {line:?}")));
    Ok(match kind {
        Some('+') => Reply::Status(rest.to_owned()),
        Some('-') => Reply::Error(rest.to_owned()),
        Some(':') => Reply::Integer(number()?),
        Some('_') => Reply::Nil,
        Some('#') => Reply::Boolean(rest == "t"),
        Some(',') => Reply::Double(rest.parse().map_err(|_| junk(format!("not a number: {line:?}")))?),
        Some('(') => Reply::BigNumber(rest.to_owned()),
        Some('$' | '=') => match number()? {
            -1 => Reply::Nil,
            length => Reply::Bulk(read_bulk(reader, length)?),
        },
        Some('*' | '>') => match number()? {
            -1 => Reply::Nil,
            count => Reply::Array(read_many(reader, count, depth)?),
        },
        Some('~') => Reply::Set(read_many(reader, number()?, depth)?),
        Some('%') => {
            let mut flat = read_many(reader, 2 * number()?, depth)?.into_iter();
            let mut pairs = Vec::new();
            while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                pairs.push((key, value));
            }
            Reply::Map(pairs)
        }
        _ => return Err(junk(format!("not an answer: {line:?}"))),
    })
}

fn read_bulk(reader: &mut impl BufRead, length: i64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| junk("a negative length"))?;
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    if !bytes.ends_with(b"\r\n") {
        return Err(junk("a bulk string without its end"));
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn read_many(reader: &mut impl BufRead, count: i64, depth: usize) -> io::Result<Vec<Reply>> {
    (0..count).map(|_| read_reply(reader, depth + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> io::Result<Reply> {
        read_reply(&mut io::BufReader::new(bytes), 0)
    }

    #[test]
    fn every_kind_of_answer_is_read() {
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        for (bytes, expected) in [
            (&b"+OK\r\n"[..], Reply::Status("OK".into())),
            (b"-ERR no\r\n", Reply::Error("ERR no".into())),
            (b":-3\r\n", Reply::Integer(-3)),
            (b"$3\r\na\r\n\r\n", bulk("a\r\n")),
            (b"$-1\r\n", Reply::Nil),
            (b"*-1\r\n", Reply::Nil),
            (b"_\r\n", Reply::Nil),
            (b"*2\r\n:1\r\n$1\r\nx\r\n", Reply::Array(vec![Reply::Integer(1), bulk("x")])),
            (b"%1\r\n+a\r\n:1\r\n", Reply::Map(vec![(Reply::Status("a".into()), Reply::Integer(1))])),
            (b"~1\r\n#t\r\n", Reply::Set(vec![Reply::Boolean(true)])),
            (b",1.5\r\n", Reply::Double(1.5)),
            (b"(123456789012345678901\r\n", Reply::BigNumber("123456789012345678901".into())),
        ] {
            assert_eq!(parse(bytes).ok(), Some(expected));
        }
    }

    #[test]
    fn junk_and_half_answers_are_errors() {
        for bytes in [&b""[..], b"+OK", b"!x\r\n", b"$5\r\nab\r\n", b"*2\r\n:1\r\n", b":x\r\n"] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        encode(&mut out, &["GET", "a b"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
    }
}
