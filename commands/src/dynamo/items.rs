//! Operations on one item, evaluated at the leader of the item's key. Items are their own lock units.

use bytes::Bytes;

use super::Outcome;
use crate::view::{View, ViewError};

/// Writes an item in place of whatever was there.
pub(super) async fn put<V: View>(
    view: &mut V,
    key: &Bytes,
    item: &Bytes,
    return_old: bool,
) -> Result<Outcome, ViewError> {
    let old = if return_old { get(view, key).await? } else { Outcome::None };
    view.put(key.to_vec(), item.clone());
    Ok(old)
}

/// Reads an item.
pub(super) async fn get<V: View>(view: &mut V, key: &Bytes) -> Result<Outcome, ViewError> {
    Ok(view.get(key).await?.map_or(Outcome::None, |record| Outcome::Item(record.value)))
}

/// Removes an item. Writes nothing when there is none, so that deleting at random leaves no tombstones behind.
pub(super) async fn delete<V: View>(view: &mut V, key: &Bytes, return_old: bool) -> Result<Outcome, ViewError> {
    let Some(old) = view.get(key).await? else { return Ok(Outcome::None) };
    view.delete(key.to_vec());
    Ok(if return_old { Outcome::Item(old.value) } else { Outcome::None })
}
