//! A user: passwords, and selectors of which the first is made of the rules outside of parentheses.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::selector::has_spaces;
use super::{RuleError, Selector};

/// Who a connection is before it has said who it is.
pub const DEFAULT_USER: &str = "default";

/// SHA-256 of a password.
pub(super) type Hash = [u8; 32];

/// One user, without the name.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub(super) enabled: bool,
    /// Any password will do.
    pub(super) no_password: bool,
    /// Of what RESTORE is given; `None`: nothing was said. Without effect: every payload is checked.
    pub(super) sanitizes_payloads: Option<bool>,
    pub(super) passwords: Vec<Hash>,
    /// Never empty.
    pub(super) selectors: Vec<Selector>,
}

/// Without the hashes.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("enabled", &self.enabled)
            .field("no_password", &self.no_password)
            .field("passwords", &self.passwords.len())
            .field("selectors", &self.selectors.len())
            .finish_non_exhaustive()
    }
}

impl User {
    /// A new one: switched off, without passwords and permissions; all channels if the server has it so.
    pub fn new(all_channels: bool) -> Self {
        Self {
            enabled: false,
            no_password: false,
            sanitizes_payloads: None,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
        }
    }

    /// The default user where nobody has said anything: `on nopass ~* &* +@all`; with `password` instead of `nopass`.
    pub fn unrestricted(password: Option<&[u8]>) -> Self {
        let mut root = Selector::new(true);
        root.keys = None;
        root.commands = super::commands::CommandSet::ALL;
        Self {
            enabled: true,
            no_password: password.is_none(),
            sanitizes_payloads: None,
            passwords: password.map(hash_password).into_iter().collect(),
            selectors: vec![root],
        }
    }

    /// What `requirepass` does to the default user: this password and no other, or none at all.
    pub fn require_password(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.no_password = password.is_empty();
        if !password.is_empty() {
            self.passwords.push(hash_password(password));
        }
    }

    /// Takes one rule; `all_channels` is what `reset` gives, as in [`User::new`].
    pub fn apply(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match rule {
            [] => {}
            _ if is("on") => self.enabled = true,
            _ if is("off") => self.enabled = false,
            _ if is("nopass") => {
                self.no_password = true;
                self.passwords.clear();
            }
            _ if is("resetpass") => {
                self.no_password = false;
                self.passwords.clear();
            }
            _ if is("skip-sanitize-payload") => self.sanitizes_payloads = Some(false),
            _ if is("sanitize-payload") => self.sanitizes_payloads = Some(true),
            _ if is("clearselectors") => self.selectors.truncate(1),
            _ if is("reset") => {
                *self = Self { sanitizes_payloads: Some(true), ..Self::new(all_channels) };
            }
            [b'>', password @ ..] => self.add_password(hash_password(password)),
            [b'#', hash @ ..] => self.add_password(parse_hash(hash)?),
            [b'<', password @ ..] => self.remove_password(&hash_password(password))?,
            [b'!', hash @ ..] => self.remove_password(&parse_hash(hash)?)?,
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::new(all_channels);
                for rule in split_words(rules) {
                    selector.apply(&rule)?;
                }
                self.selectors.push(selector);
            }
            _ => self.selectors[0].apply(rule)?,
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|other| other == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// Whether somebody may come in as this user with this password. It takes the same time whichever bytes are wrong.
    pub fn lets_in(&self, password: &[u8]) -> bool {
        let hash = hash_password(password);
        let differs =
            |own: &Hash| own.iter().zip(&hash).fold(0, |differs, (a, b)| differs | std::hint::black_box(a ^ b));
        // All of them are looked at.
        let known = self.passwords.iter().fold(false, |known, own| known | (differs(own) == 0));
        self.enabled && (self.no_password || known)
    }

    /// Whether a connection is this user without having said any password: so is every new one as the default user.
    pub fn needs_no_password(&self) -> bool {
        self.enabled && self.no_password
    }

    /// Whether no password is needed, of a user that may be switched off.
    pub fn takes_any_password(&self) -> bool {
        self.no_password
    }

    /// Whether it may do everything: then nothing else has to be looked at.
    pub fn may_do_everything(&self) -> bool {
        self.selectors.iter().any(Selector::allows_everything)
    }
}

/// SHA-256, the only form in which a password is kept.
pub fn hash_password(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

fn parse_hash(text: &[u8]) -> Result<Hash, RuleError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(RuleError::BadHash),
    };
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() {
        return Err(RuleError::BadHash);
    }
    for (byte, pair) in hash.iter_mut().zip(text.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(hash)
}

/// Whether a user may be called so.
pub fn is_valid_name(name: &[u8]) -> bool {
    !has_spaces(name)
}

/// Joins the words of selectors that a client has cut at their spaces; the first word of one that does not end.
pub fn merge_selectors(words: &[Bytes]) -> Result<Vec<Bytes>, Bytes> {
    let mut rules = Vec::with_capacity(words.len());
    let mut open: Option<(Bytes, Vec<u8>)> = None;
    for word in words {
        match &mut open {
            None if word.first() == Some(&b'(') && word.last() != Some(&b')') => {
                open = Some((word.clone(), word.to_vec()));
            }
            None => rules.push(word.clone()),
            Some((_, joined)) => {
                joined.push(b' ');
                joined.extend_from_slice(word);
                if word.last() == Some(&b')')
                    && let Some((_, joined)) = open.take()
                {
                    rules.push(joined.into());
                }
            }
        }
    }
    match open {
        Some((first, _)) => Err(first),
        None => Ok(rules),
    }
}

/// Words between spaces, quotes as redis-cli reads them. Quotes that do not end make all of it nothing, as in Redis.
fn split_words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != 0x0b);
        let Some(start) = start else { return words };
        rest = &rest[start..];
        let Some((word, behind)) = read_word(rest) else { return Vec::new() };
        words.push(word);
        rest = behind;
    }
}

fn read_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut quote = None;
    loop {
        let (taken, behind) = match (quote, rest) {
            (None, []) => return Some((word, rest)),
            (None, [b' ' | b'\n' | b'\r' | b'\t' | 0, behind @ ..]) => return Some((word, behind)),
            (None, [open @ (b'"' | b'\''), behind @ ..]) => {
                quote = Some(*open);
                rest = behind;
                continue;
            }
            (Some(_), []) => return None,
            (Some(b'"'), [b'\\', b'x', high, low, behind @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
                (digit(*high) << 4 | digit(*low), behind)
            }
            (Some(b'"'), [b'\\', escaped, behind @ ..]) => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                };
                (byte, behind)
            }
            (Some(b'\''), [b'\\', b'\'', behind @ ..]) => (b'\'', behind),
            (Some(close), [byte, behind @ ..]) if *byte == close => match behind {
                [] | [b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c, ..] => return Some((word, behind)),
                _ => return None,
            },
            (_, [byte, behind @ ..]) => (*byte, behind),
        };
        word.push(taken);
        rest = behind;
    }
}
