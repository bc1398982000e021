//! The commands of the table as numbers, so that what a selector allows is a set of bits.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::super::table::{Spec, all, lookup};

/// All categories, in the order in which ACL CAT tells them.
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

const WORDS: usize = 16;

/// Every command and subcommand; a container stands right before its subcommands.
pub(super) struct Index {
    pub(super) specs: Vec<&'static Spec>,
    /// By number: bit n is category n.
    categories: Vec<u32>,
    by_name: HashMap<&'static str, usize>,
}

pub(super) static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let specs: Vec<&'static Spec> = all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)).collect();
    assert!(specs.len() <= WORDS * 64, "every command has a bit");
    let bits = |spec: &&'static Spec| {
        let own = spec.categories_in_order();
        (0..CATEGORIES.len()).filter(|at| own.contains(&CATEGORIES[*at])).fold(0, |bits, at| bits | 1 << at)
    };
    Index {
        categories: specs.iter().map(bits).collect(),
        by_name: specs.iter().enumerate().map(|(number, spec)| (spec.name, number)).collect(),
        specs,
    }
});

impl Index {
    /// The number of a command; `None`: it is not in the table.
    pub(super) fn number(&self, spec: &Spec) -> Option<usize> {
        self.by_name.get(spec.name).copied()
    }

    /// The number of a command by its name, in any case of letters: `get`, `config`, `config|get`.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let mut parts = name.split(|&byte| byte == b'|');
        let spec = lookup(parts.next()?)?;
        let spec = match (parts.next(), parts.next()) {
            (None, _) => spec,
            (Some(subcommand), None) => spec.subcommand(subcommand)?,
            (Some(_), Some(_)) => return None,
        };
        self.number(spec)
    }

    pub(super) fn is_in(&self, number: usize, category: usize) -> bool {
        self.categories[number] & 1 << category != 0
    }

    /// Numbers of the subcommands.
    pub(super) fn subcommands(&self, number: usize) -> Range<usize> {
        number + 1..number + 1 + self.specs[number].subcommands.len()
    }
}

/// The number of a category, in any case of letters.
pub(super) fn category(name: &[u8]) -> Option<usize> {
    CATEGORIES.iter().position(|category| category.as_bytes().eq_ignore_ascii_case(name))
}

/// Commands by number. Bits without a command say what becomes of commands that are still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommandSet([u64; WORDS]);

impl CommandSet {
    pub(super) const NONE: Self = Self([0; WORDS]);
    /// With those to come.
    pub(super) const ALL: Self = Self([u64::MAX; WORDS]);

    pub(super) fn has(&self, number: usize) -> bool {
        self.0[number / 64] & 1 << (number % 64) != 0
    }

    pub(super) fn set(&mut self, number: usize, allowed: bool) {
        let bit = 1 << (number % 64);
        if allowed {
            self.0[number / 64] |= bit;
        } else {
            self.0[number / 64] &= !bit;
        }
    }

    /// A command, with all its subcommands.
    pub(super) fn set_command(&mut self, number: usize, allowed: bool) {
        self.set(number, allowed);
        INDEX.subcommands(number).for_each(|number| self.set(number, allowed));
    }

    /// Whether commands that are still to come are in it.
    pub(super) fn has_future(&self) -> bool {
        self.0[WORDS - 1] & 1 << 63 != 0
    }

    /// How many commands of a category are in it, and how many are not.
    pub(super) fn count(&self, category: usize) -> (usize, usize) {
        let in_category = (0..INDEX.specs.len()).filter(|number| INDEX.is_in(*number, category));
        in_category.fold((0, 0), |(on, off), number| if self.has(number) { (on + 1, off) } else { (on, off + 1) })
    }
}
