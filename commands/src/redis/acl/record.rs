//! How a user is kept in the registry: `version · id · rules`, as the words of [`super::describe`].
//!
//! The id is drawn when a user is made, so that somebody who was deleted is told from a later one of the same name. Each
//! list begins with its length, each word too (u32, big-endian): words may hold any byte.
//!
//! A gateway of an older version leaves out rules about commands that it does not have: it cannot run them anyway.

use bytes::Bytes;
use thiserror::Error;

use super::describe::{root_rules, selector_rules};
use super::{RuleError, Selector, User};

const VERSION: u8 = 1;

/// A user as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Tells it from others of its name.
    pub id: u64,
    /// What it is and may do.
    pub user: User,
}

/// A record that is none.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// Another version has written it.
    #[error("a user record of version {0}, which this version does not know: upgrade the gateway")]
    Version(u8),
    /// Nobody has written it so.
    #[error("a user record that is cut or makes no sense")]
    Corrupt,
}

impl Kept {
    /// As it is written.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.id.to_be_bytes());
        put_words(&mut out, &root_rules(&self.user));
        let others = &self.user.selectors[1..];
        put_length(&mut out, others.len());
        others.iter().for_each(|selector| put_words(&mut out, &selector_rules(selector)));
        out.into()
    }

    /// Reads it.
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let (&version, rest) = record.split_first().ok_or(RecordError::Corrupt)?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let (id, mut rest) = rest.split_first_chunk().ok_or(RecordError::Corrupt)?;
        let mut user = User::new(false);
        for rule in take_words(&mut rest)? {
            forgiving(user.apply(rule, false))?;
        }
        for _ in 0..take_length(&mut rest)? {
            let mut selector = Selector::new(false);
            for rule in take_words(&mut rest)? {
                forgiving(selector.apply(rule))?;
            }
            user.selectors.push(selector);
        }
        if rest.is_empty() { Ok(Self { id: u64::from_be_bytes(*id), user }) } else { Err(RecordError::Corrupt) }
    }
}

fn forgiving(applied: Result<(), RuleError>) -> Result<(), RecordError> {
    match applied {
        Ok(()) | Err(RuleError::Unknown) => Ok(()),
        Err(_) => Err(RecordError::Corrupt),
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // A command line is far shorter than 4 GB.
    out.extend_from_slice(&(length as u32).to_be_bytes());
}

fn put_words(out: &mut Vec<u8>, words: &[Bytes]) {
    put_length(out, words.len());
    for word in words {
        put_length(out, word.len());
        out.extend_from_slice(word);
    }
}

fn take_length(rest: &mut &[u8]) -> Result<usize, RecordError> {
    let (length, behind) = rest.split_first_chunk().ok_or(RecordError::Corrupt)?;
    *rest = behind;
    Ok(u32::from_be_bytes(*length) as usize)
}

fn take_words<'a>(rest: &mut &'a [u8]) -> Result<Vec<&'a [u8]>, RecordError> {
    let count = take_length(rest)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = take_length(rest)?;
        let (word, behind) = rest.split_at_checked(length).ok_or(RecordError::Corrupt)?;
        words.push(word);
        *rest = behind;
    }
    Ok(words)
}
