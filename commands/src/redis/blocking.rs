//! Commands that wait for data: BLPOP and its relatives.
//!
//! Evaluation never waits. When there is nothing to take, a blocking command answers nil, as Redis does inside MULTI.
//! Waiting is what the gateway makes of that answer: [`patience`] says how long a command line may wait, and
//! [`still_waits`] whether an answer means that there is still nothing. When something has changed at one of the keys,
//! the gateway evaluates the same command line again; when the time is over it answers [`timed_out`].

use std::time::Duration;

use bytes::Bytes;

use super::error::RedisError;
use super::extended::Extended;
use super::list::{End, parse_lmpop};
use super::number::parse_integer;
use super::sorted_set::parse_zmpop;
use super::stream::read::ReadRequest;
use super::table::{KeyCommand, ListCommand, Place, SortedSetCommand, Spec, StreamCommand, check_arity};
use super::value::Value;

/// How long a command line may wait for data when it finds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: it answers what there is.
    None,
    /// Until so much time has passed.
    For(Duration),
    /// Until data comes, or the connection goes.
    Forever,
}

/// How long a command line may wait; [`Patience::None`] for commands that never do.
///
/// Refused: what Redis refuses before it looks at the keys, in Redis' order. A command line that passes is refused by
/// its evaluation only for what the keys hold.
pub fn patience(spec: &Spec, args: &[Bytes]) -> Result<Patience, RedisError> {
    check_arity(spec, args)?;
    let timeout = match spec.place {
        Place::AtLeader(KeyCommand::List(command)) => match command {
            ListCommand::BLMove => {
                End::parse(&args[3])?;
                End::parse(&args[4])?;
                &args[5]
            }
            ListCommand::BLMPop => {
                parse_lmpop(&args[2..])?;
                &args[1]
            }
            ListCommand::BLPop | ListCommand::BRPop => &args[args.len() - 1],
            ListCommand::BRPopLPush => &args[3],
            _ => return Ok(Patience::None),
        },
        Place::AtLeader(KeyCommand::SortedSet(command)) => match command {
            SortedSetCommand::BZMPop => {
                parse_zmpop(&args[2..])?;
                &args[1]
            }
            SortedSetCommand::BZPopMax | SortedSetCommand::BZPopMin => &args[args.len() - 1],
            _ => return Ok(Patience::None),
        },
        Place::AtLeader(KeyCommand::Stream(command @ (StreamCommand::XRead | StreamCommand::XReadGroup))) => {
            return ReadRequest::parse(command, args).map(|request| request.patience);
        }
        _ => return Ok(Patience::None),
    };
    parse_timeout(timeout)
}

/// Seconds, with a fraction; 0: for ever. Whole milliseconds, rounded up.
fn parse_timeout(text: &[u8]) -> Result<Patience, RedisError> {
    let seconds = Extended::parse(text).ok_or(RedisError::TimeoutNotAFloat)?;
    // Beyond 64-bit milliseconds Redis' number turns negative.
    let milliseconds = seconds.to_double().map_or(f64::INFINITY, |seconds| (seconds * 1000.0).ceil());
    if milliseconds < 0.0 || milliseconds >= i64::MAX as f64 {
        Err(RedisError::NegativeTimeout)
    } else if milliseconds == 0.0 {
        Ok(Patience::Forever)
    } else {
        Ok(Patience::For(Duration::from_millis(milliseconds as u64)))
    }
}

/// What WAIT asks for: this many replicas, and how long it waits for them.
pub fn wanted_replicas(args: &[Bytes]) -> Result<(i64, Patience), RedisError> {
    let wanted = parse_integer(&args[1])?;
    let milliseconds = parse_integer(&args[2]).map_err(|_| RedisError::TimeoutNotAnInteger)?;
    let patience = match u64::try_from(milliseconds) {
        Ok(0) => Patience::Forever,
        Ok(milliseconds) => Patience::For(Duration::from_millis(milliseconds)),
        Err(_) => return Err(RedisError::NegativeTimeout),
    };
    Ok((wanted, patience))
}

/// Where an XREAD that waits reads from `$` on, what comes after it: indices of the key and of its id.
pub fn reads_from_now(args: &[Bytes]) -> Vec<(usize, usize)> {
    let Ok(request) = ReadRequest::parse(StreamCommand::XRead, args) else { return Vec::new() };
    let first_id = request.first_key + (args.len() - request.first_key) / 2;
    let from_now = (first_id..args.len()).filter(|id| &args[*id][..] == b"$");
    from_now.map(|id| (request.first_key + id - first_id, id)).collect()
}

/// The keys of a command line that are all arguments between its name and its timeout.
pub(super) fn waiting_keys(args: &[Bytes]) -> &[Bytes] {
    args.get(1..args.len().saturating_sub(1)).unwrap_or_default()
}

/// Whether an answer says that a blocking command has found nothing.
pub fn would_block(value: &Value) -> bool {
    matches!(value, Value::Null | Value::NullArray)
}

/// Whether an answer to a command that is waiting already, evaluated again, leaves it waiting.
///
/// A key that has come to hold another type refuses a command that arrives, but does not wake one that waits. Of
/// commands with a destination the answer does not tell which of the keys it is about, and a destination of another type
/// ends the wait, as does a stream whose group is gone with it.
pub fn still_waits(spec: &Spec, value: &Value) -> bool {
    let has_destination = matches!(
        spec.place,
        Place::AtLeader(
            KeyCommand::List(ListCommand::BLMove | ListCommand::BRPopLPush)
                | KeyCommand::Stream(StreamCommand::XReadGroup)
        )
    );
    would_block(value) || (!has_destination && *value == RedisError::WrongType.into())
}

/// Whether a command line has to wait after this answer; `again`: it waits already.
pub fn found_nothing(args: &[Bytes], value: &Value, again: bool) -> bool {
    match super::resolve(args) {
        Ok(spec) if again => still_waits(spec, value),
        Ok(_) => would_block(value),
        Err(_) => false,
    }
}

/// What every blocking command answers when its time is over.
pub const fn timed_out() -> Value {
    Value::NullArray
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::resolve;
    use super::super::table::{Flag, all};
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn of(line: &str) -> Result<Patience, RedisError> {
        let args = words(line);
        patience(resolve(&args)?, &args)
    }

    fn millis(millis: u64) -> Result<Patience, RedisError> {
        Ok(Patience::For(Duration::from_millis(millis)))
    }

    #[test]
    fn the_timeout_is_seconds_with_a_fraction() {
        assert_eq!(of("blpop a b 1.5"), millis(1500));
        assert_eq!(of("brpop a 0x10"), millis(16_000));
        assert_eq!(of("blmove a b left right 0.0001"), millis(1));
        assert_eq!(of("brpoplpush a b 1e1"), millis(10_000));
        assert_eq!(of("blmpop 2 1 a left count 3"), millis(2000));
        assert_eq!(of("bzpopmin z 1"), millis(1000));
        assert_eq!(of("bzpopmax z 0"), Ok(Patience::Forever));
        assert_eq!(of("bzmpop -0 1 z max"), Ok(Patience::Forever));
        // Rounded up to zero.
        assert_eq!(of("blpop a -0.0001"), Ok(Patience::Forever));
        assert_eq!(of("blpop a 9e15"), millis(9_000_000_000_000_000_000));
        for text in ["-1", "inf", "-inf", "1e400", "9.3e15", "0x7FFFFFFFFFFFFFFF"] {
            assert_eq!(of(&format!("blpop a {text}")), Err(RedisError::NegativeTimeout), "{text}");
        }
        for text in ["x", "", "nan", "+-1", "1e5000"] {
            assert_eq!(of(&format!("blpop a {text}")), Err(RedisError::TimeoutNotAFloat), "{text}");
        }
    }

    #[test]
    fn what_else_is_wrong_comes_before_the_timeout() {
        assert_eq!(of("blmove a b up left x"), Err(RedisError::Syntax));
        assert_eq!(of("blmpop x 0 a left"), Err(RedisError::NoKeysCounted));
        assert_eq!(of("blmpop x 1 a up"), Err(RedisError::Syntax));
        assert_eq!(of("bzmpop x 1 a min count 0"), Err(RedisError::NothingCounted));
        assert_eq!(of("bzmpop x 1 a min"), Err(RedisError::TimeoutNotAFloat));
        assert_eq!(of("blpop 1"), Err(RedisError::WrongArity { command: "blpop" }));
    }

    #[test]
    fn who_waits_is_flagged_and_nobody_else_waits() {
        for spec in all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
            // Where a number of keys or a timeout may stand, 1; where an end may stand, one of its words.
            let lines = [
                "a b 1",
                "1 1 a left",
                "a b left left 1",
                "1 1 a min",
                "block 1000 streams k 0",
                "group g c block 1000 streams k >",
            ];
            let waits = |line: &&str| {
                let args = words(&format!("{} {line}", spec.name));
                patience(spec, &args) == Ok(Patience::For(Duration::from_secs(1)))
            };
            assert_eq!(lines.iter().any(waits), spec.has(Flag::Blocking), "{}", spec.name);
        }
    }

    #[test]
    fn a_type_that_came_while_it_waited_wakes_nobody() {
        let spec = |line: &str| resolve(&words(line)).unwrap();
        let wrong = RedisError::WrongType.into();
        assert!(still_waits(spec("blpop a 1"), &wrong) && still_waits(spec("bzmpop 1 1 a min"), &wrong));
        assert!(!still_waits(spec("blmove a b left left 1"), &wrong));
        assert!(still_waits(spec("blmove a b left left 1"), &Value::Null));
        assert!(!still_waits(spec("blpop a 1"), &Value::Array(Vec::new())));
        assert!(would_block(&timed_out()) && !would_block(&wrong));
    }
}
