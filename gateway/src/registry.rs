//! Records that all gateways share: scripts, libraries of functions, users.
//!
//! They are system records, each a lock unit of its own, read and written at the leader that owns them like any other
//! data: what one gateway has registered, every other one finds. How long a gateway goes by what it has read before is
//! for those to say who read it: a script's name is the hash of its text, so it never changes; users do.

use bytes::Bytes;
use commands::record::{Found, Operation, Outcome};
use commands::{Command, Order};
use keyspace::{Key, KeyRange, Registry, SystemKey};

use crate::router::{Prepared, Router, RouterError};

/// Entries read with one request.
const PAGE: usize = 256;

/// Reads and writes registries. Clones share the way there.
#[derive(Clone)]
pub struct Registries {
    router: Router,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries").finish_non_exhaustive()
    }
}

impl Registries {
    /// By way of this router.
    pub fn new(router: Router) -> Self {
        Self { router }
    }

    /// The entry of this name. Linearizable.
    pub async fn get(&self, registry: Registry, name: &[u8]) -> Result<Option<Bytes>, RouterError> {
        let key = Bytes::from(registry.entry(name));
        self.on_entry(key.clone(), Operation::Get { key }).await
    }

    /// Writes an entry, or removes it (`None`); gives back the one before.
    pub async fn set(
        &self,
        registry: Registry,
        name: &[u8],
        value: Option<Bytes>,
    ) -> Result<Option<Bytes>, RouterError> {
        let key = Bytes::from(registry.entry(name));
        self.on_entry(key.clone(), Operation::Register { key, value }).await
    }

    /// Writes an entry, or removes it (`None`), if it still is what was `seen`; gives back the one before, by which one
    /// sees whether it was.
    pub async fn replace(
        &self,
        registry: Registry,
        name: &[u8],
        seen: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Result<Option<Bytes>, RouterError> {
        let key = Bytes::from(registry.entry(name));
        self.on_entry(key.clone(), Operation::Replace { key, seen, value }).await
    }

    /// All entries with their names, sorted by them. Each page is of its own moment.
    pub async fn list(&self, registry: Registry) -> Result<Vec<(Bytes, Bytes)>, RouterError> {
        let mut entries = Vec::new();
        let mut rest = Some(KeyRange::prefix(registry.prefix()));
        while let Some(range) = rest.take() {
            // The first part that one group serves; what lies behind it comes next.
            let Some(part) = self.router.parts_of(&range).into_iter().next() else { break };
            let scan = Operation::Scan { range: part.clone(), order: Order::Ascending, limit: PAGE };
            let request = Prepared::many(vec![Command::Record(scan)], Vec::new(), vec![part.clone()]);
            let records = match self.router.call_prepared(request).await {
                Ok(outcomes) => match one(outcomes)? {
                    Found::Records(records) => records,
                    _ => return Err(unexpected()),
                },
                // The routes have changed: the same part again, as they are now.
                Err(RouterError::CrossGroup) => {
                    rest = Some(range);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let next = match records.last() {
                Some((last, _)) if records.len() == PAGE => Some(Bytes::from([&last[..], &[0]].concat())),
                _ => part.end().cloned(),
            };
            for (key, record) in records {
                match Key::decode(&key) {
                    Ok(Key::System(SystemKey::Entry { name, .. })) => entries.push((name.into(), record.value)),
                    _ => return Err(unexpected()),
                }
            }
            rest = next.and_then(|start| KeyRange::new(start, range.end().cloned()));
        }
        Ok(entries)
    }

    async fn on_entry(&self, unit: Bytes, operation: Operation) -> Result<Option<Bytes>, RouterError> {
        match one(self.router.call(vec![Command::Record(operation)], vec![unit], Vec::new()).await?)? {
            Found::Record(record) => Ok(record.map(|record| record.value)),
            _ => Err(unexpected()),
        }
    }
}

fn one(mut outcomes: Vec<commands::Outcome>) -> Result<Found, RouterError> {
    match outcomes.pop() {
        Some(commands::Outcome::Record(Outcome { found, .. })) => Ok(found),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> RouterError {
    RouterError::Protocol("another outcome than that of a registry".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use commands::testing::MemoryView;
    use keyspace::RouteMap;
    use parking_lot::Mutex;

    use super::*;
    use crate::router::fake::{FakeNode, FakePlacement, router, some_route, some_topology};
    use crate::router::fake_store;

    #[tokio::test]
    async fn what_is_registered_is_found_listed_and_removed() {
        let view = Arc::new(Mutex::new(MemoryView::default()));
        let node = FakeNode::start(move |request| fake_store::evaluate(&mut view.lock(), request)).await;
        let cut = Registry::Scripts.entry(b"name-150");
        let routes = vec![some_route(1, b"", &cut, 1, 1), some_route(2, &cut, b"", 2, 1)];
        let placement = FakePlacement::start(&RouteMap::new(1, routes).unwrap(), some_topology(&[&node], [1, 1])).await;
        let registries = Registries::new(router(&placement).await);
        for n in 0..300 {
            let before = registries.set(Registry::Scripts, format!("name-{n}").as_bytes(), Some("text".into())).await;
            assert_eq!(before, Ok(None));
        }
        registries.set(Registry::Users, b"ada", Some("rules".into())).await.unwrap();
        assert_eq!(registries.list(Registry::Scripts).await.unwrap().len(), 300);
        assert_eq!(registries.list(Registry::Users).await.unwrap(), [("ada".into(), "rules".into())]);
        assert_eq!(registries.list(Registry::Libraries).await.unwrap(), []);
        assert_eq!(registries.get(Registry::Users, b"ada").await, Ok(Some("rules".into())));
        let replace =
            |seen: &'static str| registries.replace(Registry::Users, b"ada", Some(seen.into()), Some("new".into()));
        assert_eq!(replace("other").await, Ok(Some("rules".into())));
        assert_eq!(replace("rules").await, Ok(Some("rules".into())));
        assert_eq!(registries.set(Registry::Users, b"ada", None).await, Ok(Some("new".into())));
        assert_eq!(registries.get(Registry::Users, b"ada").await, Ok(None));
    }
}
