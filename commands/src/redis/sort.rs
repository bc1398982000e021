//! SORT and SORT_RO. Source of the rules: <https://redis.io/commands/sort>, compared with redis-server 7.0.
//!
//! 1. [`Options::parse`] reads the command line.
//! 2. The elements are loaded: all of them, or of a list or sorted set that keeps its own order only those that LIMIT
//!    leaves.
//! 3. Each gets a weight, by which they are sorted: itself, or what BY finds for it.
//! 4. Those that LIMIT leaves are answered or stored, each as itself or as what the GETs find for it.
//!
//! A pattern of BY or GET makes a key of each element, so the keys that SORT reads follow from what another key holds
//! ([`reads_beyond`]): such a SORT cannot run at the leader of its named keys. What a pattern finds is looked up for all
//! elements together, in two steps: meta records, and for `key->field` the fields.

use std::cmp::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use keyspace::layout;

use super::access::{Database, Fault, Reply};
use super::bag::{Bag, Kind};
use super::error::{MAX_KEY_BYTES, RedisError};
use super::list::End;
use super::number::parse_integer;
use super::record::Content;
use super::sorted_set::score::parse_double;
use super::table::{KeyCommand, Place};
use super::value::Value;
use super::{Invocation, resolve};
use crate::view::{Order, View};

/// Which of the two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// SORT.
    ReadWrite,
    /// SORT_RO, which does not know STORE.
    ReadOnly,
}

/// Whether a command line is a SORT that looks up keys which it does not name.
pub fn reads_beyond(invocation: &Invocation) -> bool {
    let args = &invocation.args;
    let form = match resolve(args).map(|spec| spec.place) {
        Ok(Place::AtLeader(KeyCommand::Sort)) => Form::ReadWrite,
        Ok(Place::AtLeader(KeyCommand::SortRo)) => Form::ReadOnly,
        _ => return false,
    };
    let looks_up = |pattern: &Pattern| matches!(pattern, Pattern::Key { .. });
    Options::parse(&args[2..], form)
        .is_ok_and(|options| options.by.as_ref().is_some_and(looks_up) || options.gets.iter().any(looks_up))
}

/// Where the destination of a SORT stands in its command line. As in Redis the last STORE counts, and of a command line
/// that is wrong there may be one, too.
pub(super) fn destination_index(args: &[Bytes]) -> Option<usize> {
    let mut found = None;
    let mut at = 2;
    while let Some(word) = args.get(at) {
        at += match word.to_ascii_lowercase().as_slice() {
            b"limit" => 3,
            b"by" | b"get" => 2,
            b"store" if at + 1 < args.len() => {
                found = Some(at + 1);
                2
            }
            _ => 1,
        };
    }
    found
}

/// What BY and GET look up for an element.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// `#`: the element.
    Element,
    /// Without a place for the element: nothing.
    Constant,
    /// A string, or a field of a hash, whose key has the element in it.
    Key {
        /// Before the element.
        before: Bytes,
        /// Behind the element.
        behind: Bytes,
        /// Of a hash.
        field: Option<Bytes>,
    },
}

impl Pattern {
    fn parse(text: &Bytes) -> Self {
        if &text[..] == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|&byte| byte == b'*') else { return Pattern::Constant };
        let (before, rest) = (text.slice(..star), text.slice(star + 1..));
        // An arrow at the end is a part of the key.
        let arrow = rest.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < rest.len());
        match arrow {
            Some(at) => Pattern::Key { before, behind: rest.slice(..at), field: Some(rest.slice(at + 2..)) },
            None => Pattern::Key { before, behind: rest, field: None },
        }
    }
}

/// What follows the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    /// What to sort by, if not the elements.
    by: Option<Pattern>,
    /// BY names no key: the order stays as it is.
    keeps_order: bool,
    descending: bool,
    /// As strings, not as numbers.
    alphabetical: bool,
    /// How many to leave out.
    offset: i64,
    /// How many to answer; below 0: all.
    count: i64,
    gets: Vec<Pattern>,
    store: Option<Bytes>,
}

impl Options {
    fn parse(mut args: &[Bytes], form: Form) -> Result<Self, RedisError> {
        let mut options = Options { count: -1, ..Options::default() };
        while let [word, rest @ ..] = args {
            args = match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"asc", rest) => {
                    options.descending = false;
                    rest
                }
                (b"desc", rest) => {
                    options.descending = true;
                    rest
                }
                (b"alpha", rest) => {
                    options.alphabetical = true;
                    rest
                }
                (b"limit", [offset, count, rest @ ..]) => {
                    (options.offset, options.count) = (parse_integer(offset)?, parse_integer(count)?);
                    rest
                }
                (b"store", [key, rest @ ..]) if form == Form::ReadWrite => {
                    options.store = Some(key.clone());
                    rest
                }
                (b"by", [pattern, rest @ ..]) => {
                    match Pattern::parse(pattern) {
                        // A later pattern does not bring the sorting back.
                        Pattern::Element | Pattern::Constant => options.keeps_order = true,
                        pattern @ Pattern::Key { .. } => options.by = Some(pattern),
                    }
                    rest
                }
                (b"get", [pattern, rest @ ..]) => {
                    options.gets.push(Pattern::parse(pattern));
                    rest
                }
                _ => return Err(RedisError::Syntax),
            };
        }
        if options.keeps_order {
            options.by = None;
        }
        Ok(options)
    }

    /// Of `len` elements in order those that LIMIT leaves.
    fn left(&self, len: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.offset.max(0)).unwrap_or(usize::MAX).min(len);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}

/// An element and what it is sorted by.
struct Weighed {
    element: Bytes,
    weight: Weight,
}

enum Weight {
    /// A number; of equal ones, the smaller element comes first.
    Number(f64),
    /// The element itself.
    Own,
    /// What was found for it, if anything.
    Found(Option<Bytes>),
}

impl Weighed {
    fn compare(&self, other: &Self) -> Ordering {
        match (&self.weight, &other.weight) {
            (Weight::Number(own), Weight::Number(others)) => {
                let by_number = own.partial_cmp(others).unwrap_or(Ordering::Equal);
                by_number.then_with(|| self.element.cmp(&other.element))
            }
            (Weight::Found(own), Weight::Found(others)) => own.cmp(others),
            _ => self.element.cmp(&other.element),
        }
    }
}

/// A number as SORT reads it: blanks before it, the empty text for 0, and nothing behind a zero byte.
fn parse_weight(text: &[u8]) -> Result<f64, RedisError> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | 9..=13)).count();
    parse_double(&text[blanks..]).ok_or(RedisError::SortNotANumber)
}

impl<V: View> Database<'_, V> {
    /// SORT and SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern]… [ASC|DESC] [ALPHA] [STORE destination]
    pub(super) async fn sort(&mut self, key: &Bytes, args: &[Bytes], form: Form) -> Reply {
        let mut options = Options::parse(args, form)?;
        let content = self.load(key).await?.map(|meta| meta.content);
        if matches!(content, Some(Content::Set(_))) && options.keeps_order && options.store.is_some() {
            // What is stored has an order that everybody would give it.
            (options.keeps_order, options.alphabetical) = (false, true);
        }
        let elements = match content {
            None => Vec::new(),
            Some(_) if options.keeps_order => self.in_own_order(key, &options).await?,
            Some(_) => {
                let elements = self.elements_to_sort(key).await?;
                let mut weighed = self.weigh(elements, &options).await?;
                match options.descending {
                    false => weighed.sort_by(Weighed::compare),
                    true => weighed.sort_by(|left, right| right.compare(left)),
                }
                let left = options.left(weighed.len());
                weighed.drain(left).map(|weighed| weighed.element).collect()
            }
        };
        let items = self.found_for(elements, &options.gets).await?;
        match &options.store {
            None => Ok(Value::Array(items.into_iter().map(|item| item.map_or(Value::Null, Value::Bulk)).collect())),
            Some(destination) if items.is_empty() => {
                if self.exists(destination).await? {
                    self.remove(destination);
                }
                Ok(Value::Integer(0))
            }
            Some(destination) => {
                let list = self.new_list(destination, None);
                let items: Vec<Bytes> = items.into_iter().map(Option::unwrap_or_default).collect();
                Ok(self.push_all(list, End::Right, &items))
            }
        }
    }

    /// Those that LIMIT leaves of the elements as they stand; from their end with DESC.
    async fn in_own_order(&mut self, key: &Bytes, options: &Options) -> Result<Vec<Bytes>, Fault> {
        let order = if options.descending { Order::Descending } else { Order::Ascending };
        let from_front = |len: u64| {
            let left = options.left(usize::try_from(len).unwrap_or(usize::MAX));
            let (start, end) = (left.start as u64, left.end as u64);
            if options.descending { len - end..len - start } else { start..end }
        };
        match self.load(key).await?.map(|meta| meta.content) {
            Some(Content::List(_)) => {
                let Some(list) = self.open_list(key).await? else { return Ok(Vec::new()) };
                let left = from_front(list.len());
                let positions = list.ends.head + left.start..list.ends.head + left.end;
                Ok(list.values(self.view, positions, order).await?)
            }
            Some(Content::SortedSet(_)) => {
                let Some(set) = self.open_sorted_set(key).await? else { return Ok(Vec::new()) };
                let members = set.between(self.view, from_front(set.len()), order).await?;
                Ok(members.into_iter().map(|(member, _)| member).collect())
            }
            // A set has no order of its own. In scripts and with STORE Redis takes that of the bytes; here it is always that.
            _ => {
                let mut members = self.elements_to_sort(key).await?;
                members.sort_unstable();
                if options.descending {
                    members.reverse();
                }
                let left = options.left(members.len());
                Ok(members.drain(left).collect())
            }
        }
    }

    /// All elements, in the order in which they are found.
    async fn elements_to_sort(&mut self, key: &Bytes) -> Result<Vec<Bytes>, Fault> {
        match self.load(key).await?.map(|meta| meta.content) {
            None => Ok(Vec::new()),
            Some(Content::List(_)) => {
                let Some(list) = self.open_list(key).await? else { return Ok(Vec::new()) };
                Ok(list.values(self.view, list.ends.head..list.ends.tail, Order::Ascending).await?)
            }
            Some(Content::SortedSet(_)) => {
                let Some(set) = self.open_sorted_set(key).await? else { return Ok(Vec::new()) };
                Ok(set.all(self.view).await?.into_iter().map(|(member, _)| member).collect())
            }
            // Of any other type this is the refusal.
            Some(_) => {
                let Some(set) = self.open_bag(Kind::Set, key).await? else { return Ok(Vec::new()) };
                Ok(set.all(self.view).await?.into_iter().map(|(member, _)| member).collect())
            }
        }
    }

    async fn weigh(&mut self, elements: Vec<Bytes>, options: &Options) -> Result<Vec<Weighed>, Fault> {
        let Some(by) = &options.by else {
            let weigh = |element: Bytes| {
                let weight = if options.alphabetical { Weight::Own } else { Weight::Number(parse_weight(&element)?) };
                Ok(Weighed { element, weight })
            };
            return elements.into_iter().map(weigh).collect();
        };
        let found = self.look_up(by, &elements).await?;
        let weigh = |(element, found): (Bytes, Option<Bytes>)| {
            let weight = match options.alphabetical {
                true => Weight::Found(found),
                false => Weight::Number(found.as_deref().map_or(Ok(0.0), parse_weight)?),
            };
            Ok(Weighed { element, weight })
        };
        elements.into_iter().zip(found).map(weigh).collect()
    }

    /// The elements, or what each GET finds for each of them.
    async fn found_for(&mut self, elements: Vec<Bytes>, gets: &[Pattern]) -> Result<Vec<Option<Bytes>>, Fault> {
        if gets.is_empty() {
            return Ok(elements.into_iter().map(Some).collect());
        }
        let mut columns = Vec::with_capacity(gets.len());
        for pattern in gets {
            columns.push(self.look_up(pattern, &elements).await?.into_iter());
        }
        let mut items = Vec::with_capacity(elements.len() * gets.len());
        for _ in &elements {
            items.extend(columns.iter_mut().map(|column| column.next().flatten()));
        }
        Ok(items)
    }

    /// What a pattern finds for each element.
    async fn look_up(&mut self, pattern: &Pattern, elements: &[Bytes]) -> Result<Vec<Option<Bytes>>, Fault> {
        let (before, behind, field) = match pattern {
            Pattern::Element => return Ok(elements.iter().cloned().map(Some).collect()),
            Pattern::Constant => return Ok(vec![None; elements.len()]),
            Pattern::Key { before, behind, field } => (before, behind, field),
        };
        let key_of = |element: &Bytes| {
            let mut key = BytesMut::with_capacity(before.len() + element.len() + behind.len());
            [before, element, behind].into_iter().for_each(|part| key.put_slice(part));
            // There is no longer one.
            (key.len() <= MAX_KEY_BYTES).then(|| key.freeze())
        };
        let keys: Vec<Option<Bytes>> = elements.iter().map(key_of).collect();
        let metas = keys.iter().flatten().map(|key| layout::redis_meta(self.db, key)).collect();
        self.view.will_read(metas).await?;
        let Some(field) = field else { return self.strings(&keys).await };
        let hashes = self.hashes(&keys).await?;
        self.view.will_read(hashes.iter().flatten().map(|hash| hash.record_key(field)).collect()).await?;
        let mut values = Vec::with_capacity(hashes.len());
        for hash in hashes {
            values.push(match hash {
                Some(hash) => hash.get(self.view, field).await?,
                None => None,
            });
        }
        Ok(values)
    }

    /// The strings at some keys; what is of another type counts as absent.
    async fn strings(&mut self, keys: &[Option<Bytes>]) -> Result<Vec<Option<Bytes>>, Fault> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let meta = match key {
                Some(key) => self.load(key).await?,
                None => None,
            };
            values.push(meta.and_then(|meta| meta.content.into_string().ok()));
        }
        Ok(values)
    }

    /// The hashes at some keys, likewise.
    async fn hashes(&mut self, keys: &[Option<Bytes>]) -> Result<Vec<Option<Bag>>, Fault> {
        let mut hashes = Vec::with_capacity(keys.len());
        for key in keys {
            hashes.push(match key {
                Some(key) => match self.open_bag(Kind::Hash, key).await {
                    Err(Fault::Refused(RedisError::WrongType)) => None,
                    opened => opened?,
                },
                None => None,
            });
        }
        Ok(hashes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn beyond(line: &str) -> bool {
        reads_beyond(&Invocation::new(0, line.split(' ').map(|word| Bytes::from(word.to_owned())).collect()))
    }

    #[test]
    fn patterns_with_a_star_read_beyond_the_named_keys() {
        for line in ["sort k by w_*", "sort k get # get *", "SORT_RO k GET o_*->f", "sort k by nosort get a* store d"] {
            assert!(beyond(line), "{line}");
        }
        for line in [
            "sort k",
            "sort k by nosort",
            "sort k get #",
            "sort k by w_* by nosort",
            "sort k get x store d",
            "sort_ro k get * store d",
            "sort k by w_* huh",
            "get *",
        ] {
            assert!(!beyond(line), "{line}");
        }
    }

    #[test]
    fn an_arrow_needs_a_field_behind_it() {
        let parts = |text: &'static str| match Pattern::parse(&Bytes::from(text)) {
            Pattern::Key { before, behind, field } => (before, behind, field),
            other => panic!("{other:?}"),
        };
        assert_eq!(parts("a*b->c->d"), ("a".into(), "b".into(), Some("c->d".into())));
        assert_eq!(parts("a->*->"), ("a->".into(), "->".into(), None));
        assert_eq!(parts("*"), ("".into(), "".into(), None));
        assert_eq!(parts("*b*"), ("".into(), "b*".into(), None));
        assert_eq!(Pattern::parse(&"a->b".into()), Pattern::Constant);
    }

    #[test]
    fn numbers_are_read_as_the_c_library_does() {
        for (text, number) in [("", 0.0), (" 1.5", 1.5), ("0x10", 16.0), ("-inf", f64::NEG_INFINITY), ("7\0x", 7.0)] {
            assert_eq!(parse_weight(text.as_bytes()), Ok(number), "{text:?}");
        }
        for text in [" ", "1 ", "nan", "1e400", "x"] {
            assert_eq!(parse_weight(text.as_bytes()), Err(RedisError::SortNotANumber), "{text:?}");
        }
    }
}
