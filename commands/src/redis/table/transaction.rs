//! Commands about the transaction of a connection.

use super::super::arguments::KEYS;
use super::Flag::*;
use super::Place::InSession;
use super::TransactionCommand::*;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("discard", InSession(Discard), 1, &[NoScript, Loading, Stale, Fast, AllowBusy])
        .categories(&["transaction"])
        .group("transactions")
        .since("2.0.0")
        .complexity("O(N) where N is the number of queued commands")
        .summary("Gives a transaction up"),
    Spec::new("exec", InSession(Exec), 1, &[NoScript, Loading, Stale, SkipSlowlog])
        .categories(&["transaction"])
        .group("transactions")
        .since("1.2.0")
        .complexity("Depends on the commands")
        .summary("Runs the queued commands, all at one moment"),
    Spec::new("multi", InSession(Multi), 1, &[NoScript, Loading, Stale, Fast, AllowBusy])
        .categories(&["transaction"])
        .group("transactions")
        .since("1.2.0")
        .summary("Begins a transaction: what follows is queued"),
    Spec::new("unwatch", InSession(Unwatch), 1, &[NoScript, Loading, Stale, Fast, AllowBusy])
        .categories(&["transaction"])
        .group("transactions")
        .since("2.2.0")
        .summary("Forgets what is watched"),
    Spec::new("watch", InSession(Watch), -2, &[NoScript, Loading, Stale, Fast, AllowBusy])
        .keys(&[KeySpec::all(&["RO"])])
        .categories(&["transaction"])
        .group("transactions")
        .since("2.2.0")
        .complexity("O(1) for every key")
        .summary("Lets EXEC run only if the keys have not changed")
        .arguments(&[KEYS]),
];
