//! Rules and what comes of them.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;

use super::commands::INDEX;
use super::record::Kept;
use super::*;
use crate::redis::resolve;

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn try_user(rules: &str) -> Result<User, (String, RuleError)> {
    let mut user = User::new(false);
    for rule in merge_selectors(&words(rules)).unwrap() {
        user.apply(&rule, false).map_err(|error| (String::from_utf8(rule.to_vec()).unwrap(), error))?;
    }
    Ok(user)
}

fn user(rules: &str) -> User {
    try_user(rules).unwrap()
}

fn check(user: &User, line: &str) -> Result<(), Denied> {
    let args = words(line);
    user.check(resolve(&args).unwrap(), &args)
}

fn line(rules: &str) -> String {
    String::from_utf8(describe::line(&user(rules)).to_vec()).unwrap()
}

#[test]
fn who_may_read_some_keys_can_do_nothing_else() {
    let user = user("on >secret ~app:* +@read");
    for allowed in ["get app:1", "mget app:1 app:2", "hgetall app:h", "zrange app:z 0 -1", "auth x", "quit", "hello 3"]
    {
        assert_eq!(check(&user, allowed), Ok(()), "{allowed}");
    }
    for (line, denied) in [
        ("get other", Denied::Key(1)),
        ("mget app:1 other app:2", Denied::Key(2)),
        ("set app:1 x", Denied::Command),
        ("del app:1", Denied::Command),
        ("getdel app:1", Denied::Command),
        ("ping", Denied::Command),
        ("multi", Denied::Command),
        ("publish app:1 x", Denied::Command),
        ("config get x", Denied::Command),
        ("acl whoami", Denied::Command),
        ("object encoding other", Denied::Key(2)),
        ("zunion 2 app:1 other", Denied::Key(3)),
    ] {
        assert_eq!(check(&user, line), Err(denied), "{line}");
    }
    assert!(!user.may_do_everything() && !user.needs_no_password());
}

#[test]
fn keys_are_judged_by_what_happens_to_them() {
    let user = user("+@all %R~read* %W~write* %RW~rw*");
    for allowed in [
        "get read",
        "copy read write",
        "lpush write 1",
        "set rw x get",
        "set write get",
        "sort read store write",
        "georadius read 1 2 3 m store write",
        "bitfield read get u4 0",
        "exists read",
        "strlen write",
        "watch read",
        "sintercard 9 read other",
        "migrate h 1 rw 0 5",
        "migrate h 1 read 0 5 auth keys",
    ] {
        let expected = if allowed == "migrate h 1 read 0 5 auth keys" { Err(Denied::Key(3)) } else { Ok(()) };
        assert_eq!(check(&user, allowed), expected, "{allowed}");
    }
    for (line, at) in [
        ("get write", 1),
        ("set read x", 1),
        ("set write x get", 1),
        ("set write x ex get", 1),
        ("copy write read", 1),
        ("exists other", 1),
        ("bitfield read get u4 0 set u4 0 1", 1),
        ("bitfield write set u4 0 1", 1),
        ("sort read store read", 3),
        ("sort write store write", 1),
        ("georadius read 1 2 3 m store read", 7),
        ("georadius read 1 2 3 m store write store read", 9),
        ("pfcount write", 1),
    ] {
        assert_eq!(check(&user, line), Err(Denied::Key(at)), "{line}");
    }
}

#[test]
fn channels_match_and_patterns_are_compared() {
    let user = user("+@all ~* &foo:1 &bar:*");
    for allowed in
        ["publish foo:1 x", "spublish bar:2 x", "subscribe foo:1 bar:9", "psubscribe bar:* foo:1", "unsubscribe x"]
    {
        assert_eq!(check(&user, allowed), Ok(()), "{allowed}");
    }
    for (line, at) in [("publish zap x", 1), ("ssubscribe foo:1 zap", 2), ("psubscribe bar:baz", 1)] {
        assert_eq!(check(&user, line), Err(Denied::Channel(at)), "{line}");
    }
    assert!(user.may_listen(b"bar:2", false) && !user.may_listen(b"bar:2", true));
}

#[test]
fn one_selector_must_allow_all_of_it() {
    let user = user("-@all (%R~read* +@all) (%W~write* +@all)");
    assert_eq!(check(&user, "get read"), Ok(()));
    assert_eq!(check(&user, "copy read write"), Err(Denied::Key(2)));
    let user = self::user("+mget ~key (+mget ~key ~otherkey)");
    assert_eq!(check(&user, "get key"), Err(Denied::Command));
    assert_eq!(check(&user, "mget otherkey someotherkey"), Err(Denied::Key(2)));
}

#[test]
fn subcommands_and_first_arguments_are_allowed_one_by_one() {
    let user = user("-@all +config +client|id +select|0 -config|set");
    for (line, allowed) in [
        ("config get x", true),
        ("config set x y", false),
        ("client id", true),
        ("client list", false),
        ("select 0", true),
        ("select 1", false),
    ] {
        assert_eq!(check(&user, line).is_ok(), allowed, "{line}");
    }
    assert_eq!(line("+@all -client +client|id"), "off resetchannels +@all -client +client|id");
    assert_eq!(line("+memory|doctor +memory"), "off resetchannels -@all +memory");
    assert_eq!(line("+select|0 +SELECT|1 +@all -ping"), "off resetchannels +@all -ping");
    assert_eq!(line("+@all -@dangerous"), "off resetchannels +@all -@dangerous");
}

#[test]
fn every_category_is_found_again() {
    for category in CATEGORIES {
        if INDEX.specs.iter().any(|spec| spec.categories_in_order().contains(&category)) {
            assert_eq!(line(&format!("-@all +@{category}")), format!("off resetchannels -@all +@{category}"));
            assert_eq!(line(&format!("+@all -@{category}")), format!("off resetchannels +@all -@{category}"));
        }
    }
}

#[test]
fn passwords_are_hashes_and_compared_whole() {
    let mut user = user("on >one >two >one");
    assert!(user.lets_in(b"one") && user.lets_in(b"two") && !user.lets_in(b"") && !user.lets_in(b"three"));
    assert!(!format!("{user:?}").contains("one"));
    user.apply(b"<one", false).unwrap();
    assert!(!user.lets_in(b"one"));
    user.apply(b"off", false).unwrap();
    assert!(!user.lets_in(b"two"));
    user.apply(b"on", false).unwrap();
    user.apply(b"nopass", false).unwrap();
    assert!(user.lets_in(b"anything") && user.passwords.is_empty());
    assert_eq!(user.apply(b"<one", false), Err(RuleError::NoSuchPassword));
    user.require_password(b"three");
    assert!(user.lets_in(b"three") && !user.lets_in(b"one"));
    user.require_password(b"");
    assert!(user.needs_no_password());
}

#[test]
fn rules_that_are_none_are_refused() {
    for (rule, error) in [
        ("%~x", RuleError::Syntax),
        ("%", RuleError::Syntax),
        ("%RR~x", RuleError::Syntax),
        ("nonsense", RuleError::Syntax),
        (")", RuleError::Syntax),
        ("+", RuleError::Unknown),
        ("+select|", RuleError::Syntax),
        ("+nosuch|x", RuleError::Unknown),
        ("-get|a", RuleError::Unknown),
        ("+get|a|b", RuleError::Unknown),
        ("+@nosuch", RuleError::Unknown),
        ("+config|nosuch", RuleError::Unknown),
        ("+config|get|x", RuleError::FirstArgument),
        ("<a", RuleError::NoSuchPassword),
        ("#a", RuleError::BadHash),
        ("(on)", RuleError::Syntax),
        ("(&* &fail)", RuleError::AllChannels),
    ] {
        assert_eq!(try_user(rule).unwrap_err().1, error, "{rule}");
    }
    assert_eq!(try_user("~* ~x").unwrap_err().1, RuleError::AllKeys);
    assert_eq!(try_user("&* &x").unwrap_err(), ("&x".to_owned(), RuleError::AllChannels));
    assert_eq!(merge_selectors(&words("on (a b")), Err(Bytes::from("(a")));
    assert_eq!(line("%R~a %W~a ~b reset"), "off sanitize-payload resetchannels -@all");
    assert_eq!(line("%WR~c %W &a &a"), "off ~c %W~ resetchannels &a -@all");
    assert_eq!(
        line("( +GET|X  %R~q ) () on"),
        "on resetchannels -@all (%R~q resetchannels -@all +get|X) (resetchannels -@all)"
    );
}

#[test]
fn sort_looks_up_other_keys_only_for_those_who_may_read_all() {
    let denied = |rules: &str, line: &str| {
        let args = words(line);
        sort_denied(&user(rules), resolve(&args).unwrap(), &args)
    };
    for (rules, line, option) in [
        ("(+sort ~mylist)", "sort mylist by v*", Some("BY")),
        ("(+sort ~mylist)", "sort mylist by nosort", None),
        ("(+sort ~mylist ~v*)", "sort mylist limit 0 1 asc get v*", Some("GET")),
        ("(+sort ~mylist %W~*)", "sort mylist by v*", Some("BY")),
        ("(+sort ~mylist %R~*)", "sort mylist by v* get #", None),
        ("+@all ~*", "sort mylist by v*", None),
        ("+@all ~mylist", "sort_ro mylist alpha get #", Some("GET")),
        ("+@all ~mylist", "sort mylist nonsense get #", None),
    ] {
        let expected =
            option.map(|option| format!("ERR {option} option of SORT denied due to insufficient ACL permissions."));
        assert_eq!(denied(rules, line).map(str::to_owned), expected, "{rules} {line}");
    }
}

#[test]
fn subscribers_keep_what_is_said_again() {
    let before = user("&foo:1 &bar:*");
    assert!(user("&foo:1 &bar:* &more").keeps_channels_of(&before));
    assert!(user("allchannels").keeps_channels_of(&before));
    assert!(!user("&bar:*").keeps_channels_of(&before));
    assert!(!user("&foo:1").keeps_channels_of(&user("allchannels")));
}

#[test]
fn the_default_user_may_do_everything() {
    let user = User::unrestricted(None);
    assert!(user.may_do_everything() && user.needs_no_password());
    assert_eq!(&describe::line(&user)[..], b"on nopass ~* &* +@all");
    let user = User::unrestricted(Some(b"secret"));
    assert!(user.may_do_everything() && !user.needs_no_password() && user.lets_in(b"secret"));
    assert!(!self::user("+@all ~*").may_do_everything() && self::user("(+@all ~* &*)").may_do_everything());
}

#[test]
fn records_of_others_are_told() {
    let kept = Kept { id: 7, user: user("on >x ~a (+get)") };
    let record = kept.encode();
    assert_eq!(Kept::decode(&record), Ok(kept));
    for cut in 0..record.len() {
        assert!(Kept::decode(&record[..cut]).is_err(), "cut at {cut}");
    }
    let mut newer = record.to_vec();
    newer[0] = 9;
    assert_eq!(Kept::decode(&newer), Err(record::RecordError::Version(9)));
    assert!(!record.windows(2).any(|window| window == b">x"));
}

fn some_rule() -> impl Strategy<Value = String> {
    let command = (0..INDEX.specs.len()).prop_map(|number| INDEX.specs[number].name.to_owned());
    let category = (0..CATEGORIES.len()).prop_map(|number| CATEGORIES[number].to_owned());
    prop_oneof![
        4 => ("[+-]", command.clone()).prop_map(|(sign, name)| format!("{sign}{name}")),
        4 => ("[+-]", category).prop_map(|(sign, name)| format!("{sign}@{name}")),
        2 => (command, "[a-c ]{1,2}").prop_map(|(name, argument)| format!("+{name}|{argument}")),
        3 => "(~|%R~|%W~|%rw~|&)[a-c*\"()]{0,3}",
        2 => "(allkeys|resetkeys|allchannels|resetchannels|allcommands|nocommands|~\\*|&\\*|\\+@all|-@all)",
        2 => "(on|off|nopass|resetpass|reset|clearselectors|sanitize-payload|skip-sanitize-payload|>[ab]|<[ab])",
        1 => "\\((~[ab]|\\+get|\\+@read|&x|-@all|\\+@all| ){0,6}\\)",
        1 => ".{0,6}",
    ]
}

proptest! {
    #[test]
    fn what_is_described_is_read_back(rules in proptest::collection::vec(some_rule(), 0..20), all_channels: bool) {
        let mut user = User::new(all_channels);
        for rule in &rules {
            let before = user.clone();
            if user.apply(rule.as_bytes(), all_channels).is_err() {
                user = before;
            }
            let kept = Kept { id: 1, user: user.clone() };
            prop_assert_eq!(&Kept::decode(&kept.encode()).unwrap().user, &user);
            if user.selectors.len() == 1 && !rules.iter().any(|rule| rule.contains(' ')) {
                let mut again = User::new(false);
                for rule in describe::line(&user).split(|&byte| byte == b' ') {
                    again.apply(rule, false).unwrap();
                }
                prop_assert_eq!(&again, &user);
            }
        }
    }

    #[test]
    fn junk_is_no_record(record in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = Kept::decode(&record);
        let _ = Kept::decode(&[&[1], &record[..]].concat());
    }
}
