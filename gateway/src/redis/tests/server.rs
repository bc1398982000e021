//! What clients ask of the server and of connections, as they see it.

use super::*;

/// What INFO says of a field of a section.
async fn field(client: &mut Client, section: &str, name: &str) -> String {
    let info = client.ask_text(&format!("info {section}")).await;
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().to_owned()
}

async fn wait_until_blocked(client: &mut Client, count: usize) {
    while field(client, "clients", "blocked_clients").await != count.to_string() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn settings_are_kept_and_shown() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for (line, reply) in [
        ("config set maxmemory 1mb hash-max-ziplist-entries 7", "OK"),
        ("config get maxmemory hash-max-listpack-entries", "hash-max-listpack-entries 7 maxmemory 1048576"),
        (
            "config set maxmemory 1 maxmemory 2",
            "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter",
        ),
        (
            "config set daemonize yes",
            "ERR CONFIG SET failed (possibly related to argument 'daemonize') - can't set immutable config",
        ),
        ("config set nosuch 1", "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
        ("config rewrite", "ERR The server is running without a config file"),
        ("config resetstat", "OK"),
    ] {
        assert_eq!(client.ask_text(line).await, reply, "{line}");
    }
    assert_eq!(client.ask_text("config get port").await, format!("port {}", harness.address.port()));
    client.ask("config set maxclients 1").await;
    assert!(harness.client().await.rest().await.starts_with("-ERR max number of clients reached"));
}

#[tokio::test]
async fn clients_are_listed_and_killed() {
    let harness = Harness::start().await;
    let (mut me, mut other, mut third) = (harness.client().await, harness.client().await, harness.client().await);
    let id = me.ask_integer("client id").await;
    let list = me.ask_text("client list").await;
    assert!(
        list.contains(&format!("id={id} addr=127.0.0.1:"))
            && list.contains(" multi=-1 qbuf=26 qbuf-free=0 argv-mem=10 "),
        "{list}"
    );
    let other_id = other.ask_integer("client id").await;
    third.ask("ping").await;
    for (line, reply) in [
        ("client kill 1.2.3.4:5", "ERR No such client"),
        ("client kill id 0", "ERR client-id should be greater than 0"),
        ("client kill id 10 wrong", "ERR syntax error"),
        ("client kill type wrong", "ERR Unknown client type 'wrong'"),
        ("client kill user wrong", "ERR No such user 'wrong'"),
        ("client kill skipme maybe", "ERR syntax error"),
        ("client kill type pubsub", "0"),
        (&format!("client kill id {other_id}"), "1"),
        ("client kill skipme yes", "1"),
        ("client list type pubsub", ""),
        ("client list type nosuch", "ERR Unknown client type 'nosuch'"),
        ("client unblock 99", "0"),
        ("client unblock 99 nosuch", "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    ] {
        assert_eq!(me.ask_text(line).await, reply, "{line}");
    }
    assert_eq!(field(&mut me, "clients", "connected_clients").await, "1", "at once");
    assert_eq!((other.rest().await, third.rest().await), (String::new(), String::new()));
    // Whoever kills itself is answered.
    me.request(&["CLIENT", "KILL", "SKIPME", "no"]).await;
    assert_eq!(me.rest().await, ":1\r\n");
}

#[tokio::test]
async fn replies_are_left_out_as_the_client_says() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for line in ["client reply off", "ping 1", "set {b}1 x", "get {b}1", "client reply nosuch", "client reply on"] {
        client.request(&line.split(' ').collect::<Vec<_>>()).await;
    }
    assert_eq!(text(&client.reply().await), "OK");
    for line in ["client reply skip", "get {b}1", "get {b}1", "client reply skip", "client reply on", "ping 2"] {
        client.request(&line.split(' ').collect::<Vec<_>>()).await;
    }
    for reply in ["x", "OK", "2"] {
        assert_eq!(text(&client.reply().await), reply);
    }
    // A whole transaction, and a command over the database, which stand alone.
    for line in ["client reply off", "multi", "set {b}1 y", "exec", "dbsize", "client reply on"] {
        client.request(&line.split(' ').collect::<Vec<_>>()).await;
    }
    assert_eq!(text(&client.reply().await), "OK");
    assert_eq!(client.ask_text("get {b}1").await, "y");
}

#[tokio::test]
async fn paused_clients_wait_and_go_on() {
    let harness = Harness::start().await;
    let (mut me, mut writer, mut gone) = (harness.client().await, harness.client().await, harness.client().await);
    assert_eq!(me.ask_text("client pause x").await, "ERR timeout is not an integer or out of range");
    assert_eq!(me.ask_text("client pause -1").await, "ERR timeout is negative");
    assert_eq!(me.ask_text("client pause 600000 write").await, "OK");
    writer.send("GET {b}1\r\nSET {b}1\r\nSET {b}1 x\r\nGET {b}1\r\n").await;
    assert_eq!(text(&writer.reply().await), "(nil)");
    assert_eq!(text(&writer.reply().await), "ERR wrong number of arguments for 'set' command");
    gone.request(&["SET", "foo", "lost"]).await;
    wait_until_blocked(&mut me, 2).await;
    drop(gone);
    wait_until_blocked(&mut me, 1).await;
    assert_eq!(me.ask_text("get {b}1").await, "(nil)");
    assert_eq!(me.ask_text("client unpause").await, "OK");
    assert_eq!((text(&writer.reply().await), text(&writer.reply().await)), ("OK".to_owned(), "x".to_owned()));
    assert_eq!(me.ask_text("get foo").await, "(nil)", "nobody waited for it any more");

    // In a transaction it begins behind the transaction; EXEC waits if something in it writes.
    for line in ["multi", "set {b}2 1", "client pause 600000 write", "set {b}2 2"] {
        me.ask(line).await;
    }
    assert_eq!(me.ask_text("exec").await, "OK OK OK");
    for line in ["multi", "get {b}2"] {
        writer.ask(line).await;
    }
    assert_eq!(writer.ask_text("exec").await, "2");
    writer.ask("multi").await;
    writer.request(&["INCR", "{b}2"]).await;
    wait_until_blocked(&mut me, 1).await;
    me.ask("client unpause").await;
    assert_eq!(text(&writer.reply().await), "QUEUED");
    assert_eq!(writer.ask_text("exec").await, "3");

    // A pause of all ends by itself only.
    me.ask("client pause 30 all").await;
    assert_eq!(me.ask_text("ping").await, "PONG");
}

#[tokio::test]
async fn who_is_killed_while_paused_goes() {
    let harness = Harness::start().await;
    let (mut me, mut writer) = (harness.client().await, harness.client().await);
    me.ask("client pause 600000 write").await;
    writer.request(&["SET", "foo", "x"]).await;
    wait_until_blocked(&mut me, 1).await;
    assert_eq!(me.ask_integer("client kill skipme yes").await, 1);
    assert_eq!(writer.rest().await, "");
    assert_eq!(me.ask_text("get foo").await, "(nil)");
}

#[tokio::test]
async fn who_monitors_sees_what_runs_in_order() {
    let harness = Harness::start().await;
    let (mut me, mut monitor) = (harness.client().await, harness.client().await);
    assert_eq!(monitor.ask_text("monitor").await, "OK");
    assert!(me.ask_text("client list").await.contains(" flags=O "));
    for line in ["set {b}1 x", "multi", "set {b}1 y", "exec", "config get hz", "set k", "multi", "nosuch", "exec"] {
        me.ask(line).await;
    }
    me.ask("hello 2 auth default secret").await;
    for shown in [
        "\"set\" \"{b}1\" \"x\"",
        "\"multi\"",
        "\"set\" \"{b}1\" \"y\"",
        "\"exec\"",
        "\"multi\"",
        "\"exec\"",
        "\"hello\" \"2\" \"auth\" \"(redacted)\" \"(redacted)\"",
    ] {
        let line = text(&monitor.reply().await);
        assert!(line.ends_with(&format!("] {shown}")), "{line} should be {shown}");
    }
    assert_eq!(monitor.ask_text("reset").await, "RESET");
    me.ask("ping").await;
    assert_eq!(monitor.ask_text("echo quiet").await, "quiet");
}

#[tokio::test]
async fn commands_are_counted_and_slow_ones_logged() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    client.ask("config set slowlog-log-slower-than 0").await;
    for line in ["config resetstat", "slowlog reset"] {
        assert_eq!(client.ask_text(line).await, "OK");
    }
    for line in ["set {b}1 x", "get {b}1", "lpush {b}1 1", "set {b}1", "nosuch", "multi", "incr {b}2", "exec", "dbsize"]
    {
        client.ask(line).await;
    }
    let counts = client.ask_text("info commandstats").await;
    for (name, counted) in [
        ("set", "calls=1,"),
        ("set", "rejected_calls=1,failed_calls=0"),
        ("lpush", "rejected_calls=0,failed_calls=1"),
        ("multi", "calls=1,"),
        ("incr", "calls=1,"),
        ("exec", "calls=1,"),
        ("dbsize", "calls=1,"),
    ] {
        let line = counts.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:"))).unwrap();
        assert!(line.contains(counted), "{line} should have {counted}");
    }
    let errors = client.ask_text("info errorstats").await;
    assert!(errors.contains("errorstat_ERR:count=2") && errors.contains("errorstat_WRONGTYPE:count=1"), "{errors}");
    assert!(client.ask_text("info latencystats").await.contains("latency_percentiles_usec_set:p50="));
    assert!(client.ask_text("latency histogram set").await.starts_with("set calls 1 histogram_usec "));
    let Frame::Array(entries) = client.ask("slowlog get -1").await else { panic!("not an array") };
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| match entry {
            Frame::Array(fields) => text(&fields[3]),
            other => panic!("{other:?}"),
        })
        .collect();
    let logged = ["dbsize", "incr {b}2", "multi", "lpush {b}1 1", "get {b}1", "set {b}1 x", "slowlog reset"];
    assert_eq!(lines[4..], logged, "{lines:?}");
    assert_eq!(client.ask_text("slowlog get -2").await, "ERR count should be greater than or equal to -1");
}

#[tokio::test]
async fn sections_of_info_are_chosen() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for (line, has, has_not) in [
        ("info", "used_memory:", "rejected_calls"),
        ("info default", "used_cpu_user:", "rejected_calls"),
        ("info all", "rejected_calls", "sentinel"),
        ("info CPU commandstats", "rejected_calls", "used_memory"),
        ("info nosuch", "", "redis_version"),
    ] {
        let info = client.ask_text(line).await;
        assert!(info.contains(has) && !info.contains(has_not), "{line}: {info}");
    }
}

#[tokio::test]
async fn a_client_of_the_cluster_protocol_finds_one_node() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let id = client.ask_text("cluster myid").await;
    let port = harness.address.port();
    assert_eq!(client.ask_text("cluster slots").await, format!("0 16383 127.0.0.1 {port} {id} "));
    assert_eq!(
        client.ask_text("cluster nodes").await,
        format!("{id} 127.0.0.1:{port}@0 myself,master - 0 0 1 connected 0-16383\n")
    );
    for (line, reply) in [
        ("cluster keyslot foo", "12182"),
        ("readonly", "OK"),
        ("asking", "OK"),
        ("cluster countkeysinslot 16384", "ERR Invalid slot"),
        ("cluster getkeysinslot 1 -1", "ERR Invalid slot or number of keys"),
    ] {
        assert_eq!(client.ask_text(line).await, reply, "{line}");
    }
    assert!(client.ask_text("cluster addslots 1").await.starts_with("ERR Slots are not assigned by clients"));
    // Slot 12182 is cut by a range boundary.
    for key in ["foo", "{foo}n", "{foo}z", "other"] {
        client.ask(&format!("set {key} x")).await;
    }
    assert_eq!(client.ask_integer("cluster countkeysinslot 12182").await, 3);
    assert_eq!(client.ask_integer("cluster countkeysinslot 0").await, 0);
    let Frame::Array(keys) = client.ask("cluster getkeysinslot 12182 2").await else { panic!("not an array") };
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_with_the_reason() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for line in
        ["save", "bgsave", "replicaof no one", "shutdown", "debug sleep 0", "swapdb 0 1", "module load x", "sync"]
    {
        let reply = client.ask_text(line).await;
        assert!(reply.starts_with("ERR ") && !reply.contains("unknown"), "{line}: {reply}");
    }
    assert_eq!(client.ask_text("role").await, "master 0 ");
    assert_eq!(client.ask_text("command getkeysandflags set k v").await, "k OW update");
    client.ask("multi").await;
    assert_eq!(client.ask_text("save").await, "ERR Command not allowed inside a transaction");
    assert!(client.ask_text("exec").await.starts_with("EXECABORT"));
}

#[tokio::test]
async fn wait_says_what_is_certain() {
    let harness = Harness::start().await;
    let (mut waiter, mut other) = (harness.client().await, harness.client().await);
    // A majority of two are both.
    for (line, reply) in [
        ("wait 0 0", "1"),
        ("wait 1 0", "1"),
        ("wait 2 20", "1"),
        ("wait x 0", "ERR value is not an integer or out of range"),
        ("wait 1 0.5", "ERR timeout is not an integer or out of range"),
        ("wait 1 -1", "ERR timeout is negative"),
    ] {
        assert_eq!(waiter.ask_text(line).await, reply, "{line}");
    }
    let id = waiter.ask_integer("client id").await;
    for (how, reply) in [("timeout", "1"), ("error", "UNBLOCKED client unblocked via CLIENT UNBLOCK")] {
        let asking = async {
            wait_until_blocked(&mut other, 1).await;
            other.ask_integer(&format!("client unblock {id} {how}")).await
        };
        let (answer, freed) = tokio::join!(waiter.ask_text("wait 2 0"), asking);
        assert_eq!((answer.as_str(), freed), (reply, 1));
    }
    waiter.ask("multi").await;
    waiter.ask("wait 2 0").await;
    assert_eq!(waiter.ask_text("exec").await, "1");
}
