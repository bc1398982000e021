//! Whether a group may get or lose a replica.

use std::collections::BTreeSet;

use keyspace::NodeId;
use thiserror::Error;

/// Why the members of a group stay as they are.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MembersRefusal {
    /// Nothing was asked for.
    #[error("name a node to add, a node to remove, or both")]
    NothingToDo,
    /// The node to add is not registered.
    #[error("there is no node {0}")]
    UnknownNode(NodeId),
    /// The node to add has a replica of the group already.
    #[error("node {0} has a replica of the group already")]
    AlreadyMember(NodeId),
    /// The node to remove has no replica of the group.
    #[error("node {0} has no replica of the group")]
    NotMember(NodeId),
    /// Nobody would be left.
    #[error("node {0} has the only replica; add another one first")]
    LastMember(NodeId),
}

/// Whether a group on the nodes `members` may get a replica on `add` and lose that on `remove`.
pub fn check_change(
    members: &BTreeSet<NodeId>,
    known: &BTreeSet<NodeId>,
    add: Option<NodeId>,
    remove: Option<NodeId>,
) -> Result<(), MembersRefusal> {
    match (add, remove) {
        (None, None) => Err(MembersRefusal::NothingToDo),
        (Some(add), _) if !known.contains(&add) => Err(MembersRefusal::UnknownNode(add)),
        (Some(add), _) if members.contains(&add) => Err(MembersRefusal::AlreadyMember(add)),
        (_, Some(remove)) if !members.contains(&remove) => Err(MembersRefusal::NotMember(remove)),
        (None, Some(remove)) if members.len() == 1 => Err(MembersRefusal::LastMember(remove)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_changes_pass() {
        let members = BTreeSet::from([1, 2, 3].map(NodeId));
        let known = BTreeSet::from([1, 2, 3, 4].map(NodeId));
        let check = |add: u64, remove: u64| {
            let node = |id: u64| (id > 0).then_some(NodeId(id));
            check_change(&members, &known, node(add), node(remove))
        };
        assert_eq!(check(4, 1), Ok(()));
        assert_eq!(check(4, 0), Ok(()));
        assert_eq!(check(0, 3), Ok(()));
        assert_eq!(check(0, 0), Err(MembersRefusal::NothingToDo));
        assert_eq!(check(5, 1), Err(MembersRefusal::UnknownNode(NodeId(5))));
        assert_eq!(check(2, 1), Err(MembersRefusal::AlreadyMember(NodeId(2))));
        assert_eq!(check(4, 4), Err(MembersRefusal::NotMember(NodeId(4))));
        let alone = BTreeSet::from([NodeId(1)]);
        assert_eq!(check_change(&alone, &known, None, Some(NodeId(1))), Err(MembersRefusal::LastMember(NodeId(1))));
        assert_eq!(check_change(&alone, &known, Some(NodeId(2)), Some(NodeId(1))), Ok(()));
    }
}
