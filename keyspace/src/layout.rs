//! Every key layout of the store, in one enum.
//!
//! The first byte says which language owns a key; no language can see or delete another's keys.
//!
//! | tag | layout |
//! | --- | --- |
//! | `s` | kind · escaped name |
//! | `k` | escaped user key |
//! | `r` | slot (u16) · db (u8) · escaped user key · record |
//! | `d` | table (u32) · hash of the partition key (u16) · escaped partition key · index (u8) · escaped sort key |
//!
//! Records of one *lock unit* (a Redis key, a DynamoDB item, a RawKV key) are contiguous and share the unit's key as
//! a prefix: [`unit_len`]. No encoded key is a prefix of another, so a store may append a version to it.

use crate::codec::{CodecError, Reader, put_bytes};
use crate::ids::TableId;
use crate::slot::{SLOTS, slot_of};

/// First byte of system keys.
pub const SYSTEM: u8 = b's';
/// First byte of RawKV and TransactionalKV keys.
pub const RAW: u8 = b'k';
/// First byte of Redis keys.
pub const REDIS: u8 = b'r';
/// First byte of DynamoDB keys.
pub const DYNAMO: u8 = b'd';

/// Number of Redis databases (`SELECT 0` to `SELECT 15`).
pub const REDIS_DATABASES: u8 = 16;

/// An encoded key, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// What the system remembers about itself.
    System(SystemKey),
    /// A key of RawKV or TransactionalKV.
    Raw {
        /// As the program named it.
        user_key: Vec<u8>,
    },
    /// A record of a Redis key.
    Redis {
        /// Database, below [`REDIS_DATABASES`].
        db: u8,
        /// As the client named it; the slot follows from it.
        user_key: Vec<u8>,
        /// Which record.
        record: RedisRecord,
    },
    /// A DynamoDB item or index entry.
    Dynamo {
        /// Table or global index.
        table: TableId,
        /// Order-preserving form of the partition key; the hash follows from it.
        partition_key: Vec<u8>,
        /// 0 for the item, else the local index.
        index: u8,
        /// Order-preserving form of the sort key; empty where the table has none.
        sort_key: Vec<u8>,
    },
}

/// System records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemKey {
    /// Descriptor of a DynamoDB table, by name.
    Table {
        /// Table name.
        name: String,
    },
    /// How many table ids have been given out.
    TableSequence,
    /// What a gateway registers for all gateways, by name.
    Entry {
        /// Which list it stands in.
        registry: Registry,
        /// Its name there.
        name: Vec<u8>,
    },
}

/// A list of named records that all gateways share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Registry {
    /// Lua scripts by their SHA-1.
    Scripts,
    /// Libraries of functions by name.
    Libraries,
    /// Users of the Redis language by name.
    Users,
}

impl Registry {
    /// Every one of them.
    pub const ALL: [Registry; 3] = [Registry::Scripts, Registry::Libraries, Registry::Users];

    const fn kind(self) -> u8 {
        match self {
            Registry::Scripts => 0x03,
            Registry::Libraries => 0x04,
            Registry::Users => 0x05,
        }
    }

    fn of_kind(kind: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|registry| registry.kind() == kind)
    }

    /// How people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Registry::Scripts => "script",
            Registry::Libraries => "library",
            Registry::Users => "user",
        }
    }

    /// Prefix of its records, which sort by name.
    pub fn prefix(self) -> Vec<u8> {
        vec![SYSTEM, self.kind()]
    }

    /// Encoded key of a record.
    pub fn entry(self, name: &[u8]) -> Vec<u8> {
        let mut out = self.prefix();
        put_bytes(&mut out, name);
        out
    }
}

/// A record below a Redis key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisRecord {
    /// Type, generation, expiry; the value itself for strings.
    Meta,
    /// One element of a collection of this generation.
    Element {
        /// Generation of the collection that it belongs to.
        generation: u64,
        /// Position or name inside the collection, in the collection's own encoding.
        element: Vec<u8>,
    },
}

const SYSTEM_TABLE: u8 = 0x01;
const SYSTEM_TABLE_SEQUENCE: u8 = 0x02;
const REDIS_META: u8 = 0x00;
const REDIS_ELEMENT: u8 = 0x01;

impl Key {
    /// The bytes that are stored and compared.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Key::System(SystemKey::Table { name }) => table_descriptor(name),
            Key::System(SystemKey::TableSequence) => vec![SYSTEM, SYSTEM_TABLE_SEQUENCE],
            Key::System(SystemKey::Entry { registry, name }) => registry.entry(name),
            Key::Raw { user_key } => raw(user_key),
            Key::Redis { db, user_key, record: RedisRecord::Meta } => redis_meta(*db, user_key),
            Key::Redis { db, user_key, record: RedisRecord::Element { generation, element } } => {
                redis_element(&redis_elements(*db, user_key, *generation), element)
            }
            Key::Dynamo { table, partition_key, index, sort_key } => dynamo(*table, partition_key, *index, sort_key),
        }
    }

    /// Inverse of [`Key::encode`]; anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Key, CodecError> {
        let mut reader = Reader::new(bytes);
        let key = match reader.u8("tag")? {
            SYSTEM => Key::System(match reader.u8("system kind")? {
                SYSTEM_TABLE => {
                    let name = reader.bytes("table name")?;
                    let name = String::from_utf8(name).map_err(|_| CodecError::Invalid { field: "table name" })?;
                    SystemKey::Table { name }
                }
                SYSTEM_TABLE_SEQUENCE => SystemKey::TableSequence,
                kind => match Registry::of_kind(kind) {
                    Some(registry) => SystemKey::Entry { registry, name: reader.bytes("name")? },
                    None => return Err(CodecError::UnknownTag { field: "system kind", found: kind }),
                },
            }),
            RAW => Key::Raw { user_key: reader.bytes("user key")? },
            REDIS => {
                let (db, user_key) = read_redis_unit(&mut reader)?;
                let record = match reader.u8("record kind")? {
                    REDIS_META => RedisRecord::Meta,
                    REDIS_ELEMENT => RedisRecord::Element {
                        generation: reader.u64("generation")?,
                        element: reader.bytes("element")?,
                    },
                    found => return Err(CodecError::UnknownTag { field: "record kind", found }),
                };
                Key::Redis { db, user_key, record }
            }
            DYNAMO => {
                let table = TableId(reader.u32("table id")?);
                let hash = reader.u16("partition hash")?;
                let partition_key = reader.bytes("partition key")?;
                if hash != partition_hash(&partition_key) {
                    return Err(CodecError::Invalid { field: "partition hash" });
                }
                let index = reader.u8("index id")?;
                Key::Dynamo { table, partition_key, index, sort_key: reader.bytes("sort key")? }
            }
            found => return Err(CodecError::UnknownTag { field: "tag", found }),
        };
        reader.finish()?;
        Ok(key)
    }
}

fn read_redis_unit(reader: &mut Reader<'_>) -> Result<(u8, Vec<u8>), CodecError> {
    let slot = reader.u16("slot")?;
    let db = reader.u8("database")?;
    if db >= REDIS_DATABASES {
        return Err(CodecError::Invalid { field: "database" });
    }
    let user_key = reader.bytes("user key")?;
    if slot != slot_of(&user_key) {
        return Err(CodecError::Invalid { field: "slot" });
    }
    Ok((db, user_key))
}

/// How many bytes at the front of an encoded key name its lock unit.
///
/// Cheap: looks at the structure only, without unescaping or checking slots and hashes.
pub fn unit_len(key: &[u8]) -> Result<usize, CodecError> {
    let mut reader = Reader::new(key);
    match reader.u8("tag")? {
        SYSTEM | RAW | DYNAMO => Ok(key.len()),
        REDIS => {
            reader.array::<3>("slot and database")?;
            reader.raw_bytes("user key")?;
            Ok(key.len() - reader.rest().len())
        }
        found => Err(CodecError::UnknownTag { field: "tag", found }),
    }
}

/// Whether a range may start or end at `key`: never inside a lock unit.
///
/// True for the beginning of the keyspace, of a language, of a kind of system records, of a Redis slot, of a database
/// in a slot, of a Redis key (its unit, not one of its records), of a table, of a partition hash or a partition of a
/// table, and for every full RawKV, system and DynamoDB key. False for everything else, junk included.
pub fn is_unit_boundary(key: &[u8]) -> bool {
    read_boundary(key).is_ok_and(|boundary| boundary)
}

/// `Err` for what breaks off inside a field, `Ok(false)` for what goes on where no boundary may be.
fn read_boundary(key: &[u8]) -> Result<bool, CodecError> {
    let mut reader = Reader::new(key);
    if reader.rest().is_empty() {
        return Ok(true);
    }
    let tag = reader.u8("tag")?;
    if reader.rest().is_empty() {
        return Ok(matches!(tag, SYSTEM | RAW | REDIS | DYNAMO));
    }
    match tag {
        SYSTEM if key == table_descriptors() => Ok(true),
        SYSTEM if key.len() == 2 && Registry::of_kind(key[1]).is_some() => Ok(true),
        SYSTEM | RAW => Key::decode(key).map(|_| true),
        REDIS => {
            let slot = reader.u16("slot")?;
            if reader.rest().is_empty() {
                return Ok(slot <= SLOTS);
            }
            let db = reader.u8("database")?;
            if reader.rest().is_empty() {
                return Ok(slot < SLOTS && db < REDIS_DATABASES);
            }
            let mut unit = Reader::new(&key[1..]);
            read_redis_unit(&mut unit)?;
            Ok(unit.rest().is_empty())
        }
        DYNAMO => {
            reader.u32("table id")?;
            if reader.rest().is_empty() {
                return Ok(true);
            }
            let hash = reader.u16("partition hash")?;
            if reader.rest().is_empty() {
                return Ok(true);
            }
            let partition_key = reader.bytes("partition key")?;
            if reader.rest().is_empty() {
                return Ok(hash == partition_hash(&partition_key));
            }
            Key::decode(key).map(|_| true)
        }
        _ => Ok(false),
    }
}

/// Database of an encoded Redis key; `None` for every other key.
pub fn redis_db(key: &[u8]) -> Option<u8> {
    match key {
        [REDIS, _, _, db, ..] => Some(*db),
        _ => None,
    }
}

/// Encoded key of a RawKV record, which is its own lock unit.
pub fn raw(user_key: &[u8]) -> Vec<u8> {
    let mut out = vec![RAW];
    put_bytes(&mut out, user_key);
    out
}

/// Lock unit of a Redis key: the prefix of all its records.
pub fn redis_unit(db: u8, user_key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(user_key.len() + 8);
    out.push(REDIS);
    out.extend_from_slice(&slot_of(user_key).to_be_bytes());
    out.push(db);
    put_bytes(&mut out, user_key);
    out
}

/// Encoded key of the meta record of a Redis key.
pub fn redis_meta(db: u8, user_key: &[u8]) -> Vec<u8> {
    let mut out = redis_unit(db, user_key);
    out.push(REDIS_META);
    out
}

/// What the encoded keys of all elements of one generation of a Redis collection begin with.
pub fn redis_elements(db: u8, user_key: &[u8], generation: u64) -> Vec<u8> {
    let mut out = redis_unit(db, user_key);
    out.push(REDIS_ELEMENT);
    out.extend_from_slice(&generation.to_be_bytes());
    out
}

/// Encoded key of an element; `elements` is what [`redis_elements`] answers.
pub fn redis_element(elements: &[u8], element: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(elements.len() + element.len() + 8);
    out.extend_from_slice(elements);
    put_bytes(&mut out, element);
    out
}

/// What [`redis_element`] was given, from its result; `elements_len` is the length of the first part.
pub fn parse_redis_element(key: &[u8], elements_len: usize) -> Result<Vec<u8>, CodecError> {
    let mut reader = Reader::new(key.get(elements_len..).unwrap_or_default());
    let element = reader.bytes("element")?;
    reader.finish()?;
    Ok(element)
}

/// Generation of the collection that an element record belongs to; `None` for every other key.
pub fn redis_generation(key: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(key.get(unit_len(key).ok()?..)?);
    (redis_db(key).is_some() && reader.u8("record kind").ok()? == REDIS_ELEMENT).then_some(())?;
    reader.u64("generation").ok()
}

/// Key of the record that stands for a whole lock unit: every change of the unit rewrites it, so its version is the
/// unit's.
pub fn version_key(unit: &[u8]) -> Vec<u8> {
    let mut out = unit.to_vec();
    if unit.first() == Some(&REDIS) {
        out.push(REDIS_META);
    }
    out
}

/// Ends the lock unit of a span.
const SPAN: u8 = 0;

/// The lock unit that stands for all Redis keys of a range. `start` is the first key of these, a boundary between units.
/// It lies in the same range, below every other unit there but one: a key that is itself the boundary.
pub fn span_unit(start: &[u8]) -> Vec<u8> {
    [start, &[SPAN]].concat()
}

/// The first key of the span that a unit of [`span_unit`] stands for.
pub fn span_start(unit: &[u8]) -> Option<&[u8]> {
    unit.split_last().filter(|(last, _)| **last == SPAN).map(|(_, start)| start)
}

/// First possible key of a Redis slot; `slot` may be [`SLOTS`], the end of the last one.
pub fn redis_slot(slot: u16) -> Vec<u8> {
    let mut out = vec![REDIS];
    out.extend_from_slice(&slot.to_be_bytes());
    out
}

/// First possible key of one database inside a Redis slot.
pub fn redis_slot_db(slot: u16, db: u8) -> Vec<u8> {
    let mut out = redis_slot(slot);
    out.push(db);
    out
}

/// Database and user key, when `key` is the meta record of a Redis key.
pub fn parse_redis_meta(key: &[u8]) -> Option<(u8, Vec<u8>)> {
    let mut reader = Reader::new(key);
    (reader.u8("tag").ok()? == REDIS).then_some(())?;
    let (db, user_key) = read_redis_unit(&mut reader).ok()?;
    (reader.rest() == [REDIS_META]).then_some((db, user_key))
}

/// Encoded key of a DynamoDB item (`index` 0) or local index entry. Both key parts are already order-preserving.
pub fn dynamo(table: TableId, partition_key: &[u8], index: u8, sort_key: &[u8]) -> Vec<u8> {
    let mut out = dynamo_hash(table, partition_hash(partition_key));
    put_bytes(&mut out, partition_key);
    out.push(index);
    put_bytes(&mut out, sort_key);
    out
}

/// First possible key of a table.
pub fn dynamo_table(table: TableId) -> Vec<u8> {
    let mut out = vec![DYNAMO];
    out.extend_from_slice(&table.0.to_be_bytes());
    out
}

/// First possible key of one partition hash of a table.
pub fn dynamo_hash(table: TableId, hash: u16) -> Vec<u8> {
    let mut out = dynamo_table(table);
    out.extend_from_slice(&hash.to_be_bytes());
    out
}

/// Spreads partitions over a table's key range: the upper half of 32-bit FNV-1a, finalised so that short keys spread.
pub fn partition_hash(partition_key: &[u8]) -> u16 {
    let hash = partition_key.iter().fold(0x811C_9DC5_u32, |hash, &b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let mixed = (hash ^ (hash >> 15)).wrapping_mul(0x2C1B_3C6D);
    (mixed >> 16) as u16
}

/// Encoded key of a table descriptor.
pub fn table_descriptor(name: &str) -> Vec<u8> {
    let mut out = vec![SYSTEM, SYSTEM_TABLE];
    put_bytes(&mut out, name.as_bytes());
    out
}

/// Prefix of all table descriptors, which sort by name.
pub fn table_descriptors() -> Vec<u8> {
    vec![SYSTEM, SYSTEM_TABLE]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// User keys over few bytes, the escaped ones among them: many begin each other, many share a slot.
    fn user_keys() -> impl Strategy<Value = Vec<u8>> {
        let byte = || prop_oneof![Just(0x00), Just(0x01), Just(0xFF), Just(b'a'), Just(b'b')];
        let tagged = prop::collection::vec(byte(), 0..3).prop_map(|tail| [b"{t}".to_vec(), tail].concat());
        prop_oneof![prop::collection::vec(byte(), 0..4), tagged, prop::collection::vec(any::<u8>(), 0..8)]
    }

    fn redis_records() -> impl Strategy<Value = RedisRecord> {
        let element = (0u64..3, user_keys());
        prop_oneof![
            Just(RedisRecord::Meta),
            element.prop_map(|(generation, element)| RedisRecord::Element { generation, element }),
        ]
    }

    fn keys() -> impl Strategy<Value = Key> {
        prop_oneof![
            Just(Key::System(SystemKey::TableSequence)),
            "[a-z]{0,3}".prop_map(|name| Key::System(SystemKey::Table { name })),
            (prop::sample::select(&Registry::ALL[..]), any::<Vec<u8>>())
                .prop_map(|(registry, name)| Key::System(SystemKey::Entry { registry, name })),
            user_keys().prop_map(|user_key| Key::Raw { user_key }),
            (0u8..16, user_keys(), redis_records()).prop_map(|(db, user_key, record)| Key::Redis {
                db,
                user_key,
                record
            }),
            (0u32..3, user_keys(), 0u8..3, user_keys()).prop_map(|(table, partition_key, index, sort_key)| {
                Key::Dynamo { table: TableId(table), partition_key, index, sort_key }
            }),
        ]
    }

    fn unit(key: &[u8]) -> &[u8] {
        &key[..unit_len(key).unwrap()]
    }

    #[test]
    fn layouts_are_the_documented_ones() {
        assert_eq!(raw(b"g"), [b'k', b'g', 0, 1]);
        // CRC16 of "foo" is 0xAF96, slot 12182.
        assert_eq!(redis_meta(3, b"foo"), [b"r\x2f\x96\x03foo\0\x01".to_vec(), vec![REDIS_META]].concat());
        let [high, low] = partition_hash(b"p").to_be_bytes();
        assert_eq!(dynamo(TableId(7), b"p", 0, b"s"), [b'd', 0, 0, 0, 7, high, low, b'p', 0, 1, 0, b's', 0, 1]);
        assert_eq!(table_descriptor("t"), [b's', 1, b't', 0, 1]);
        assert_eq!(Key::System(SystemKey::TableSequence).encode(), [b's', 2]);
    }

    #[test]
    fn partition_hashes_never_change_and_spread() {
        // A stored hash is part of the key: another function would lose the items.
        assert_eq!([b"", &b"a"[..], b"orders"].map(partition_hash), [0x1AB0, 0x0B2D, 0x2DC3]);
        let mut quarters = [0; 4];
        (0..4000).for_each(|n: u32| quarters[usize::from(partition_hash(n.to_string().as_bytes()) >> 14)] += 1);
        assert!(quarters.iter().all(|&count| (800..1200).contains(&count)), "{quarters:?}");
    }

    #[test]
    fn keys_with_a_field_out_of_its_domain_are_refused() {
        let refused = |key: Vec<u8>| Key::decode(&key).unwrap_err();
        let mut other_slot = redis_meta(0, b"foo");
        other_slot[2] ^= 1;
        assert_eq!(refused(other_slot), CodecError::Invalid { field: "slot" });
        assert_eq!(refused(redis_meta(16, b"foo")), CodecError::Invalid { field: "database" });
        let mut other_hash = dynamo(TableId(7), b"p", 0, b"s");
        other_hash[5] ^= 1;
        assert_eq!(refused(other_hash), CodecError::Invalid { field: "partition hash" });
        assert_eq!(refused([raw(b"g"), vec![9]].concat()), CodecError::Trailing { count: 1 });
        assert_eq!(refused(vec![]), CodecError::Truncated { field: "tag" });
        assert_eq!(refused(b"x".to_vec()), CodecError::UnknownTag { field: "tag", found: b'x' });
        assert_eq!(refused(b"s\x09".to_vec()), CodecError::UnknownTag { field: "system kind", found: 9 });
        assert_eq!(refused(b"s\x01\xff\0\x01".to_vec()), CodecError::Invalid { field: "table name" });
    }

    #[test]
    fn ranges_are_cut_between_lock_units_only() {
        let unit = redis_unit(0, b"foo");
        let item = dynamo(TableId(7), b"p", 0, b"s");
        let partition = item[..item.len() - 4].to_vec();
        let yes: [Vec<u8>; 17] = [
            vec![],
            vec![SYSTEM],
            vec![RAW],
            vec![REDIS],
            vec![DYNAMO],
            table_descriptors(),
            table_descriptor("orders"),
            Key::System(SystemKey::TableSequence).encode(),
            raw(b""),
            raw(b"g"),
            redis_slot(0),
            redis_slot(SLOTS),
            redis_slot_db(SLOTS - 1, 15),
            unit.clone(),
            dynamo_table(TableId(u32::MAX)),
            dynamo_hash(TableId(7), 0x8000),
            partition.clone(),
        ];
        for key in yes.iter().chain([&item]) {
            assert!(is_unit_boundary(key), "{key:?}");
        }
        let mut other_slot = unit.clone();
        other_slot[2] ^= 1;
        let no: [Vec<u8>; 14] = [
            vec![b'x'],
            b"s\x09".to_vec(),
            b"kg".to_vec(),
            [raw(b"g"), vec![0]].concat(),
            vec![REDIS, 0],
            redis_slot(SLOTS + 1),
            redis_slot_db(SLOTS, 0),
            redis_slot_db(0, 16),
            redis_meta(0, b"foo"),
            unit[..unit.len() - 1].to_vec(),
            other_slot,
            vec![DYNAMO, 0, 0],
            item[..6].to_vec(),
            [partition, vec![0]].concat(),
        ];
        for key in &no {
            assert!(!is_unit_boundary(key), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn keys_round_trip(key in keys()) {
            prop_assert_eq!(Key::decode(&key.encode()), Ok(key));
        }

        #[test]
        fn no_key_begins_another(a in keys(), b in keys()) {
            prop_assert!(a == b || !b.encode().starts_with(&a.encode()));
        }

        #[test]
        fn raw_keys_sort_as_their_user_keys(a in user_keys(), b in user_keys()) {
            prop_assert_eq!(raw(&a).cmp(&raw(&b)), a.cmp(&b));
        }

        #[test]
        fn items_of_a_partition_sort_by_index_and_sort_key(
            a in (0u8..2, user_keys()), b in (0u8..2, user_keys()), partition in user_keys(),
        ) {
            let encode = |(index, sort_key): &(u8, Vec<u8>)| dynamo(TableId(1), &partition, *index, sort_key);
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
        }

        #[test]
        fn records_of_a_unit_are_contiguous(
            db in 0u8..16, user_key in user_keys(), records in prop::collection::vec(redis_records(), 2), other in keys(),
        ) {
            let own = redis_unit(db, &user_key);
            let mut of_unit: Vec<Vec<u8>> = records
                .into_iter()
                .map(|record| Key::Redis { db, user_key: user_key.clone(), record }.encode())
                .collect();
            of_unit.sort();
            for key in &of_unit {
                prop_assert_eq!(unit(key), &own[..]);
                prop_assert!(*key >= redis_meta(db, &user_key), "the meta record is the first");
            }
            let other = other.encode();
            let between = of_unit[0] < other && other < of_unit[1];
            prop_assert!(!between || unit(&other) == own, "nothing stands between");
        }

        #[test]
        fn a_unit_is_a_boundary_of_itself(key in keys(), bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let key = key.encode();
            prop_assert!(is_unit_boundary(unit(&key)));
            // Strictly inside a unit there is none: neither any junk nor a part of a key.
            for inside in (0..=key.len()).map(|n| key[..n].to_vec()).chain([bytes]) {
                let inside_unit = inside.starts_with(unit(&key)) && inside.len() > unit(&key).len();
                prop_assert!(!inside_unit || !is_unit_boundary(&inside));
            }
        }

        #[test]
        fn what_is_read_off_a_key_fits_it(key in keys()) {
            let bytes = key.encode();
            match key {
                Key::Redis { db, user_key, record } => {
                    prop_assert_eq!(redis_db(&bytes), Some(db));
                    prop_assert_eq!(version_key(unit(&bytes)), redis_meta(db, &user_key));
                    match &record {
                        RedisRecord::Meta => prop_assert_eq!(redis_generation(&bytes), None),
                        RedisRecord::Element { generation, element } => {
                            prop_assert_eq!(redis_generation(&bytes), Some(*generation));
                            let elements = redis_elements(db, &user_key, *generation);
                            prop_assert!(bytes.starts_with(&elements));
                            prop_assert_eq!(parse_redis_element(&bytes, elements.len()), Ok(element.clone()));
                        }
                    }
                    let meta = (record == RedisRecord::Meta).then_some((db, user_key));
                    prop_assert_eq!(parse_redis_meta(&bytes), meta);
                }
                _ => {
                    prop_assert_eq!(redis_db(&bytes), None);
                    prop_assert_eq!(redis_generation(&bytes), None);
                    prop_assert_eq!(parse_redis_meta(&bytes), None);
                    prop_assert_eq!(unit_len(&bytes), Ok(bytes.len()));
                    prop_assert_eq!(version_key(&bytes), bytes);
                }
            }
        }

        #[test]
        fn junk_is_refused_or_is_a_key(
            tag in prop_oneof![Just(SYSTEM), Just(RAW), Just(REDIS), Just(DYNAMO), any::<u8>()],
            rest in prop::collection::vec(prop_oneof![0u8..3, Just(0xFF), any::<u8>()], 0..12),
        ) {
            let bytes = [vec![tag], rest].concat();
            if let Ok(key) = Key::decode(&bytes) {
                prop_assert_eq!(key.encode(), &bytes[..]);
                prop_assert!(unit_len(&bytes).is_ok());
            }
            let _ = (is_unit_boundary(&bytes), unit_len(&bytes), redis_db(&bytes), parse_redis_meta(&bytes));
        }
    }
}
