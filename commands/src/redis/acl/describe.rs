//! Users written as rules: what ACL LIST and ACL GETUSER show, and what [`super::record`] keeps.
//!
//! Rules about commands are found again from what is allowed, as Redis 7.0 does it: from all or nothing, whole categories
//! are taken as long as they come closer, then single commands. So a user that may do `+@read` may do what is new in that
//! category in a later version.

use bytes::Bytes;

use super::commands::{CATEGORIES, CommandSet, INDEX};
use super::selector::{ChannelPattern, KeyPattern};
use super::{Selector, User};

/// Rules about commands; the first is `+@all` or `-@all`.
pub(super) fn command_rules(selector: &Selector) -> Vec<Bytes> {
    let additive = !selector.commands.has_future();
    let mut described = Selector::new(false);
    let mut rest = selector.clone();
    let mut rules = vec![Bytes::from_static(if additive { b"-@all" } else { b"+@all" })];
    described.commands = if additive { CommandSet::NONE } else { CommandSet::ALL };
    let mut applied = [false; CATEGORIES.len()];
    while let Some(best) = closest(&rest, additive, &applied) {
        described.set_category(best, additive);
        rest.set_category(best, !additive);
        rules.push(format!("{}@{}", sign(additive), CATEGORIES[best]).into());
        applied[best] = true;
    }
    for (number, spec) in INDEX.specs.iter().enumerate() {
        let allowed = selector.commands.has(number);
        if described.commands.has(number) != allowed {
            rules.push(format!("{}{}", sign(allowed), spec.name).into());
            described.set_command(number, allowed);
        }
        for argument in selector.first_arguments.get(&number).into_iter().flatten() {
            rules.push([b"+", spec.name.as_bytes(), b"|", argument].concat().into());
        }
    }
    debug_assert!(described.commands == selector.commands, "the rules say what is allowed");
    rules
}

/// The category that differs least from what is allowed; none that differs in more than it has in common.
fn closest(rest: &Selector, additive: bool, applied: &[bool]) -> Option<usize> {
    let mut best: Option<(usize, usize, usize)> = None;
    for category in (0..CATEGORIES.len()).filter(|category| !applied[*category]) {
        let (on, off) = rest.commands.count(category);
        let (same, differ) = if additive { (on, off) } else { (off, on) };
        let better = best.is_none_or(|(_, least, most)| differ < least || (differ == least && same > most));
        if same > differ && better {
            best = Some((category, differ, same));
        }
    }
    best.map(|(category, ..)| category)
}

fn sign(allowed: bool) -> char {
    if allowed { '+' } else { '-' }
}

/// Rules about keys.
pub(super) fn key_rules(selector: &Selector) -> Vec<Bytes> {
    let rule = |keys: &KeyPattern| {
        let prefix: &[u8] = match (keys.reads, keys.writes) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            // `~*` would be another rule.
            _ if keys.text == "*" => b"%RW~",
            _ => b"~",
        };
        Bytes::from([prefix, &keys.text].concat())
    };
    match &selector.keys {
        None => vec![Bytes::from_static(b"~*")],
        Some(keys) => keys.iter().map(rule).collect(),
    }
}

/// Rules about channels, without `resetchannels`.
pub(super) fn channel_rules(selector: &Selector) -> Vec<Bytes> {
    let rule = |channels: &ChannelPattern| Bytes::from([b"&", &channels.text[..]].concat());
    match &selector.channels {
        None => vec![Bytes::from_static(b"&*")],
        Some(channels) => channels.iter().map(rule).collect(),
    }
}

/// All rules of a selector, in the order of ACL LIST.
pub(super) fn selector_rules(selector: &Selector) -> Vec<Bytes> {
    let mut rules = key_rules(selector);
    if selector.channels.is_some() {
        rules.push(Bytes::from_static(b"resetchannels"));
    }
    rules.extend(channel_rules(selector));
    rules.extend(command_rules(selector));
    rules
}

/// What a user is, apart from passwords and permissions.
pub(super) fn flags(user: &User) -> Vec<&'static str> {
    let mut flags = vec![if user.enabled { "on" } else { "off" }];
    flags.extend(user.no_password.then_some("nopass"));
    flags.extend(user.sanitizes_payloads.map(|on| if on { "sanitize-payload" } else { "skip-sanitize-payload" }));
    flags
}

/// Hashes in hexadecimal digits.
pub(super) fn passwords(user: &User) -> impl Iterator<Item = String> {
    user.passwords.iter().map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Everything outside of parentheses.
pub(super) fn root_rules(user: &User) -> Vec<Bytes> {
    let mut rules: Vec<Bytes> = flags(user).into_iter().map(Bytes::from).collect();
    rules.extend(passwords(user).map(|hash| Bytes::from(format!("#{hash}"))));
    rules.extend(selector_rules(&user.selectors[0]));
    rules
}

/// A line of ACL LIST, without `user` and the name.
pub fn line(user: &User) -> Bytes {
    let mut line = root_rules(user).join(&b' ');
    for selector in &user.selectors[1..] {
        line.extend_from_slice(b" (");
        line.extend(selector_rules(selector).join(&b' '));
        line.push(b')');
    }
    line.into()
}
