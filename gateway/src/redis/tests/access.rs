//! Users and permissions, as clients meet them.

use std::time::Instant;

use super::*;

/// A client that is this user.
async fn logged_in(harness: &Harness, name: &str, password: &str) -> Client {
    let mut client = harness.client().await;
    assert_eq!(client.ask_text(&format!("auth {name} {password}")).await, "OK");
    client
}

const NO_KEY: &str = "NOPERM this user has no permissions to access one of the keys used as arguments";

fn no_command(name: &str) -> String {
    format!("NOPERM this user has no permissions to run the '{name}' command")
}

#[tokio::test]
async fn who_may_read_some_keys_can_do_nothing_else() {
    let harness = Harness::start().await;
    let mut admin = harness.client().await;
    assert_eq!(admin.ask_text("acl whoami").await, "default");
    admin.ask("set app:1 x").await;
    admin.ask("set other y").await;
    assert_eq!(admin.ask_text("acl setuser reader on >pw ~app:* +@read +multi +exec +discard").await, "OK");
    let mut reader = logged_in(&harness, "reader", "pw").await;
    for (line, reply) in [
        ("get app:1", "x".to_owned()),
        ("mget app:1 app:2", "x (nil)".to_owned()),
        ("get other", NO_KEY.to_owned()),
        ("mget app:1 other", NO_KEY.to_owned()),
        ("set app:1 z", no_command("set")),
        ("flushall", no_command("flushall")),
        ("acl whoami", no_command("acl|whoami")),
        ("config get requirepass", no_command("config|get")),
        ("subscribe x", no_command("subscribe")),
        ("nosuch", "ERR unknown command 'nosuch', with args beginning with: ".to_owned()),
        ("multi", "OK".to_owned()),
        ("get app:1", "QUEUED".to_owned()),
        ("exec", "x".to_owned()),
        ("multi", "OK".to_owned()),
        ("get other", NO_KEY.to_owned()),
        ("exec", "EXECABORT Transaction discarded because of previous errors.".to_owned()),
        ("multi", "OK".to_owned()),
        ("del app:1", no_command("del")),
        ("exec", "EXECABORT Transaction discarded because of previous errors.".to_owned()),
    ] {
        assert_eq!(reader.ask_text(line).await, reply, "{line}");
    }
    // What was queued is judged again when it runs.
    for line in ["multi", "get app:1", "exists app:1"] {
        reader.ask(line).await;
    }
    assert_eq!(admin.ask_text("acl setuser reader -get").await, "OK");
    let replies = reader.ask_text("exec").await;
    assert!(
        replies.starts_with("NOPERM ACLs rules changed between the moment") && replies.ends_with(" 1"),
        "{replies}"
    );
    assert_eq!(admin.ask_text("get app:1").await, "x");
    assert!(admin.ask_text("client list").await.contains(" user=reader "));
    // What others did is in the log, newest first.
    let log = admin.ask_text("acl log 1").await;
    assert!(log.starts_with("count 1 reason command context multi object get username reader age-seconds "), "{log}");
    assert_eq!(admin.ask_text("client kill user nosuch").await, "ERR No such user 'nosuch'");
    assert_eq!(admin.ask_integer("client kill user reader").await, 1);
    assert_eq!(reader.rest().await, "");
}

#[tokio::test]
async fn users_are_those_of_all_gateways() {
    let harness = Harness::start().await;
    let mut here = harness.client().await;
    let mut there = Client::connect(harness.another_gateway().await).await;
    assert_eq!(there.ask_text("ping").await, "PONG");
    assert_eq!(here.ask_text("acl setuser bob on nopass +@all ~* &news").await, "OK");
    assert_eq!(
        there.ask_text("acl list").await,
        "user bob on nopass ~* resetchannels &news +@all user default on nopass ~* &* +@all"
    );
    let mut bob = Client::connect(there.stream.peer_addr().unwrap()).await;
    assert_eq!(bob.ask_text("auth bob anything").await, "OK");
    assert_eq!(bob.ask_text("subscribe news").await, "subscribe news 1");
    // Many change one user at once: nothing is lost.
    let mut others = Vec::new();
    for n in 0..20 {
        let mut other = harness.client().await;
        other.request(&["ACL", "SETUSER", "both", &format!("~key:{n}:")]).await;
        others.push(other);
    }
    for other in &mut others {
        assert_eq!(text(&other.reply().await), "OK");
    }
    let both = there.ask_text("acl getuser both").await;
    assert!((0..20).all(|n| both.contains(&format!("~key:{n}:"))), "{both}");
    // A subscriber who may not listen any more is cut off, at the other gateway too.
    assert_eq!(here.ask_text("acl setuser bob resetchannels").await, "OK");
    assert_eq!(bob.rest().await, "");
    // So is one who is deleted; and whoever deletes itself is answered.
    let mut bob = Client::connect(there.stream.peer_addr().unwrap()).await;
    assert_eq!(bob.ask_text("auth bob anything").await, "OK");
    assert_eq!(here.ask_integer("acl deluser bob nobody").await, 1);
    assert_eq!(bob.rest().await, "");
    here.ask("acl setuser me on nopass +@all ~* &*").await;
    let mut me = logged_in(&harness, "me", "x").await;
    me.request(&["ACL", "DELUSER", "me"]).await;
    assert_eq!(me.rest().await, ":1\r\n");
    assert_eq!(here.ask_text("acl deluser default").await, "ERR The 'default' user cannot be removed");
}

#[tokio::test]
async fn a_required_password_is_required() {
    let harness = Harness::with(100, "first").await;
    let mut client = harness.client().await;
    for (line, reply) in [
        ("get x", "NOAUTH Authentication required."),
        ("ping", "NOAUTH Authentication required."),
        ("nosuch", "ERR unknown command 'nosuch', with args beginning with: "),
        ("get", "ERR wrong number of arguments for 'get' command"),
        ("multi", "NOAUTH Authentication required."),
        ("auth wrong", "WRONGPASS invalid username-password pair or user is disabled."),
        ("auth nobody first", "WRONGPASS invalid username-password pair or user is disabled."),
        ("auth a b c", "ERR syntax error"),
        ("auth first", "OK"),
        ("get x", "(nil)"),
        ("config get requirepass", "requirepass first"),
        ("config set requirepass second hz 12", "OK"),
        ("get x", "(nil)"),
        ("reset", "RESET"),
        ("get x", "NOAUTH Authentication required."),
        ("auth first", "WRONGPASS invalid username-password pair or user is disabled."),
        ("auth default second", "OK"),
        ("acl setuser default >third", "OK"),
        ("config set requirepass ", "OK"),
        (
            "auth x",
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        ),
        (
            "acl save",
            "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command: users are kept in the cluster, every gateway has them, and they need not be saved.",
        ),
    ] {
        assert_eq!(client.ask_text(line).await, reply, "{line}");
    }
    client.ask("acl setuser default resetpass >x").await;
    let mut hello = harness.client().await;
    assert!(hello.ask_text("hello 2").await.starts_with("NOAUTH HELLO must be called with the client already"));
    assert!(hello.ask_text("hello 2 auth default y").await.starts_with("WRONGPASS"));
    assert!(hello.ask_text("hello 2 auth default x setname me").await.starts_with("server redis version "));
    assert_eq!(hello.ask_text("get x").await, "(nil)");
}

#[tokio::test]
async fn wrong_passwords_are_slowed_and_others_are_not() {
    let harness = Harness::start().await;
    let (mut admin, mut guesser) = (harness.client().await, harness.client().await);
    admin.ask("acl setuser ada on >right +@all ~*").await;
    let began = Instant::now();
    for _ in 0..8 {
        guesser.request(&["AUTH", "ada", "wrong"]).await;
    }
    for _ in 0..8 {
        assert!(text(&guesser.reply().await).starts_with("WRONGPASS"));
        let asked = Instant::now();
        assert_eq!(admin.ask_text("ping").await, "PONG");
        assert!(asked.elapsed() < Duration::from_millis(500), "others do not wait");
    }
    assert!(began.elapsed() > Duration::from_millis(300), "it took {:?}", began.elapsed());
    let log = admin.ask_text("acl log").await;
    assert!(log.starts_with("count 8 reason auth context toplevel object AUTH username ada "), "{log}");
    assert_eq!(guesser.ask_text("auth ada right").await, "OK");
}

#[tokio::test]
async fn secrets_are_seen_nowhere() {
    let harness = Harness::start().await;
    let (mut admin, mut monitor) = (harness.client().await, harness.client().await);
    admin.ask("config set slowlog-log-slower-than 0").await;
    assert_eq!(monitor.ask_text("monitor").await, "OK");
    for line in [
        "acl setuser ada on >topsecret +@all ~* &*",
        "auth ada topsecret",
        "auth ada topsecret2",
        "auth topsecret3",
        "hello 2 auth ada topsecret",
        "hello 2 auth nobody topsecret",
        "config set requirepass topsecret",
        "multi",
        "auth ada topsecret",
        "acl setuser ada >topsecret4 <topsecret4",
        "exec",
        "acl setuser ada <topsecret5",
        "migrate h 1 k 0 9 auth topsecret",
        "ping",
    ] {
        admin.ask(line).await;
    }
    let slow = admin.ask_text("slowlog get -1").await;
    assert!(slow.contains("(redacted)") && !slow.contains("topsecret"), "{slow}");
    for line in ["acl log", "client list", "acl list", "acl getuser ada", "info everything", "latency histogram"] {
        let shown = admin.ask_text(line).await;
        assert!(!shown.contains("topsecret"), "{line}: {shown}");
    }
    admin.ask("echo end-of-it").await;
    let mut seen = String::new();
    while !seen.contains("end-of-it") {
        seen += &text(&monitor.reply().await);
    }
    assert!(seen.contains("(redacted)") && !seen.contains("topsecret"), "{seen}");
}

#[tokio::test]
async fn without_users_nothing_is_served() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    assert_eq!(client.ask_text("ping").await, "PONG");
    // Users are kept in the second group.
    harness.nodes[1].behave(|_| Verdict::Silence);
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    client.request(&["PING"]).await;
    let answered = tokio::time::timeout(Duration::from_millis(500), client.reply()).await;
    assert!(answered.is_err(), "it waits");
    let groups = harness.groups.clone();
    harness.nodes[1].behave(move |request| groups.answer(request));
    assert_eq!(text(&client.reply().await), "PONG");
}
