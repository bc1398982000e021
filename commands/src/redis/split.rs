//! Commands that can be divided by key, so that each part touches one lock unit, and how the replies of the parts become
//! one.
//!
//! | command | part | reply |
//! | --- | --- | --- |
//! | MGET | the same on the keys of the part | the values, at the places of their keys |
//! | MSET | the same on the pairs of the part | OK |
//! | DEL UNLINK EXISTS TOUCH | the same on the keys of the part | the sum |
//!
//! A part holds every mention of its keys in their order: so EXISTS counts a repeated key twice, DEL once, and the last
//! value of a repeated key of MSET wins, without any rule for it here.
//!
//! A part never fails by Redis' rules: whatever would refuse the whole command is found before it is divided. So it
//! cannot happen that one part is refused and the others write.
//!
//! Commands whose effect on one key depends on another (MSETNX, RENAME, RENAMENX, COPY) are not divided.

use std::collections::HashMap;
use std::hash::Hash;

use bytes::Bytes;

use super::Invocation;
use super::error::{MAX_VALUE_BYTES, RedisError};
use super::table::{KeyCommand, Place, keys, resolve};
use super::value::Value;

/// A command in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divided {
    /// What to run, all at one moment.
    pub parts: Vec<Invocation>,
    /// What becomes of their replies.
    pub merge: Merge,
}

/// How the replies of the parts become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Every part answers OK.
    AllOk,
    /// Numbers.
    Sum,
    /// Arrays. For each item of the whole, in order: which part has it. Within a part the order is the same.
    Interleave(Vec<usize>),
}

/// Divides a command into one part a key. `None`: it has one key, or cannot be divided.
///
/// Refused is what [`super::run`] would refuse without looking at any key.
pub fn divide(invocation: &Invocation) -> Result<Option<Divided>, RedisError> {
    divide_by(invocation, |key| key.clone())
}

/// Divides a command: keys with equal `class` come into one part.
pub fn divide_by<C: Eq + Hash>(
    invocation: &Invocation,
    class: impl Fn(&Bytes) -> C,
) -> Result<Option<Divided>, RedisError> {
    let Invocation { db, args, telling } = invocation;
    let spec = resolve(args)?;
    let (width, name) = match spec.place {
        Place::AtLeader(KeyCommand::MGet | KeyCommand::Del | KeyCommand::Exists) => (1, spec.name),
        Place::AtLeader(KeyCommand::MSet) => (2, spec.name),
        _ => return Ok(None),
    };
    keys(spec, args)?;
    if args[1..].len() % width != 0 {
        return Err(RedisError::WrongArity { command: name });
    }
    if args.iter().any(|arg| arg.len() > MAX_VALUE_BYTES) {
        return Err(RedisError::StringTooLong);
    }
    let mut by_class: HashMap<C, usize> = HashMap::new();
    let mut parts: Vec<Invocation> = Vec::new();
    let mut places = Vec::with_capacity(args.len() / width);
    for mention in args[1..].chunks_exact(width) {
        let part = *by_class.entry(class(&mention[0])).or_insert_with(|| {
            parts.push(Invocation::new(*db, vec![args[0].clone()]).telling(*telling));
            parts.len() - 1
        });
        parts[part].args.extend_from_slice(mention);
        places.push(part);
    }
    if parts.len() < 2 {
        return Ok(None);
    }
    let merge = match spec.place {
        Place::AtLeader(KeyCommand::MGet) => Merge::Interleave(places),
        Place::AtLeader(KeyCommand::MSet) => Merge::AllOk,
        _ => Merge::Sum,
    };
    Ok(Some(Divided { parts, merge }))
}

impl Merge {
    /// The reply of the whole; `None` when a part has answered what it cannot. The first error of a part is that of the
    /// whole.
    pub fn apply(&self, replies: Vec<Value>) -> Option<Value> {
        let mut events = Vec::new();
        let plain = |reply: Value| {
            let (reply, told) = reply.apart();
            events.extend(told);
            reply
        };
        let replies = replies.into_iter().map(plain).collect();
        self.merge(replies).map(|whole| whole.with_events(events))
    }

    fn merge(&self, replies: Vec<Value>) -> Option<Value> {
        if let Some(error) = replies.iter().find(|reply| reply.is_error()) {
            return Some(error.clone());
        }
        match self {
            Merge::AllOk => replies.iter().all(|reply| *reply == Value::OK).then_some(Value::OK),
            Merge::Sum => {
                let number = |reply: &Value| if let Value::Integer(number) = reply { Some(*number) } else { None };
                replies.iter().map(number).sum::<Option<i64>>().map(Value::Integer)
            }
            Merge::Interleave(places) => {
                let items = |reply| if let Value::Array(items) = reply { Some(items.into_iter()) } else { None };
                let mut parts: Vec<_> = replies.into_iter().map(items).collect::<Option<_>>()?;
                places.iter().map(|&part| parts.get_mut(part)?.next()).collect::<Option<_>>().map(Value::Array)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::redis::run;
    use crate::testing::{MemoryView, ready};

    fn line(text: &str) -> Invocation {
        Invocation::new(0, text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect())
    }

    fn shown(invocation: &Invocation) -> String {
        invocation.args.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parts_hold_all_mentions_of_their_key() {
        let parts = |text| -> Vec<String> { divide(&line(text)).unwrap().unwrap().parts.iter().map(shown).collect() };
        assert_eq!(parts("mset a 1 b 2 a 3"), ["mset a 1 a 3", "mset b 2"]);
        assert_eq!(parts("EXISTS a b a"), ["EXISTS a a", "EXISTS b"]);
        let mget = divide(&line("mget a b a")).unwrap().unwrap();
        assert_eq!(mget.merge, Merge::Interleave(vec![0, 1, 0]));
    }

    #[test]
    fn what_cannot_be_divided_stays_whole() {
        for text in ["get a", "mget a", "mget a a", "msetnx a 1 b 2", "rename a b", "copy a b", "ping", "client id"] {
            assert_eq!(divide(&line(text)), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_would_be_refused_is_refused_before_any_part_writes() {
        assert_eq!(divide(&line("mset a 1 b")), Err(RedisError::WrongArity { command: "mset" }));
        let mut long = line("mset a 1 b 2");
        long.args[4] = Bytes::from(vec![b'v'; MAX_VALUE_BYTES + 1]);
        assert_eq!(divide(&long), Err(RedisError::StringTooLong));
        long.args[3] = Bytes::from(vec![b'k'; crate::redis::error::MAX_KEY_BYTES + 1]);
        assert_eq!(divide(&long), Err(RedisError::KeyTooLong));
    }

    #[test]
    fn replies_that_no_part_gives_have_no_merge() {
        assert_eq!(Merge::Sum.apply(vec![Value::Integer(1), Value::OK]), None);
        assert_eq!(Merge::AllOk.apply(vec![Value::Null]), None);
        assert_eq!(Merge::Interleave(vec![0, 1]).apply(vec![Value::Array(vec![])]), None);
        let error = Value::Error("ERR x".into());
        assert_eq!(Merge::Sum.apply(vec![Value::Integer(1), error.clone()]), Some(error));
    }

    proptest! {
        #[test]
        fn a_divided_command_does_and_answers_what_the_whole_does(
            name in prop::sample::select(vec!["mget", "MSET", "del", "unlink", "exists", "Touch", "msetnx", "rename"]),
            words in prop::collection::vec("[a-e]", 1..12),
            classes in prop::collection::vec(0..3_usize, 5),
            before in prop::collection::vec(("[a-e]", "[0-9]"), 0..5),
        ) {
            let mut whole_view = MemoryView::default();
            for (key, value) in before {
                ready(run(&mut whole_view, &line(&format!("set {key} {value}")))).unwrap();
            }
            let mut parted_view = whole_view.clone();
            let invocation = line(&format!("{name} {}", words.join(" ")));
            let class = |key: &Bytes| classes[usize::from(key[0] - b'a')];
            let by_key = divide(&invocation).map(|divided| divided.map_or(0, |divided| divided.parts.len()));
            prop_assert!(by_key.is_err() || by_key.is_ok_and(|parts| parts != 1));

            let whole = ready(run(&mut whole_view, &invocation)).unwrap();
            let parted = match divide_by(&invocation, class) {
                Err(error) => error.into(),
                Ok(None) => ready(run(&mut parted_view, &invocation)).unwrap(),
                Ok(Some(divided)) => {
                    // They run at one moment, so the order does not matter: the last one first.
                    let mut replies: Vec<Value> =
                        divided.parts.iter().rev().map(|part| ready(run(&mut parted_view, part)).unwrap()).collect();
                    replies.reverse();
                    divided.merge.apply(replies).unwrap()
                }
            };
            prop_assert_eq!(whole, parted);
            prop_assert_eq!(whole_view.records(), parted_view.records());
        }
    }
}
