//! Names in order, with ranks: how many names lie below one, and which name has a rank, in O(log n).
//!
//! A B+-tree whose nodes have no addresses. The names are records in order. Above them stand levels of nodes, each level
//! ordered records too: a node is a record whose name is its *boundary* and whose value says how many names lie from its
//! boundary to that of the next node of its level, and how many children it has on the level below. A node's children
//! are the records of that level from its boundary on. So a node is found from above by one seek, the last boundary not
//! above a name; nothing points anywhere, and nothing has to be kept in step but the counts. The root is kept by whoever
//! owns the order ([`Root`]); of at most [`MOST`] names it is the whole tree, and there are no other records.
//!
//! A change reads and writes one small record a level (four levels for 10 million names). A node with more than
//! [`MOST`] children is divided, one with fewer than [`FEW`] is joined with a sibling if both fit into one. Asking for a
//! rank reads at most [`MOST`] records a level.
//!
//! Invariants: the first node of a level has the empty boundary, and the first child of a node the node's own boundary
//! (names excepted). A node counts what lies in it exactly. docs/decisions/0005-counted-order.md says why it is this.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::elements::Elements;
use super::record::Root;
use crate::view::{Order, View, ViewError};

/// Most children of a node.
const MOST: u16 = 64;
/// A node with fewer children looks for a sibling to join.
const FEW: u16 = 16;
/// Children of a node that is built at once.
const BUILT: usize = 48;

/// An order whose records lie in one collection.
pub(super) struct Counted<'a> {
    /// The names are the part [`LEVELS`] of these, the nodes of level n the part `LEVELS + n`.
    pub elements: &'a Elements,
    /// Its root: to be stored by the owner after changes.
    pub root: Root,
}

/// The first part of a collection's elements that the levels take; 0 cannot be a part.
pub(super) const LEVELS: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    boundary: Bytes,
    /// Names in it.
    count: u64,
    children: u16,
}

impl Node {
    fn decode(level: &Elements, (boundary, mut value): (Bytes, Bytes)) -> Result<Self, ViewError> {
        match (value.try_get_u64(), value.try_get_u16(), value.is_empty()) {
            (Ok(count), Ok(children), true) => Ok(Self { boundary, count, children }),
            _ => Err(corrupt(level, &boundary, "a node has another length")),
        }
    }

    fn put<V: View>(&self, view: &mut V, level: &Elements) {
        let mut value = BytesMut::with_capacity(10);
        value.put_u64(self.count);
        value.put_u16(self.children);
        level.put(view, &self.boundary, value.freeze());
    }
}

fn corrupt(level: &Elements, name: &[u8], reason: &str) -> ViewError {
    ViewError::Corrupt { key: level.key(name), reason: reason.to_owned() }
}

/// The smallest name above `name`.
pub(super) fn just_above(name: &[u8]) -> Vec<u8> {
    let mut above = name.to_vec();
    above.push(0);
    above
}

impl Counted<'_> {
    fn level(&self, level: u8) -> Elements {
        self.elements.part(LEVELS + level)
    }

    /// At most `limit` nodes of a level from a boundary on; of level 0 the names, each counting one.
    async fn nodes<V: View>(
        &self,
        view: &mut V,
        level: u8,
        from: &[u8],
        to: Option<&[u8]>,
        limit: u16,
    ) -> Result<Vec<Node>, ViewError> {
        let records = self.level(level);
        let Some(range) = records.between(from, to) else { return Ok(Vec::new()) };
        let found = records.scan(view, &range, Order::Ascending, usize::from(limit)).await?;
        let node = |(boundary, value)| match level {
            0 => Ok(Node { boundary, count: 1, children: 0 }),
            _ => Node::decode(&records, (boundary, value)),
        };
        found.into_iter().map(node).collect()
    }

    /// The node of a level that a name lies in.
    async fn node_of<V: View>(&self, view: &mut V, level: u8, name: &[u8]) -> Result<Node, ViewError> {
        let records = self.level(level);
        if let Some(range) = records.between(&[], Some(&just_above(name)))
            && let Some(found) = records.scan(view, &range, Order::Descending, 1).await?.pop()
        {
            return Node::decode(&records, found);
        }
        Err(corrupt(&records, name, "a level has no first node"))
    }

    /// Adds a name that is not there.
    pub async fn insert<V: View>(&mut self, view: &mut V, name: &[u8]) -> Result<(), ViewError> {
        self.level(0).put(view, name, Bytes::new());
        let mut more_children = 1;
        for level in 1..=self.root.height {
            let mut node = self.node_of(view, level, name).await?;
            node.count += 1;
            node.children += more_children;
            more_children = 0;
            if node.children > MOST {
                let right = self.divide(view, level, &mut node).await?;
                right.put(view, &self.level(level));
                more_children = 1;
            }
            node.put(view, &self.level(level));
        }
        self.root.children += more_children;
        if self.root.children > MOST {
            let level = self.root.height + 1;
            let names = self.nodes(view, self.root.height, &[], None, self.root.children).await?;
            let count = names.iter().map(|node| node.count).sum();
            let mut left = Node { boundary: Bytes::new(), count, children: self.root.children };
            let right = self.divide(view, level, &mut left).await?;
            left.put(view, &self.level(level));
            right.put(view, &self.level(level));
            self.root = Root { height: level, children: 2 };
        }
        Ok(())
    }

    /// Cuts a node in two; the right half is the answer.
    async fn divide<V: View>(&self, view: &mut V, level: u8, node: &mut Node) -> Result<Node, ViewError> {
        let children = self.nodes(view, level - 1, &node.boundary, None, node.children).await?;
        let half = node.children / 2;
        let Some(right_half) = children.get(usize::from(half)..).filter(|half| !half.is_empty()) else {
            return Err(corrupt(&self.level(level), &node.boundary, "a node has fewer children than it says"));
        };
        let right = Node {
            boundary: right_half[0].boundary.clone(),
            count: right_half.iter().map(|child| child.count).sum(),
            children: node.children - half,
        };
        node.count -= right.count;
        node.children = half;
        Ok(right)
    }

    /// Removes a name that is there.
    pub async fn remove<V: View>(&mut self, view: &mut V, name: &[u8]) -> Result<(), ViewError> {
        self.level(0).delete(view, name);
        let mut fewer_children = 1;
        for level in 1..=self.root.height {
            let mut node = self.node_of(view, level, name).await?;
            node.count -= 1;
            node.children -= fewer_children;
            let joined = node.children < FEW && self.join(view, level, &node, name).await?;
            if !joined {
                node.put(view, &self.level(level));
            }
            fewer_children = u16::from(joined);
        }
        self.root.children -= fewer_children;
        while self.root.height > 0 && self.root.children == 1 {
            let top = self.level(self.root.height);
            let only = self.node_of(view, self.root.height, &[]).await?;
            top.delete(view, &only.boundary);
            self.root = Root { height: self.root.height - 1, children: only.children };
        }
        Ok(())
    }

    /// Joins a node with a sibling of the same parent if both fit into one; whether it did.
    async fn join<V: View>(&self, view: &mut V, level: u8, node: &Node, name: &[u8]) -> Result<bool, ViewError> {
        let (parent_boundary, siblings) = if level == self.root.height {
            (Bytes::new(), self.root.children)
        } else {
            let parent = self.node_of(view, level + 1, name).await?;
            (parent.boundary, parent.children)
        };
        if siblings < 2 {
            return Ok(false);
        }
        let (left, right) = if node.boundary == parent_boundary {
            let mut both = self.nodes(view, level, &node.boundary, None, 2).await?;
            match both.pop() {
                Some(right) if both.len() == 1 => (node.clone(), right),
                _ => return Err(corrupt(&self.level(level), &node.boundary, "a node has no sibling")),
            }
        } else {
            let records = self.level(level);
            let below = records.between(&parent_boundary, Some(&node.boundary));
            let left = match below {
                Some(range) => records.scan(view, &range, Order::Descending, 1).await?.pop(),
                None => None,
            };
            let left = left.ok_or_else(|| corrupt(&records, &node.boundary, "a node has no sibling"))?;
            (Node::decode(&records, left)?, node.clone())
        };
        if left.children + right.children > MOST {
            return Ok(false);
        }
        let records = self.level(level);
        records.delete(view, &right.boundary);
        let children = left.children + right.children;
        Node { boundary: left.boundary, count: left.count + right.count, children }.put(view, &records);
        Ok(true)
    }

    /// How many names lie below `name`, which need not be there.
    pub async fn rank<V: View>(&self, view: &mut V, name: &[u8]) -> Result<u64, ViewError> {
        let (mut rank, mut from, mut children) = (0, Bytes::new(), self.root.children);
        for level in (1..=self.root.height).rev() {
            let mut nodes = self.nodes(view, level, &from, Some(&just_above(name)), children).await?;
            let Some(last) = nodes.pop() else {
                return Err(corrupt(&self.level(level), &from, "a level has no first node"));
            };
            rank += nodes.iter().map(|node| node.count).sum::<u64>();
            (from, children) = (last.boundary, last.children);
        }
        Ok(rank + self.nodes(view, 0, &from, Some(name), children).await?.len() as u64)
    }

    /// The name that so many others lie below; `None`: there are not so many.
    pub async fn select<V: View>(&self, view: &mut V, mut rank: u64) -> Result<Option<Bytes>, ViewError> {
        let (mut from, mut children) = (Bytes::new(), self.root.children);
        for level in (1..=self.root.height).rev() {
            let nodes = self.nodes(view, level, &from, None, children).await?;
            let mut inside = None;
            for node in nodes {
                if rank < node.count {
                    inside = Some(node);
                    break;
                }
                rank -= node.count;
            }
            let Some(node) = inside else { return Ok(None) };
            (from, children) = (node.boundary, node.children);
        }
        if rank >= u64::from(children) {
            return Ok(None);
        }
        let mut names = self.nodes(view, 0, &from, None, rank as u16 + 1).await?;
        Ok(names.pop().filter(|_| names.len() as u64 == rank).map(|name| name.boundary))
    }

    /// Writes sorted names, each once, to an order that is empty.
    pub fn build<V: View>(&mut self, view: &mut V, names: impl Iterator<Item = Bytes>) {
        let mut nodes: Vec<Node> = names.map(|boundary| Node { boundary, count: 1, children: 0 }).collect();
        nodes.iter().for_each(|name| self.level(0).put(view, &name.boundary, Bytes::new()));
        let mut height = 0;
        while nodes.len() > usize::from(MOST) {
            height += 1;
            let level = self.level(height);
            nodes = nodes
                .chunks(BUILT)
                .map(|children| Node {
                    boundary: children[0].boundary.clone(),
                    count: children.iter().map(|child| child.count).sum(),
                    children: children.len() as u16,
                })
                .collect();
            nodes[0].boundary = Bytes::new();
            nodes.iter().for_each(|node| node.put(view, &level));
        }
        self.root = Root { height, children: nodes.len() as u16 };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{MemoryView, ready};

    fn name(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    /// Everything that the module says of the records.
    fn check(view: &mut MemoryView, order: &Counted<'_>, names: &BTreeSet<u32>) {
        let mut below: Vec<Node> = names
            .iter()
            .map(|&number| Node { boundary: Bytes::copy_from_slice(&name(number)), count: 1, children: 0 })
            .collect();
        let found = ready(order.nodes(view, 0, &[], None, u16::MAX)).unwrap();
        assert!(found == below, "the names are there");
        for level in 1..=order.root.height {
            let nodes = ready(order.nodes(view, level, &[], None, u16::MAX)).unwrap();
            assert_eq!(nodes[0].boundary, Bytes::new());
            let mut rest = &below[..];
            for (at, node) in nodes.iter().enumerate() {
                let children;
                (children, rest) = rest.split_at(usize::from(node.children));
                assert!(node.children <= MOST);
                assert_eq!(node.count, children.iter().map(|child| child.count).sum::<u64>());
                assert!(level == 1 || children[0].boundary == node.boundary, "the first child has the boundary");
                assert!(children.iter().all(|child| child.boundary >= node.boundary));
                let next = nodes.get(at + 1);
                assert!(next.is_none_or(|next| children.iter().all(|child| child.boundary < next.boundary)));
            }
            assert!(rest.is_empty(), "every child has a parent");
            below = nodes;
        }
        assert_eq!(usize::from(order.root.children), below.len());
        let above = ready(order.nodes(view, order.root.height + 1, &[], None, 1)).unwrap();
        assert!(above.is_empty(), "nothing stands above the root");
    }

    fn compare_ranks(view: &mut MemoryView, order: &Counted<'_>, names: &BTreeSet<u32>, probe: u32) {
        let rank = names.range(..probe).count() as u64;
        assert_eq!(ready(order.rank(view, &name(probe))).unwrap(), rank);
        let at = names.iter().nth(rank as usize).map(|&number| Bytes::copy_from_slice(&name(number)));
        assert_eq!(ready(order.select(view, rank)).unwrap(), at);
    }

    #[test]
    fn a_large_order_grows_and_shrinks_at_either_end() {
        let elements = Elements::new(0, b"key", 7);
        let mut view = MemoryView::default();
        let mut order = Counted { elements: &elements, root: Root::default() };
        let mut names = BTreeSet::new();
        for number in 0..6_000 {
            ready(order.insert(&mut view, &name(number))).unwrap();
            names.insert(number);
        }
        assert_eq!(order.root.height, 2);
        check(&mut view, &order, &names);
        view.take_accesses();
        ready(order.rank(&mut view, &name(5_500))).unwrap();
        assert!(view.take_accesses().scanned <= 3 * u64::from(MOST));
        ready(order.insert(&mut view, &name(1_000_000))).unwrap();
        assert!(view.take_accesses().puts <= 5, "a change writes a record a level");
        ready(order.remove(&mut view, &name(1_000_000))).unwrap();
        for number in (0..3_000).chain((3_010..6_000).rev()) {
            ready(order.remove(&mut view, &name(number))).unwrap();
            names.remove(&number);
            if number % 500 == 0 {
                check(&mut view, &order, &names);
                compare_ranks(&mut view, &order, &names, 3_005);
            }
        }
        check(&mut view, &order, &names);
        assert_eq!(order.root, Root { height: 0, children: 10 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn ranks_and_names_agree_with_a_sorted_set(
            built in prop::collection::btree_set(0..4_000_u32, 0..600),
            stretches in prop::collection::vec((any::<bool>(), 0..4_000_u32, 1..300_u32), 1..12),
            probes in prop::collection::vec(0..4_100_u32, 8),
        ) {
            let elements = Elements::new(0, b"key", 7);
            let mut view = MemoryView::default();
            let mut order = Counted { elements: &elements, root: Root::default() };
            let mut names = built;
            order.build(&mut view, names.iter().map(|&number| Bytes::copy_from_slice(&name(number))));
            check(&mut view, &order, &names);
            for (insert, from, len) in stretches {
                for number in from..from + len {
                    if insert && names.insert(number) {
                        ready(order.insert(&mut view, &name(number))).unwrap();
                    } else if !insert && names.remove(&number) {
                        ready(order.remove(&mut view, &name(number))).unwrap();
                    }
                }
                check(&mut view, &order, &names);
                for &probe in &probes {
                    compare_ranks(&mut view, &order, &names, probe);
                }
            }
        }
    }
}
