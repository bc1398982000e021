//! The arguments and replies of HSCAN, SSCAN and ZSCAN.

use bytes::Bytes;

use super::error::RedisError;
use super::glob::Pattern;
use super::number::parse_integer;
use super::value::Value;

/// Without COUNT.
const DEFAULT_COUNT: usize = 10;
/// Most elements in a page of a large collection.
const MAX_COUNT: usize = 10_000;

/// What follows the cursor.
pub(super) struct ScanOptions {
    /// About how many elements to look at.
    pub count: usize,
    pattern: Option<Pattern>,
}

impl ScanOptions {
    /// Reads MATCH and COUNT.
    pub fn parse(args: &[Bytes]) -> Result<Self, RedisError> {
        let mut options = Self { count: DEFAULT_COUNT, pattern: None };
        for option in args.chunks(2) {
            let [name, value] = option else { return Err(RedisError::Syntax) };
            if name.eq_ignore_ascii_case(b"count") {
                let count = usize::try_from(parse_integer(value)?).ok().filter(|&count| count > 0);
                options.count = count.ok_or(RedisError::Syntax)?.min(MAX_COUNT);
            } else if name.eq_ignore_ascii_case(b"match") {
                // `*` selects everything, the empty name included, which the pattern itself would not match.
                options.pattern = (**value != *b"*").then(|| Pattern::new(value));
            } else {
                return Err(RedisError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether an element is listed.
    pub fn takes(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

/// A page: the next cursor and what is listed.
pub(super) fn page(cursor: u64, items: Vec<Value>) -> Value {
    Value::Array(vec![Value::bulk(cursor.to_string()), Value::Array(items)])
}
