//! The arguments of commands as COMMAND DOCS tells them: what a terminal completes, not what a command parses.

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key.
    Key,
    /// Any bytes.
    String,
    /// A 64-bit integer.
    Integer,
    /// A decimal number.
    Double,
    /// A glob pattern.
    Pattern,
    /// Seconds or milliseconds since 1970.
    UnixTime,
    /// A word.
    Token,
    /// One of the parts.
    OneOf,
    /// All the parts.
    Block,
}

impl Kind {
    /// The word in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Key => "key",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::Token => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }
}

/// An argument of a command, or several that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What to call it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Of a key or a pattern of keys: which of the command's [`super::table::KeySpec`]s finds it.
    pub key_spec: u8,
    /// The word that it is or that stands before it.
    pub token: Option<&'static str>,
    /// May be left out.
    pub is_optional: bool,
    /// May be repeated.
    pub is_multiple: bool,
    /// And then with its word each time.
    pub repeats_token: bool,
    /// Of `OneOf` and `Block`.
    pub parts: &'static [Argument],
}

impl Argument {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            key_spec: 0,
            token: None,
            is_optional: false,
            is_multiple: false,
            repeats_token: false,
            parts: &[],
        }
    }

    /// With a word before it.
    pub(super) const fn after(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    pub(super) const fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    pub(super) const fn multiple(mut self) -> Self {
        self.is_multiple = true;
        self
    }

    pub(super) const fn with_token_each(mut self) -> Self {
        self.repeats_token = true;
        self
    }
}

pub(super) const fn key(name: &'static str) -> Argument {
    Argument::new(name, Kind::Key)
}

/// A key of another kind than the first, as COMMAND INFO counts kinds of keys.
pub(super) const fn second_key(name: &'static str) -> Argument {
    let mut argument = key(name);
    argument.key_spec = 1;
    argument
}

/// A key of a third kind.
pub(super) const fn third_key(name: &'static str) -> Argument {
    let mut argument = key(name);
    argument.key_spec = 2;
    argument
}

pub(super) const fn string(name: &'static str) -> Argument {
    Argument::new(name, Kind::String)
}

pub(super) const fn integer(name: &'static str) -> Argument {
    Argument::new(name, Kind::Integer)
}

pub(super) const fn double(name: &'static str) -> Argument {
    Argument::new(name, Kind::Double)
}

pub(super) const fn pattern(name: &'static str) -> Argument {
    Argument::new(name, Kind::Pattern)
}

/// A pattern of keys of a second kind.
pub(super) const fn key_pattern(name: &'static str) -> Argument {
    let mut argument = pattern(name);
    argument.key_spec = 1;
    argument
}

pub(super) const fn unix_time(name: &'static str) -> Argument {
    Argument::new(name, Kind::UnixTime)
}

pub(super) const fn token(name: &'static str, token: &'static str) -> Argument {
    Argument::new(name, Kind::Token).after(token)
}

pub(super) const fn one_of(name: &'static str, parts: &'static [Argument]) -> Argument {
    let mut argument = Argument::new(name, Kind::OneOf);
    argument.parts = parts;
    argument
}

pub(super) const fn block(name: &'static str, parts: &'static [Argument]) -> Argument {
    let mut argument = Argument::new(name, Kind::Block);
    argument.parts = parts;
    argument
}

/// A key.
pub(super) const KEY: Argument = key("key");
/// Some keys.
pub(super) const KEYS: Argument = KEY.multiple();
/// What a key is set to.
pub(super) const VALUE: Argument = string("value");
/// Keys and what they are set to.
pub(super) const PAIRS: Argument = block("key_value", &[KEY, VALUE]).multiple();
/// The conditions of the EXPIRE family.
pub(super) const EXPIRE_CONDITION: Argument =
    one_of("condition", &[token("nx", "NX"), token("xx", "XX"), token("gt", "GT"), token("lt", "LT")]).optional();
/// How to flush.
pub(super) const FLUSH_MODE: Argument = one_of("async", &[token("async", "ASYNC"), token("sync", "SYNC")]).optional();
