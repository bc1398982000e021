//! A redis-server of its own, and the few bytes of RESP3 that it takes to talk to it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::redis::Value;

use crate::{Line, line};

/// A running server and a connection to it; ends with the test.
pub struct Server {
    process: Child,
    stream: BufReader<TcpStream>,
}

impl Server {
    /// `None`, and a line that says why, when there is no redis-server 7.
    pub fn start() -> Option<Server> {
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let spawned = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .args(["--proto-max-bulk-len", "32mb", "--dir", &std::env::temp_dir().to_string_lossy()])
                .stdout(Stdio::null())
                .spawn();
            let mut process = match spawned {
                Ok(process) => process,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    println!("skipped: there is no redis-server on this machine to compare with");
                    return None;
                }
                Err(error) => panic!("redis-server does not start: {error}"),
            };
            let Some(stream) = connect(&mut process, port) else {
                // Somebody else was faster with the port.
                continue;
            };
            let mut server = Server { process, stream: BufReader::new(stream) };
            let Value::Map(greeting) = server.ask(&line("hello 3")) else { panic!("HELLO answers a map") };
            let version = greeting.into_iter().find(|(key, _)| *key == Value::bulk("version")).map(|(_, value)| value);
            if !matches!(&version, Some(Value::Bulk(version)) if version.starts_with(b"7.0.")) {
                println!("skipped: redis-server is {version:?}, not 7.0");
                return None;
            }
            return Some(server);
        }
        panic!("no free port for redis-server");
    }

    /// Sends one line and reads its reply.
    pub fn ask(&mut self, line: &Line) -> Value {
        self.send(std::slice::from_ref(line));
        self.receive()
    }

    /// Sends lines whose replies are still to be received.
    pub fn send(&mut self, lines: &[Line]) {
        let mut out = Vec::new();
        for line in lines {
            write!(out, "*{}\r\n", line.len()).unwrap();
            for word in line {
                write!(out, "${}\r\n", word.len()).unwrap();
                out.extend_from_slice(word);
                out.extend_from_slice(b"\r\n");
            }
        }
        self.stream.get_mut().write_all(&out).unwrap();
    }

    /// Reads one reply.
    pub fn receive(&mut self) -> Value {
        let mut head = Vec::new();
        self.stream.read_until(b'\n', &mut head).unwrap();
        let head = head.strip_suffix(b"\r\n").expect("a reply has whole lines");
        let (kind, text) = head.split_first().unwrap();
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'+' => Value::Simple(text.into()),
            b'-' => Value::Error(text),
            b':' => Value::Integer(text.parse().unwrap()),
            b'$' => {
                let mut bytes = vec![0; text.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Value::Bulk(Bytes::from(bytes))
            }
            b',' => Value::Simple(format!(",{text}").into()),
            b'_' => Value::Null,
            b'*' if text == "-1" => Value::NullArray,
            b'*' => Value::Array((0..text.parse().unwrap()).map(|_| self.receive()).collect()),
            b'~' => Value::Set((0..text.parse().unwrap()).map(|_| self.receive()).collect()),
            b'%' => Value::Map((0..text.parse().unwrap()).map(|_| (self.receive(), self.receive())).collect()),
            other => panic!("reply of kind {:?}", char::from(*other)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until the server answers; `None` when it has ended.
fn connect(process: &mut Child, port: u16) -> Option<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while process.try_wait().unwrap().is_none() {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_nodelay(true).unwrap();
            return Some(stream);
        }
        assert!(Instant::now() < deadline, "redis-server does not listen");
        sleep(Duration::from_millis(10));
    }
    None
}
