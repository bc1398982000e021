//! The lock units that a command line touches: what it is routed by, and what a transaction locks.

use bytes::Bytes;
use keyspace::layout;
use scripting::sha1;

use super::Invocation;
use super::error::RedisError;
use super::number::parse_database;
use super::options::CopyOptions;
use super::table::{KeyCommand, Place, Spec, keys};

/// Encoded units, sorted, each once; empty for a command without keys.
///
/// Refused as [`keys`] refuses. A command line that is wrong in another way has units all the same: whoever evaluates it
/// says what is wrong.
pub fn units(spec: &Spec, invocation: &Invocation) -> Result<Vec<Bytes>, RedisError> {
    let Invocation { db, args, .. } = invocation;
    let found = keys(spec, args)?;
    let unit = |db: u8, index: usize| -> Bytes { layout::redis_unit(db, &args[index]).into() };
    let mut units: Vec<Bytes> = match spec.place {
        // The copy may go to another database.
        Place::AtLeader(KeyCommand::Copy) => {
            let other = CopyOptions::parse(&args[3..], *db).map_or(*db, |options| options.db);
            vec![unit(*db, 1), unit(other, 2)]
        }
        Place::AtLeader(KeyCommand::Move) => {
            let other = parse_database(&args[2]).unwrap_or(*db);
            vec![unit(*db, 1), unit(other, 1)]
        }
        // A transaction needs some unit to begin with; equal scripts without keys share one.
        Place::AtLeader(KeyCommand::Script(_)) if found.is_empty() => {
            vec![layout::redis_unit(*db, sha1::hex(&args[1]).as_bytes()).into()]
        }
        _ => found.into_iter().map(|index| unit(*db, index)).collect(),
    };
    if units.len() > 1 {
        units.sort_unstable();
        units.dedup();
    }
    Ok(units)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::redis::resolve;

    fn of(db: u8, line: &str) -> Vec<Bytes> {
        let args: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        units(resolve(&args).unwrap(), &Invocation::new(db, args)).unwrap()
    }

    fn sorted(units: &[(u8, &str)]) -> Vec<Bytes> {
        let mut units: Vec<Bytes> =
            units.iter().map(|(db, key)| layout::redis_unit(*db, key.as_bytes()).into()).collect();
        units.sort();
        units
    }

    #[test]
    fn each_key_is_one_unit_in_the_selected_database() {
        assert_eq!(of(3, "mget a b a"), sorted(&[(3, "a"), (3, "b")]));
        assert_eq!(of(0, "mset a b c d"), sorted(&[(0, "a"), (0, "c")]));
        assert_eq!(of(0, "rename a a"), sorted(&[(0, "a")]));
        assert_eq!(of(0, "ping"), sorted(&[]));
    }

    #[test]
    fn a_move_goes_to_another_database() {
        assert_eq!(of(1, "move a 2"), sorted(&[(1, "a"), (2, "a")]));
        assert_eq!(of(1, "move a 99"), sorted(&[(1, "a")]));
    }

    #[test]
    fn a_copy_may_go_to_another_database() {
        assert_eq!(of(1, "copy a a db 2"), sorted(&[(1, "a"), (2, "a")]));
        assert_eq!(of(1, "copy a b replace"), sorted(&[(1, "a"), (1, "b")]));
        assert_eq!(of(1, "copy a b db 99"), sorted(&[(1, "a"), (1, "b")]));
    }
}
