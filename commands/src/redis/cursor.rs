//! SCAN cursors: a [`ScanPosition`] in 62 bits, so that no server remembers anything between two calls.
//!
//! ```text
//! slot (14 bits) · smallest hash still to come (48 bits)
//! ```
//!
//! 0 is the beginning, and on the way back to the client also the end. The hash is [`scan_hash`]; it orders the keys of a
//! slot, so that even one huge hash tag is listed in pages of bounded size. A key that exists throughout a full
//! iteration keeps its slot and hash and is therefore listed; a key can be listed twice only when its slot is cut by a
//! range boundary ([`merge_slot`]).

use bytes::Bytes;
use keyspace::slot::SLOTS;

use super::ScanPosition;

const HASH_BITS: u32 = 48;
/// The largest [`scan_hash`].
pub const MAX_HASH: u64 = (1 << HASH_BITS) - 1;

/// The place of a user key among the keys of its slot. Part of the cursor format: it never changes.
///
/// FNV-1a with the finaliser of MurmurHash3, upper 48 bits.
pub fn scan_hash(user_key: &[u8]) -> u64 {
    let fnv = user_key
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    (mixed ^ (mixed >> 33)) >> (64 - HASH_BITS)
}

/// The cursor that a client gets; 0 when nothing is left.
pub fn to_cursor(next: Option<ScanPosition>) -> u64 {
    let Some(ScanPosition { slot, above_hash }) = next else {
        return 0;
    };
    let (slot, from_hash) = match above_hash {
        None => (slot, 0),
        Some(hash) if hash < MAX_HASH => (slot, hash + 1),
        Some(_) => (slot.saturating_add(1), 0),
    };
    if slot >= SLOTS { 0 } else { (u64::from(slot) << HASH_BITS) | from_hash }
}

/// Where a cursor stands; `None`: behind everything. Any number is a position, as with Redis.
pub fn from_cursor(cursor: u64) -> Option<ScanPosition> {
    let slot = u16::try_from(cursor >> HASH_BITS).ok().filter(|&slot| slot < SLOTS)?;
    Some(ScanPosition { slot, above_hash: (cursor & MAX_HASH).checked_sub(1) })
}

/// A position drawn from a random number, for RANDOMKEY.
pub fn random_position(random: u64) -> ScanPosition {
    let cursor = random % (u64::from(SLOTS) << HASH_BITS);
    from_cursor(cursor).unwrap_or_default()
}

/// One page of a slot out of the pages of several ranges that share it.
///
/// Ranges may be cut inside a slot. The gateway then scans the slot's part in each of them from the same position and
/// with the slot as the span; this puts the answers (keys and `next` of each) together. What lies behind the first
/// unfinished page is dropped: it comes again with the next cursor.
pub fn merge_slot(slot: u16, parts: Vec<(Vec<Bytes>, Option<ScanPosition>)>) -> (Vec<Bytes>, Option<ScanPosition>) {
    let unfinished = parts.iter().filter_map(|(_, next)| *next).filter(|next| next.slot == slot);
    let cut = unfinished.min();
    let mut keys: Vec<Bytes> = parts.into_iter().flat_map(|(keys, _)| keys).collect();
    if let Some(cut) = cut {
        keys.retain(|key| Some(scan_hash(key)) <= cut.above_hash);
    }
    (keys, cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_of_a_key_never_changes() {
        assert_eq!(scan_hash(b""), 0xEFD0_1F60_BA99);
        assert_eq!(scan_hash(b"foo"), 0xAF85_EA55_6958);
    }

    #[test]
    fn cursor_zero_is_the_beginning_and_the_end() {
        assert_eq!(from_cursor(0), Some(ScanPosition::default()));
        assert_eq!(to_cursor(None), 0);
        assert_eq!(to_cursor(Some(ScanPosition { slot: SLOTS, above_hash: None })), 0);
        assert_eq!(to_cursor(Some(ScanPosition { slot: SLOTS - 1, above_hash: Some(MAX_HASH) })), 0);
        assert_eq!(from_cursor(u64::from(SLOTS) << HASH_BITS), None);
        assert_eq!(from_cursor(u64::MAX), None);
    }

    #[test]
    fn pages_of_a_shared_slot_end_at_the_first_unfinished_one() {
        let mut keys: Vec<Bytes> = (0..6).map(|n| Bytes::from(format!("{{t}}{n}"))).collect();
        keys.sort_by_key(|key| scan_hash(key));
        let next = |key: &Bytes| Some(ScanPosition { slot: 7, above_hash: Some(scan_hash(key)) });
        let part = |indexes: &[usize]| -> Vec<Bytes> { indexes.iter().map(|&n| keys[n].clone()).collect() };
        let (page, cut) = merge_slot(7, vec![(part(&[0, 4]), next(&keys[4])), (part(&[1, 2]), next(&keys[2]))]);
        assert_eq!(page, part(&[0, 1, 2]));
        assert_eq!(cut, next(&keys[2]));
        let (page, cut) = merge_slot(7, vec![(part(&[4]), None), (part(&[3]), None)]);
        assert_eq!((page, cut), (part(&[4, 3]), None));
    }

    proptest! {
        #[test]
        fn positions_round_trip(slot in 0..SLOTS, above_hash in proptest::option::of(0..MAX_HASH)) {
            let position = ScanPosition { slot, above_hash };
            prop_assert_eq!(from_cursor(to_cursor(Some(position))), Some(position));
        }

        #[test]
        fn cursors_round_trip_and_keep_the_order(a in 1..u64::from(SLOTS) << HASH_BITS, b in 1..u64::from(SLOTS) << HASH_BITS) {
            prop_assert_eq!(to_cursor(from_cursor(a)), a);
            prop_assert_eq!(from_cursor(a).cmp(&from_cursor(b)), a.cmp(&b));
        }

        #[test]
        fn any_number_is_a_cursor(cursor: u64) {
            let _ = from_cursor(cursor);
            prop_assert!(random_position(cursor).slot < SLOTS);
        }
    }
}
