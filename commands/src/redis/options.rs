//! The options of SET, GETEX, COPY and the EXPIRE family, and the arithmetic of expiry.

use bytes::Bytes;

use super::error::RedisError;
use super::number::{parse_database, parse_integer};

/// How an expiry is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeForm {
    /// Seconds, else milliseconds.
    pub seconds: bool,
    /// Since 1970, else from now.
    pub absolute: bool,
}

impl TimeForm {
    /// EX
    pub const SECONDS: Self = Self { seconds: true, absolute: false };
    /// PX
    pub const MILLISECONDS: Self = Self { seconds: false, absolute: false };
    /// EXAT
    pub const UNIX_SECONDS: Self = Self { seconds: true, absolute: true };
    /// PXAT
    pub const UNIX_MILLISECONDS: Self = Self { seconds: false, absolute: true };

    fn of_option(option: &[u8]) -> Option<Self> {
        const OPTIONS: [(&[u8], TimeForm); 4] = [
            (b"ex", TimeForm::SECONDS),
            (b"px", TimeForm::MILLISECONDS),
            (b"exat", TimeForm::UNIX_SECONDS),
            (b"pxat", TimeForm::UNIX_MILLISECONDS),
        ];
        OPTIONS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(option)).map(|(_, form)| form)
    }

    /// Milliseconds since 1970; `None` beyond 64 bits.
    fn to_ms(self, number: i64, now_ms: i64) -> Option<i64> {
        let ms = if self.seconds { number.checked_mul(1000)? } else { number };
        if self.absolute { Some(ms) } else { ms.checked_add(now_ms) }
    }
}

/// An expiry among the options of a command, not judged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpiryOption {
    /// How it is written.
    pub form: TimeForm,
    /// The number, as the client wrote it.
    pub number: Bytes,
}

impl ExpiryOption {
    /// Milliseconds since 1970, which may have passed. Refused: what is no integer, not positive or too large.
    pub fn to_expire_at_ms(&self, command: &'static str, now_ms: i64) -> Result<u64, RedisError> {
        let number = parse_integer(&self.number)?;
        let at = if number > 0 { self.form.to_ms(number, now_ms) } else { None };
        at.and_then(|at| u64::try_from(at).ok()).ok_or(RedisError::InvalidExpireTime { command })
    }
}

/// On what a SET depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetCondition {
    /// NX: the key does not exist.
    Missing,
    /// XX: the key exists.
    Existing,
}

/// What becomes of the expiry that a key had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ExpiryChange {
    /// No option: SET drops it, GETEX keeps it.
    #[default]
    Default,
    /// EX, PX, EXAT, PXAT.
    To(ExpiryOption),
    /// KEEPTTL of SET.
    Keep,
    /// PERSIST of GETEX.
    Drop,
}

/// The options of SET.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SetOptions {
    /// NX, XX.
    pub condition: Option<SetCondition>,
    /// GET: answer the old value.
    pub answer_old: bool,
    /// Expiry options.
    pub expiry: ExpiryChange,
}

impl SetOptions {
    /// Reads what follows key and value. As in Redis an option may stand twice; the last number counts.
    pub fn parse(args: &[Bytes]) -> Result<Self, RedisError> {
        let mut options = Self::default();
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            if is(b"nx") && options.condition != Some(SetCondition::Existing) {
                options.condition = Some(SetCondition::Missing);
            } else if is(b"xx") && options.condition != Some(SetCondition::Missing) {
                options.condition = Some(SetCondition::Existing);
            } else if is(b"get") {
                options.answer_old = true;
            } else if is(b"keepttl") && matches!(options.expiry, ExpiryChange::Default | ExpiryChange::Keep) {
                options.expiry = ExpiryChange::Keep;
            } else {
                options.expiry = parse_expiry(&options.expiry, option, rest.next())?;
            }
        }
        Ok(options)
    }
}

/// The options of COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyOptions {
    /// DB: where the copy goes.
    pub db: u8,
    /// REPLACE: over what is there.
    pub replace: bool,
}

impl CopyOptions {
    /// Reads what follows source and destination; without DB the copy stays in the selected database. As in Redis an
    /// option may stand twice, and the last database counts.
    pub fn parse(args: &[Bytes], selected: u8) -> Result<Self, RedisError> {
        let mut options = Self { db: selected, replace: false };
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"replace") {
                options.replace = true;
            } else if option.eq_ignore_ascii_case(b"db") {
                options.db = parse_database(rest.next().ok_or(RedisError::Syntax)?)?;
            } else {
                return Err(RedisError::Syntax);
            }
        }
        Ok(options)
    }
}

/// Reads the options of GETEX.
pub(super) fn parse_getex(args: &[Bytes]) -> Result<ExpiryChange, RedisError> {
    let mut expiry = ExpiryChange::Default;
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        let persist = option.eq_ignore_ascii_case(b"persist");
        expiry = if persist && matches!(expiry, ExpiryChange::Default | ExpiryChange::Drop) {
            ExpiryChange::Drop
        } else {
            parse_expiry(&expiry, option, rest.next())?
        };
    }
    Ok(expiry)
}

/// EX, PX, EXAT or PXAT with its number, unless another kind of expiry stands before it.
fn parse_expiry(before: &ExpiryChange, option: &[u8], number: Option<&Bytes>) -> Result<ExpiryChange, RedisError> {
    let (Some(form), Some(number)) = (TimeForm::of_option(option), number) else {
        return Err(RedisError::Syntax);
    };
    match before {
        ExpiryChange::Default => {}
        ExpiryChange::To(before) if before.form == form => {}
        _ => return Err(RedisError::Syntax),
    }
    Ok(ExpiryChange::To(ExpiryOption { form, number: number.clone() }))
}

/// The conditions of the EXPIRE family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExpireConditions {
    /// NX: the key has no expiry.
    nx: bool,
    /// XX: the key has one.
    xx: bool,
    /// GT: the new one is later. A key without expiry lives longest.
    gt: bool,
    /// LT: the new one is earlier.
    lt: bool,
}

impl ExpireConditions {
    /// Reads what follows key and time.
    pub fn parse(args: &[Bytes]) -> Result<Self, RedisError> {
        let mut conditions = Self::default();
        for option in args {
            match option.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.nx = true,
                b"xx" => conditions.xx = true,
                b"gt" => conditions.gt = true,
                b"lt" => conditions.lt = true,
                _ => return Err(RedisError::unsupported_option(option)),
            }
        }
        let Self { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err(RedisError::ExpireNxConflict);
        }
        if gt && lt {
            return Err(RedisError::ExpireGtLtConflict);
        }
        Ok(conditions)
    }

    /// Whether a key that expires at `old_ms` may expire at `new_ms` instead.
    pub fn allow(self, old_ms: Option<u64>, new_ms: i64) -> bool {
        let old_ms = old_ms.map(|old| i64::try_from(old).unwrap_or(i64::MAX));
        match old_ms {
            None => !self.xx && !self.gt,
            Some(old) => !self.nx && (!self.gt || new_ms > old) && (!self.lt || new_ms < old),
        }
    }
}

/// The time of an EXPIRE command in milliseconds since 1970; negative times are allowed and have passed.
pub(super) fn parse_expire_time(
    command: &'static str,
    form: TimeForm,
    number: &[u8],
    now_ms: i64,
) -> Result<i64, RedisError> {
    form.to_ms(parse_integer(number)?, now_ms).ok_or(RedisError::InvalidExpireTime { command })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn set_options_that_exclude_each_other_are_syntax_errors() {
        for line in [
            "nx xx",
            "xx nx",
            "ex 1 px 1",
            "exat 1 ex 1",
            "ex 1 keepttl",
            "keepttl px 1",
            "ex",
            "persist",
            "px 1 nx ex",
            "foo",
        ] {
            assert_eq!(SetOptions::parse(&words(line)), Err(RedisError::Syntax), "{line}");
        }
        for line in ["nx nx", "ex 1 ex 2", "keepttl keepttl", "get get", "NX GeT PxAt 5", "xx keepttl get"] {
            assert!(SetOptions::parse(&words(line)).is_ok(), "{line}");
        }
        for line in ["nx", "get", "keepttl", "persist ex 1", "ex 1 persist", "pxat 1 exat 1"] {
            assert_eq!(parse_getex(&words(line)), Err(RedisError::Syntax), "{line}");
        }
    }

    #[test]
    fn conditions_see_a_key_without_expiry_as_living_longest() {
        let allow = |line: &str, old, new| ExpireConditions::parse(&words(line)).unwrap().allow(old, new);
        assert!(allow("", Some(5), 1) && allow("nx", None, 1) && allow("xx", Some(5), 1));
        assert!(!allow("nx", Some(5), 1) && !allow("xx", None, 1));
        assert!(allow("gt", Some(5), 6) && !allow("gt", Some(5), 5) && !allow("gt", None, 6));
        assert!(allow("lt", Some(5), 4) && !allow("lt", Some(5), 5) && allow("lt", None, 6));
        assert!(!allow("xx lt", None, 6));
    }

    proptest! {
        #[test]
        fn no_number_overflows(number: i64, now_ms in 0..i64::MAX, seconds: bool, absolute: bool) {
            let form = TimeForm { seconds, absolute };
            let unit = if seconds { 1000 } else { 1 };
            let base = if absolute { 0 } else { i128::from(now_ms) };
            let exact = i128::from(number) * unit + base;
            let found = parse_expire_time("expire", form, number.to_string().as_bytes(), now_ms);
            // Between the unit conversion and the addition the number must fit, too.
            let fits = i64::try_from(i128::from(number) * unit).is_ok() && i64::try_from(exact).is_ok();
            prop_assert_eq!(found.ok().map(i128::from), fits.then_some(exact));
        }
    }
}
