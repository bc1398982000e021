//! Users and what they may do: the access control lists of Redis 7.0.
//!
//! - A [`User`] has passwords (only their SHA-256), and one or more [`Selector`]s. Whoever tries something may do it if one
//!   selector allows all of it: the command, its keys by what happens to them, its channels.
//! - Rules are words such as `+@read` or `~app:*`: [`User::apply`] takes one, [`describe`] writes them back, so that the
//!   same user comes out of them ([`record`] keeps them so).
//! - [`check`] judges a command line by the one command [`super::table`].
//! - [`answer`] has what ACL replies without anybody else.
//!
//! Nothing is kept here: where users live, how fresh they are and who has which is the gateway's affair.

pub mod answer;
pub mod check;
mod commands;
pub mod describe;
pub mod record;
mod selector;
mod user;

#[cfg(test)]
mod tests;

use thiserror::Error;

pub use check::{Denied, sort_denied};
pub use commands::CATEGORIES;
pub use selector::Selector;
pub use user::{DEFAULT_USER, User, hash_password, is_valid_name, merge_selectors};

/// Why a rule is refused. `Display` is what Redis says behind the rule.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// `+` or `-` with something that is neither a command nor a category.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// No rule at all.
    #[error("Syntax error")]
    Syntax,
    /// A key pattern for somebody who may use all keys.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AllKeys,
    /// A channel pattern for somebody who may use all channels.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
         Try 'resetchannels' to start with an empty list of channels"
    )]
    AllChannels,
    /// `<` or `!` with a password that is none.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// `#` or `!` with something that is no hash.
    #[error("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")]
    BadHash,
    /// `+container|subcommand|argument`
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgument,
}
