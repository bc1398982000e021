//! MULTI, WATCH and commands whose keys lie in several groups, as a client sees them.
//!
//! [`SCRIPTS`] is a table of exact replies. It is run over the gateway, and over a redis-server 7.0 where there is one.

use super::*;
use crate::redis::multi::MAX_QUEUED;

/// Command lines and their replies as [`shown`]; a line behind `other>` is of a second connection. Each script begins
/// with empty databases.
type Script = &'static [(&'static str, &'static str)];

const SCRIPTS: &[Script] = &[
    // Without MULTI there is nothing to run.
    &[
        ("exec", "-ERR EXEC without MULTI"),
        ("discard", "-ERR DISCARD without MULTI"),
        ("unwatch", "+OK"),
        ("watch", "-ERR wrong number of arguments for 'watch' command"),
        ("multi x", "-ERR wrong number of arguments for 'multi' command"),
        ("exec", "-ERR EXEC without MULTI"),
        ("exec x", "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"),
        ("discard x", "-ERR wrong number of arguments for 'discard' command"),
        ("unwatch x", "-ERR wrong number of arguments for 'unwatch' command"),
        ("reset x", "-ERR wrong number of arguments for 'reset' command"),
    ],
    // Queue and run; MULTI and WATCH inside are refused and spoil nothing.
    &[
        ("multi", "+OK"),
        ("multi", "-ERR MULTI calls can not be nested"),
        ("watch {b}a", "-ERR WATCH inside MULTI is not allowed"),
        ("set {b}a x", "+QUEUED"),
        ("incr {b}a", "+QUEUED"),
        ("get {b}a", "+QUEUED"),
        ("incr {b}n", "+QUEUED"),
        ("exec", "[+OK, -ERR value is not an integer or out of range, \"x\", :1]"),
        ("exec", "-ERR EXEC without MULTI"),
        ("multi", "+OK"),
        ("exec", "[]"),
        ("multi", "+OK"),
        ("set {b}a y", "+QUEUED"),
        ("discard", "+OK"),
        ("get {b}a", "\"x\""),
    ],
    // What is no command spoils the transaction.
    &[
        ("multi", "+OK"),
        ("nope a b", "-ERR unknown command 'nope', with args beginning with: 'a' 'b' "),
        ("set {b}a x", "+QUEUED"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
        ("get {b}a", "nil"),
        ("multi", "+OK"),
        ("get", "-ERR wrong number of arguments for 'get' command"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
        ("multi", "+OK"),
        ("client nothing", "-ERR unknown subcommand 'nothing'. Try CLIENT HELP."),
        ("discard", "+OK"),
        ("multi", "+OK"),
        ("client", "-ERR wrong number of arguments for 'client' command"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
        ("multi", "+OK"),
        ("watch", "-ERR wrong number of arguments for 'watch' command"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
        ("multi", "+OK"),
        ("exec x", "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"),
        ("exec", "-ERR EXEC without MULTI"),
        ("multi", "+OK"),
        ("discard x", "-ERR wrong number of arguments for 'discard' command"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
        ("multi", "+OK"),
        ("auth", "-ERR wrong number of arguments for 'auth' command"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
    ],
    // What was watched has changed, by others or by this connection.
    &[
        ("watch {b}a", "+OK"),
        ("other> set {b}a 1", "+OK"),
        ("multi", "+OK"),
        ("set {b}a 2", "+QUEUED"),
        ("exec", "nil"),
        ("get {b}a", "\"1\""),
        ("multi", "+OK"),
        ("get {b}a", "+QUEUED"),
        ("exec", "[\"1\"]"),
        ("watch {b}a {b}c {b}a", "+OK"),
        ("set {b}a 1", "+OK"),
        ("multi", "+OK"),
        ("exec", "nil"),
        ("watch {b}a", "+OK"),
        ("other> del {b}a", ":1"),
        ("multi", "+OK"),
        ("ping", "+QUEUED"),
        ("exec", "nil"),
        ("watch {b}a", "+OK"),
        ("other> set {b}other 1", "+OK"),
        ("other> del {b}a", ":0"),
        ("multi", "+OK"),
        ("ping", "+QUEUED"),
        ("exec", "[+PONG]"),
    ],
    // A key that is watched again keeps what was seen first.
    &[
        ("watch {b}a", "+OK"),
        ("set {b}a 1", "+OK"),
        ("watch {b}a", "+OK"),
        ("multi", "+OK"),
        ("get {b}a", "+QUEUED"),
        ("exec", "nil"),
    ],
    // EXEC, DISCARD and UNWATCH forget what is watched; UNWATCH inside MULTI comes too late.
    &[
        ("watch {b}a", "+OK"),
        ("unwatch", "+OK"),
        ("other> set {b}a 1", "+OK"),
        ("multi", "+OK"),
        ("get {b}a", "+QUEUED"),
        ("exec", "[\"1\"]"),
        ("watch {b}a", "+OK"),
        ("multi", "+OK"),
        ("discard", "+OK"),
        ("other> set {b}a 2", "+OK"),
        ("multi", "+OK"),
        ("get {b}a", "+QUEUED"),
        ("exec", "[\"2\"]"),
        ("watch {b}a", "+OK"),
        ("multi", "+OK"),
        ("nope", "-ERR unknown command 'nope', with args beginning with: "),
        ("other> set {b}a 3", "+OK"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
        ("multi", "+OK"),
        ("get {b}a", "+QUEUED"),
        ("exec", "[\"3\"]"),
        ("watch {b}a", "+OK"),
        ("other> set {b}a 4", "+OK"),
        ("multi", "+OK"),
        ("unwatch", "+QUEUED"),
        ("exec", "nil"),
        ("multi", "+OK"),
        ("unwatch", "+QUEUED"),
        ("auth default x", "+QUEUED"),
        ("exec", "[+OK, +OK]"),
    ],
    // Keys are watched in the database that is selected then.
    &[
        ("watch {b}a", "+OK"),
        ("select 1", "+OK"),
        ("other> set {b}a 1", "+OK"),
        ("multi", "+OK"),
        ("ping", "+QUEUED"),
        ("exec", "nil"),
        ("watch {b}a", "+OK"),
        ("other> set {b}a 2", "+OK"),
        ("multi", "+OK"),
        ("get {b}a", "+QUEUED"),
        ("exec", "[nil]"),
    ],
    // SELECT counts for what is behind it, and stays if EXEC ran.
    &[
        ("multi", "+OK"),
        ("set {b}z 0", "+QUEUED"),
        ("select 1", "+QUEUED"),
        ("get {b}z", "+QUEUED"),
        ("set {b}z 1", "+QUEUED"),
        ("select 99", "+QUEUED"),
        ("select x", "+QUEUED"),
        ("select 3000000000", "+QUEUED"),
        ("get {b}z", "+QUEUED"),
        ("copy {b}z {b}z db 0 replace", "+QUEUED"),
        (
            "exec",
            "[+OK, +OK, nil, +OK, -ERR DB index is out of range, -ERR value is not an integer or out of range, \
             -ERR value is out of range, value must between -2147483648 and 2147483647, \"1\", :1]",
        ),
        ("get {b}z", "\"1\""),
        ("other> get {b}z", "\"1\""),
        ("watch {b}z", "+OK"),
        ("set {b}z 2", "+OK"),
        ("multi", "+OK"),
        ("select 2", "+QUEUED"),
        ("exec", "nil"),
        ("get {b}z", "\"2\""),
    ],
    // Commands of the connection answer in their place.
    &[
        ("multi", "+OK"),
        ("ping", "+QUEUED"),
        ("ping x", "+QUEUED"),
        ("ping x y", "+QUEUED"),
        ("set {b}a 1", "+QUEUED"),
        ("echo e", "+QUEUED"),
        ("client getname", "+QUEUED"),
        ("client setname bob", "+QUEUED"),
        ("client getname", "+QUEUED"),
        ("mget {b}a {b}b {b}a", "+QUEUED"),
        ("config get appendfsync x", "+QUEUED"),
        ("command list filterby module x", "+QUEUED"),
        (
            "exec",
            "[+PONG, \"x\", -ERR wrong number of arguments for 'ping' command, +OK, \"e\", nil, +OK, \"bob\", \
             [\"1\", nil, \"1\"], [\"appendfsync\", \"always\"], []]",
        ),
    ],
    // RESET forgets everything, also inside MULTI.
    &[
        ("multi", "+OK"),
        ("set {b}a 1", "+QUEUED"),
        ("reset", "+RESET"),
        ("exec", "-ERR EXEC without MULTI"),
        ("get {b}a", "nil"),
        ("select 1", "+OK"),
        ("set {b}a 1", "+OK"),
        ("client setname bob", "+OK"),
        ("watch {b}a", "+OK"),
        ("set {b}a 2", "+OK"),
        ("reset", "+RESET"),
        ("client getname", "nil"),
        ("get {b}a", "nil"),
        ("multi", "+OK"),
        ("ping", "+QUEUED"),
        ("exec", "[+PONG]"),
    ],
    // RENAME and COPY, in the queue too.
    &[
        ("multi", "+OK"),
        ("rename {b}a {b}c", "+QUEUED"),
        ("set {b}a 1", "+QUEUED"),
        ("renamenx {b}a {b}c", "+QUEUED"),
        ("copy {b}c {b}a", "+QUEUED"),
        ("copy {b}c {b}c", "+QUEUED"),
        ("mget {b}a {b}c", "+QUEUED"),
        ("exec", "[-ERR no such key, +OK, :1, :1, -ERR source and destination objects are the same, [\"1\", \"1\"]]"),
    ],
];

fn shown(frame: &Frame) -> String {
    match frame {
        Frame::SimpleString(_) => format!("+{}", text(frame)),
        Frame::Error(error) => format!("-{error}"),
        Frame::Integer(integer) => format!(":{integer}"),
        Frame::BulkString(_) => format!("\"{}\"", text(frame)),
        Frame::Null => "nil".to_owned(),
        Frame::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}

async fn connect(address: std::net::SocketAddr) -> Client {
    Client { stream: TcpStream::connect(address).await.unwrap(), input: BytesMut::new() }
}

async fn assert_scripts(address: std::net::SocketAddr, whose: &str) {
    for script in SCRIPTS {
        let [mut client, mut other] = [connect(address).await, connect(address).await];
        assert_eq!(client.ask_text("FLUSHALL").await, "OK");
        for (number, (line, expected)) in script.iter().enumerate() {
            let reply = match line.strip_prefix("other> ") {
                Some(line) => other.ask(line).await,
                None => client.ask(line).await,
            };
            assert_eq!(shown(&reply), *expected, "{whose}, line {number}: {line}");
        }
    }
}

#[tokio::test]
async fn transactions_answer_exactly_this() {
    let harness = Harness::start().await;
    assert_scripts(harness.address, "gateway").await;
}

#[tokio::test]
async fn redis_answers_exactly_this() {
    let Some(server) = RealRedis::start().await else { return };
    let mut client = connect(server.address).await;
    assert_eq!(client.ask_text("CONFIG SET appendfsync always").await, "OK");
    assert_scripts(server.address, "redis-server").await;
}

/// A redis-server 7.0 of its own; it ends with the test.
struct RealRedis {
    process: std::process::Child,
    address: std::net::SocketAddr,
}

impl RealRedis {
    /// `None`, and a line that says why, when there is none.
    async fn start() -> Option<Self> {
        // The port is free when it is let go; somebody else may be faster, so it is tried again.
        for _ in 0..10 {
            let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let spawned = std::process::Command::new("redis-server")
                .args([
                    "--port",
                    &address.port().to_string(),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ])
                .stdout(std::process::Stdio::null())
                .spawn();
            let Ok(process) = spawned else {
                println!("skipped: there is no redis-server on this machine to compare with");
                return None;
            };
            let mut server = Self { process, address };
            while server.process.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).await.is_ok() {
                    let info = connect(address).await.ask_text("INFO server").await;
                    if !info.contains("redis_version:7.0.") {
                        println!("skipped: redis-server is not 7.0");
                        return None;
                    }
                    return Some(server);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        panic!("no free port for redis-server");
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Random lines (splitmix64). The second connection never removes anything, and the first only inside MULTI: a key that
/// was absent, appeared and vanished again is the one change that WATCH does not see here and sees in Redis.
struct Generator(u64);

impl Generator {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn key(&mut self) -> &'static str {
        ["{b}1", "{b}2", "{b}3"][self.below(3)]
    }

    fn line(&mut self, queueing: bool) -> String {
        match self.below(if queueing { 26 } else { 20 }) {
            0..3 => "multi".into(),
            3 => if queueing { "exec x" } else { "exec" }.into(),
            4 | 5 => format!("watch {} {}", self.key(), self.key()),
            6 => ["unwatch", "discard", "reset", "watch", "nope x", "get"][self.below(6)].into(),
            7..9 => format!("set {} {}", self.key(), self.below(100)),
            9..11 => format!("incr {}", self.key()),
            11 => format!("append {} x", self.key()),
            12 => format!("mset {} 1 {} 2", self.key(), self.key()),
            13 => format!("msetnx {} 1 {} 2", self.key(), self.key()),
            14 => format!("mget {} {} {}", self.key(), self.key(), self.key()),
            15 => format!("exists {} {}", self.key(), self.key()),
            16 => format!("copy {} {} db {}", self.key(), self.key(), self.below(3)),
            17 => format!("select {}", ["0", "1", "0", "x", "16"][self.below(5)]),
            18 => ["ping", "echo x", "ping a b", "client getname"][self.below(4)].into(),
            19 => format!("other> append {} y", self.key()),
            20 => format!("del {} {}", self.key(), self.key()),
            21 => format!("rename {} {}", self.key(), self.key()),
            22 => format!("renamenx {} {}", self.key(), self.key()),
            _ => "exec".into(),
        }
    }
}

#[tokio::test]
async fn random_transactions_answer_as_in_redis() {
    let Some(server) = RealRedis::start().await else { return };
    let harness = Harness::start().await;
    let seed = std::env::var("ELASTICKV_TEST_SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("ELASTICKV_TEST_SEED={seed}");
    let mut generator = Generator(seed);
    for _ in 0..60 {
        let mut ours = [connect(harness.address).await, connect(harness.address).await];
        let mut theirs = [connect(server.address).await, connect(server.address).await];
        for client in [&mut ours[0], &mut theirs[0]] {
            assert_eq!(client.ask_text("FLUSHALL").await, "OK");
        }
        let mut history = Vec::new();
        let mut queueing = false;
        for _ in 0..60 {
            let line = generator.line(queueing);
            let (whose, words) = line.strip_prefix("other> ").map_or((0, &*line), |words| (1, words));
            let replies = [ours[whose].ask(words).await, theirs[whose].ask(words).await].map(|reply| shown(&reply));
            history.push(format!("{line} → {}", replies[1]));
            let [own, redis] = replies;
            assert_eq!(own, redis, "behind\n{}", history.join("\n"));
            match words {
                "multi" => queueing = true,
                "exec" | "exec x" | "discard" | "reset" => queueing = false,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_conflict_is_a_null_array_in_both_protocols_and_hello_counts_in_its_place() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    client
        .send(
            "WATCH {b}a\r\nSET {b}a 1\r\nMULTI\r\nGET {b}a\r\nEXEC\r\nMULTI\r\nGET none\r\nHELLO 3\r\nGET none\r\nEXEC\r\n\
             WATCH {b}a\r\nSET {b}a 1\r\nMULTI\r\nEXEC\r\nRESET\r\nGET none\r\nMULTI\r\nQUIT\r\n",
        )
        .await;
    let replies = client.rest().await;
    let begin = "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$-1\r\n%7\r\n";
    assert!(replies.starts_with(begin), "{replies}");
    let end = "*0\r\n_\r\n+OK\r\n+OK\r\n+OK\r\n_\r\n+RESET\r\n$-1\r\n+OK\r\n+OK\r\n";
    assert!(replies.ends_with(end), "{replies}");
}

#[tokio::test]
async fn others_see_how_far_a_transaction_is() {
    let harness = Harness::start().await;
    let [mut client, mut other] = [harness.client().await, harness.client().await];
    let id = client.ask_integer("CLIENT ID").await;
    let fields = format!("CLIENT LIST ID {id}");
    assert!(other.ask_text(&fields).await.contains(" flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 "));
    assert_eq!(client.ask_text("WATCH {b}1 {b}2 {b}1").await, "OK");
    assert!(other.ask_text(&fields).await.contains(" watch=2 "));
    client.send("MULTI\r\nPING\r\nCLIENT INFO\r\n").await;
    for expected in ["OK", "QUEUED", "QUEUED"] {
        assert_eq!(text(&client.reply().await), expected);
    }
    let queueing = other.ask_text(&fields).await;
    assert!(queueing.contains(" flags=x db=0 sub=0 psub=0 ssub=0 multi=2 ") && queueing.contains(" watch=2 "));
    let within = client.ask_text("EXEC").await;
    assert!(within.contains(" multi=2 ") && within.contains(" watch=0 "), "{within}");
    assert!(other.ask_text(&fields).await.contains(" flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 "));
}

#[tokio::test]
async fn commands_over_a_whole_database_run_in_their_turn() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    assert_eq!(client.ask_text("MSET {b}1 x {a}1 y").await, "OK");
    for line in ["MULTI", "DBSIZE", "FLUSHALL", "SET {b}2 x", "DBSIZE", "KEYS *", "SCAN 0", "RANDOMKEY", "SCAN x"] {
        client.ask_text(line).await;
    }
    assert_eq!(client.ask_text("EXEC").await, "2 OK OK 1 {b}2 0 {b}2 {b}2 ERR invalid cursor");
    assert_eq!(client.ask_text("EXISTS {b}1 {a}1 {b}2").await, "1");
    assert_eq!(harness.groups.locks(), 0);
}

#[tokio::test]
async fn what_is_too_much_is_refused_at_once() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let many = "GET {b}1\r\n".repeat(MAX_QUEUED);
    client.send(format!("MULTI\r\n{many}GET {{b}}1\r\nEXEC\r\n")).await;
    assert_eq!(text(&client.reply().await), "OK");
    for _ in 0..MAX_QUEUED {
        assert_eq!(text(&client.reply().await), "QUEUED");
    }
    assert_eq!(text(&client.reply().await), "ERR A transaction has at most 16384 commands and 67108864 bytes");
    assert!(text(&client.reply().await).starts_with("EXECABORT "));
}

#[tokio::test]
async fn what_could_not_be_watched_or_run_says_so_and_runs_nothing() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let gate = harness.stall_group_1();
    assert!(client.ask_text("WATCH {b}1").await.starts_with("TRYAGAIN "));
    assert_eq!(client.ask_text("MULTI").await, "OK");
    assert_eq!(client.ask_text("SET {b}1 x").await, "QUEUED");
    assert_eq!(client.ask_text("EXEC").await, "(nil)", "as if the key had changed");
    assert_eq!(client.ask_text("MULTI").await, "OK");
    assert_eq!(client.ask_text("SELECT 1").await, "QUEUED");
    assert_eq!(client.ask_text("SET {b}1 x").await, "QUEUED");
    assert!(client.ask_text("EXEC").await.starts_with("TRYAGAIN "));
    assert!(client.ask_text("CLIENT INFO").await.contains(" db=0 "), "SELECT did not run either");
    *gate.lock() = true;
    assert_eq!(client.ask_text("GET {b}1").await, "(nil)");
}

#[tokio::test]
async fn commands_over_several_groups_keep_their_place_in_the_pipeline() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    // `{b}…` is in group 1, foo in group 2.
    client
        .send(
            "SET {b}1 a\r\nMSET {b}1 b foo c {b}1 d\r\nGET {b}1\r\nSET foo e\r\nMGET foo {b}1 none foo\r\nDEL {b}1 foo {b}1\r\n\
             EXISTS foo {b}1\r\nMSET {b}1 1 foo\r\nMSET {b}1 1 foo 2\r\nEXISTS foo {b}1 foo\r\nTOUCH foo {b}2\r\nUNLINK foo {b}1\r\n",
        )
        .await;
    let wrong = "ERR wrong number of arguments for 'mset' command";
    for expected in ["OK", "OK", "d", "OK", "e d (nil) e", "2", "0", wrong, "OK", "3", "1", "2"] {
        assert_eq!(text(&client.reply().await), expected);
    }
}

#[tokio::test]
async fn a_transaction_may_span_groups() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    client
        .send("SET foo 1\r\nMULTI\r\nINCR foo\r\nMSET {b}1 x foo 5\r\nPING\r\nMGET {b}1 foo\r\nEXEC\r\nGET foo\r\n")
        .await;
    for expected in ["OK", "OK", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "2 OK PONG x 5", "5"] {
        assert_eq!(text(&client.reply().await), expected);
    }
}

#[tokio::test]
async fn a_watch_and_exec_wait_for_what_is_before_them() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    // The connection's own write is before the WATCH, so it is no change.
    client.send("SET {b}1 x\r\nWATCH {b}1\r\nMULTI\r\nGET {b}1\r\nEXEC\r\nSET {b}1 y\r\nGET {b}1\r\n").await;
    for expected in ["OK", "OK", "OK", "QUEUED", "x", "OK", "y"] {
        assert_eq!(text(&client.reply().await), expected);
    }
}
