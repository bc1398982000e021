//! Tokens of transactions: one that is sent again, under the same token, takes effect once.
//!
//! A transaction with a token makes one more write, a [`Claim`] of the token, which is committed with all others or
//! not at all. Whoever claims the token later, at any gateway, finds the claim at the place that the token alone
//! decides: it is refused, and with it the whole transaction, which has taken effect before; or the client is told that
//! it has used its token for something else.
//!
//! Places are few ([`PLACES`]), and each is one record, a lock unit like an item: the claims that still count of all
//! tokens that fall there. Writing a claim leaves out those that have expired. So no more is stored than one record a
//! place and the claims of one lifetime, and nothing has to be swept.
//!
//! Places are spread over all groups by way of table ids that no table ever gets ([`is_reserved`]).
//!
//! Source: AWS API reference, TransactWriteItems, "ClientRequestToken": ten minutes from when the first request is
//! completed.

use bytes::Bytes;
use keyspace::TableId;

use super::fields::{Fields, RecordError, put_bytes, put_length};
use super::key::{encode_key_part, item_key};
use super::{AttributeValue, Outcome};
use crate::view::{View, ViewError};

/// How long a claim counts.
pub const CLAIM_LASTS_MS: u64 = 10 * 60 * 1000;
/// At how many places claims are kept.
pub const PLACES: u32 = 1 << 18;
/// Most claims at one place; beyond, the transaction is refused until some have expired.
const MAX_CLAIMS: usize = 4096;

/// All ids of tables that hold places: their lower bits are ones.
const TABLES: u32 = 1 << 8;
const LOWER_BITS: u32 = u32::MAX / TABLES;

const VERSION: u8 = 1;

/// That a transaction of this content takes effect under this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What the client calls it.
    pub token: String,
    /// Of the content: equal only for the same content.
    pub fingerprint: [u8; 32],
}

/// A claim that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    claim: Claim,
    expire_at_ms: u64,
}

/// Whether no table may have this id.
pub fn is_reserved(id: TableId) -> bool {
    id.0 & LOWER_BITS == LOWER_BITS
}

/// The encoded key of the place of a token.
pub fn place(token: &str) -> Bytes {
    // 64-bit FNV-1a; the upper half of a product depends on all of it.
    let hash = token
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    let place = (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32 % PLACES;
    let table = TableId((place % TABLES) * (LOWER_BITS + 1) + LOWER_BITS);
    let inside = Bytes::copy_from_slice(&(place / TABLES).to_be_bytes());
    let part = encode_key_part(&AttributeValue::B(inside)).expect("bytes may be a key");
    item_key(table, &part, b"")
}

/// The record that makes the claim, or why it cannot be made: a failed condition if the same one is there already.
pub(super) async fn judge<V: View>(
    view: &mut V,
    key: &Bytes,
    claim: &Claim,
) -> Result<Result<Bytes, Outcome>, ViewError> {
    let old = view.get(key).await?.map(|record| record.value);
    let corrupt = |error: RecordError| ViewError::Corrupt { key: key.to_vec(), reason: error.to_string() };
    let mut made = old.map_or(Ok(Vec::new()), |record| decode(&record)).map_err(corrupt)?;
    made.retain(|made| !view.expired(made.expire_at_ms));
    if let Some(found) = made.iter().find(|made| made.claim.token == claim.token) {
        return Ok(Err(match found.claim.fingerprint == claim.fingerprint {
            true => Outcome::ConditionFailed { item: None },
            false => fault(
                "IdempotentParameterMismatchException",
                "The ClientRequestToken was used with other parameters in the last ten minutes",
            ),
        }));
    }
    if made.len() >= MAX_CLAIMS {
        return Ok(Err(fault("ThrottlingException", "Too many transactions with a ClientRequestToken; retry later.")));
    }
    made.push(Made { claim: claim.clone(), expire_at_ms: view.now_ms().saturating_add(CLAIM_LASTS_MS) });
    Ok(Ok(encode(&made)))
}

fn fault(name: &str, message: &str) -> Outcome {
    Outcome::Fault { name: name.to_owned(), message: message.to_owned() }
}

/// Appends a claim.
pub(super) fn put_claim(out: &mut Vec<u8>, claim: &Claim) {
    put_bytes(out, claim.token.as_bytes());
    out.extend(claim.fingerprint);
}

/// Inverse of [`put_claim`].
pub(super) fn read_claim(fields: &mut Fields<'_>) -> Result<Claim, RecordError> {
    Ok(Claim { token: fields.text("token")?.to_owned(), fingerprint: fields.array("fingerprint")? })
}

fn encode(made: &[Made]) -> Bytes {
    let mut out = vec![VERSION];
    put_length(&mut out, made.len());
    for made in made {
        put_claim(&mut out, &made.claim);
        out.extend(made.expire_at_ms.to_be_bytes());
    }
    out.into()
}

fn decode(record: &[u8]) -> Result<Vec<Made>, RecordError> {
    let mut fields = Fields::of_version(record, VERSION)?;
    let count = fields.length("claims")?;
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        made.push(Made { claim: read_claim(&mut fields)?, expire_at_ms: fields.u64("expiry")? });
    }
    fields.finish()?;
    Ok(made)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use keyspace::Key;

    use super::super::write::{Change, ItemWrite};
    use super::super::{Item, Operation, record::encode_item};
    use super::*;
    use crate::testing::{MemoryView, ready};

    fn claim(token: &str, content: u8) -> ItemWrite {
        let claim = Claim { token: token.into(), fingerprint: [content; 32] };
        ItemWrite::plain(place(token), Change::Claim(claim))
    }

    fn put(n: u8) -> ItemWrite {
        let part = encode_key_part(&AttributeValue::B(vec![n].into())).unwrap();
        let item = encode_item(&Item::from([("p".into(), AttributeValue::Null)]));
        ItemWrite::plain(item_key(TableId(1), &part, b""), Change::Put(item))
    }

    /// Whether the put took effect, and what came of the claim.
    fn together(view: &mut MemoryView, n: u8, token: &str) -> (bool, Outcome) {
        let before = view.records().len();
        let writes = vec![put(n), claim(token, n)];
        let Ok(Outcome::Together(mut outcomes)) = ready(super::super::run(view, &Operation::Together(writes))) else {
            panic!("not outcomes");
        };
        view.step();
        (view.records().len() > before, outcomes.pop().unwrap())
    }

    #[test]
    fn a_transaction_takes_effect_once_under_its_token() {
        let mut view = MemoryView::default();
        assert_eq!(together(&mut view, 1, "a"), (true, Outcome::None));
        assert_eq!(together(&mut view, 1, "a"), (false, Outcome::ConditionFailed { item: None }));
        let (written, other) = together(&mut view, 2, "a");
        assert!(matches!(other, Outcome::Fault { name, .. } if name == "IdempotentParameterMismatchException"));
        assert!(!written);
        assert_eq!(together(&mut view, 2, "b"), (true, Outcome::None));
        view.advance_ms(CLAIM_LASTS_MS - 1);
        assert_eq!(together(&mut view, 1, "a"), (false, Outcome::ConditionFailed { item: None }));
        view.advance_ms(1);
        // The item of the other content is there already: only the claim can tell.
        assert_eq!(together(&mut view, 3, "a"), (true, Outcome::None));
    }

    #[test]
    fn claims_that_have_expired_leave_their_place_to_others() {
        let mut view = MemoryView::default();
        // Tokens that share a place, found by trying.
        let wanted = place("t0");
        let mut tokens = (0..4_000_000_u32).map(|n| format!("t{n}")).filter(|token| place(token) == wanted);
        let tokens = [tokens.next().unwrap(), tokens.next().unwrap(), tokens.next().unwrap()];
        let count = |view: &mut MemoryView, token: &str| {
            assert_eq!(together(view, 1, token).1, Outcome::None);
            decode(&view.records()[&wanted].value).unwrap().len()
        };
        assert_eq!(count(&mut view, &tokens[0]), 1);
        view.advance_ms(CLAIM_LASTS_MS / 2);
        assert_eq!(count(&mut view, &tokens[1]), 2);
        view.advance_ms(CLAIM_LASTS_MS / 2);
        assert_eq!(count(&mut view, &tokens[2]), 2, "the first has expired");
        view.advance_ms(CLAIM_LASTS_MS);
        assert_eq!(count(&mut view, &tokens[0]), 1);
    }

    #[test]
    fn a_place_takes_a_bounded_number_of_claims() {
        let mut view = MemoryView::default();
        let made =
            |n: usize| Made { claim: Claim { token: n.to_string(), fingerprint: [0; 32] }, expire_at_ms: u64::MAX };
        let full: Vec<Made> = (0..MAX_CLAIMS).map(made).collect();
        crate::View::put(&mut view, place("one more").to_vec(), encode(&full));
        view.step();
        let (written, outcome) = together(&mut view, 1, "one more");
        assert!(!written && matches!(outcome, Outcome::Fault { name, .. } if name == "ThrottlingException"));
    }

    #[test]
    fn places_are_spread_over_reserved_tables() {
        let mut tables = BTreeSet::new();
        let mut places = BTreeSet::new();
        for n in 0..20_000 {
            let place = place(&format!("00000000-0000-4000-8000-{n:012}"));
            let Key::Dynamo { table, .. } = Key::decode(&place).unwrap() else { panic!("{place:?}") };
            assert!(is_reserved(table), "{table:?}");
            tables.insert(table);
            places.insert(place);
        }
        assert_eq!(tables.len(), 256);
        // Of 20,000 in 262,144 places, some 19,250 are expected to have one of their own.
        assert!(places.len() > 19_000, "{}", places.len());
        let highest = (u32::MAX - TABLES).reverse_bits();
        assert!(!is_reserved(TableId(highest)) && is_reserved(TableId((u32::MAX - TABLES + 1).reverse_bits())));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let made = vec![Made { claim: Claim { token: "ä".into(), fingerprint: [7; 32] }, expire_at_ms: 9 }];
        let record = encode(&made);
        assert_eq!(decode(&record).unwrap(), made);
        assert!((0..record.len()).all(|at| decode(&record[..at]).is_err()));
        let write = claim("ä", 3);
        assert_eq!(ItemWrite::decode(write.key.clone(), &write.encode(), Bytes::new()).unwrap(), write);
    }
}
