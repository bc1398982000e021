//! HyperLogLog: how many different things were counted, estimated from 16,384 registers, standard error 0.81 %.
//!
//! Of each thing's hash some bits choose a register, and the register keeps the longest run of zeros seen in the others.
//! A sketch is a string, in the two forms that Redis writes: six bits a register, or runs of equal registers while that
//! is short. The estimate is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), as in
//! Redis; so sketches and estimates are those of Redis, digit for digit. The cached estimate in a sketch is never used.

use bytes::{BufMut, Bytes, BytesMut};

use super::access::{Database, Fault, Reply, StoredString};
use super::error::RedisError;
use super::table::HyperLogLogCommand;
use super::value::Value;
use crate::view::View;

const MAGIC: &[u8] = b"HYLL";
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// Magic, form, three zero bytes, and the estimate of Redis with a bit that says that it is too old.
const HEADER_LEN: usize = 16;
const INDEX_BITS: u32 = 14;
const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that do not choose the register.
const RUN_BITS: u32 = 64 - INDEX_BITS;
const REGISTER_BITS: usize = 6;
const DENSE_LEN: usize = HEADER_LEN + REGISTERS * REGISTER_BITS / 8;
/// The largest register of a run.
const SPARSE_MOST: u8 = 32;
/// A longer sketch is written in six bits a register: `hll-sparse-max-bytes`.
const SPARSE_MAX_BYTES: usize = 3000;

/// A decoded sketch.
struct Sketch {
    registers: Vec<u8>,
    dense: bool,
}

impl Sketch {
    fn new() -> Self {
        Self { registers: vec![0; REGISTERS], dense: false }
    }

    fn decode(bytes: &[u8]) -> Result<Self, RedisError> {
        let Some((header, body)) = bytes.split_at_checked(HEADER_LEN).filter(|(header, _)| header.starts_with(MAGIC))
        else {
            return Err(RedisError::NotASketch);
        };
        match header[MAGIC.len()] {
            DENSE if bytes.len() == DENSE_LEN => {
                let register = |at: usize| {
                    let (byte, shift) = (at * REGISTER_BITS / 8, at * REGISTER_BITS % 8);
                    let next = body.get(byte + 1).copied().unwrap_or(0);
                    ((u16::from(body[byte]) | u16::from(next) << 8) >> shift) as u8 & 0x3F
                };
                Ok(Self { registers: (0..REGISTERS).map(register).collect(), dense: true })
            }
            SPARSE => {
                let mut registers = Vec::with_capacity(REGISTERS);
                let mut rest = body;
                while let [first, behind @ ..] = rest {
                    let (value, run);
                    (value, run, rest) = match (first >> 6, behind) {
                        (0, _) => (0, usize::from(first & 0x3F) + 1, behind),
                        (1, [second, behind @ ..]) => {
                            (0, (usize::from(first & 0x3F) << 8 | usize::from(*second)) + 1, behind)
                        }
                        (1, []) => return Err(RedisError::CorruptSketch),
                        _ => ((first >> 2 & 0x1F) + 1, usize::from(first & 3) + 1, behind),
                    };
                    if registers.len() + run > REGISTERS {
                        return Err(RedisError::CorruptSketch);
                    }
                    registers.resize(registers.len() + run, value);
                }
                match registers.len() {
                    REGISTERS => Ok(Self { registers, dense: false }),
                    _ => Err(RedisError::CorruptSketch),
                }
            }
            _ => Err(RedisError::NotASketch),
        }
    }

    fn encode(&self) -> Bytes {
        let runs = if self.dense { None } else { self.runs() };
        let mut out = BytesMut::with_capacity(DENSE_LEN);
        out.put_slice(MAGIC);
        out.put_u8(if runs.is_some() { SPARSE } else { DENSE });
        out.put_slice(&[0; 3]);
        // No estimate is cached.
        out.put_slice(&[0, 0, 0, 0, 0, 0, 0, 0x80]);
        match runs {
            Some(runs) => out.put_slice(&runs),
            None => {
                let mut body = vec![0; DENSE_LEN - HEADER_LEN];
                for (at, &register) in self.registers.iter().enumerate() {
                    let (byte, shift) = (at * REGISTER_BITS / 8, at * REGISTER_BITS % 8);
                    let bits = u16::from(register) << shift;
                    body[byte] |= bits as u8;
                    if bits >> 8 != 0 {
                        body[byte + 1] |= (bits >> 8) as u8;
                    }
                }
                out.put_slice(&body);
            }
        }
        out.freeze()
    }

    /// Runs of equal registers; `None` when they are too many or a register is too large for them.
    fn runs(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for run in self.registers.chunk_by(|left, right| left == right) {
            let (value, mut left) = (run[0], run.len());
            if value > SPARSE_MOST || HEADER_LEN + out.len() > SPARSE_MAX_BYTES {
                return None;
            }
            match value {
                0 if left <= 64 => out.push((left - 1) as u8),
                0 => out.extend_from_slice(&[0x40 | ((left - 1) >> 8) as u8, (left - 1) as u8]),
                value => {
                    while left > 0 {
                        let len = left.min(4);
                        out.push(0x80 | (value - 1) << 2 | (len - 1) as u8);
                        left -= len;
                    }
                }
            }
        }
        (HEADER_LEN + out.len() <= SPARSE_MAX_BYTES).then_some(out)
    }

    /// Counts a thing; whether that changed anything.
    fn add(&mut self, thing: &[u8]) -> bool {
        let hash = murmur64(thing);
        let register = &mut self.registers[hash as usize % REGISTERS];
        let run = ((hash >> INDEX_BITS | 1 << RUN_BITS).trailing_zeros() + 1) as u8;
        let grows = run > *register;
        *register = (*register).max(run);
        grows
    }

    fn merge(&mut self, other: &Sketch) {
        self.dense |= other.dense;
        self.registers.iter_mut().zip(&other.registers).for_each(|(own, other)| *own = (*own).max(*other));
    }

    fn estimate(&self) -> u64 {
        let mut histogram = [0_u32; 64];
        self.registers.iter().for_each(|&register| histogram[usize::from(register)] += 1);
        let registers = REGISTERS as f64;
        let count = |value: usize| f64::from(histogram[value]);
        let longest = RUN_BITS as usize + 1;
        let mut z = registers * tau((registers - count(longest)) / registers);
        for value in (1..longest).rev() {
            z = (z + count(value)) * 0.5;
        }
        z += registers * sigma(count(0) / registers);
        const ALPHA_INFINITY: f64 = 0.721_347_520_444_481_7;
        (ALPHA_INFINITY * registers * registers / z).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// MurmurHash64A with the seed of Redis.
fn murmur64(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xC6A4_A793_5BD1_E995;
    const SEED: u64 = 0xADC8_3B19;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash = (hash ^ (word ^ word >> 47).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail: u64, &byte| tail << 8 | u64::from(byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(FACTOR);
    hash ^ hash >> 47
}

impl<V: View> Database<'_, V> {
    /// Runs a command on sketches.
    pub async fn on_hyperloglog(&mut self, command: HyperLogLogCommand, args: &[Bytes]) -> Reply {
        match command {
            HyperLogLogCommand::PfAdd => self.pfadd(&args[1], &args[2..]).await,
            HyperLogLogCommand::PfCount => Ok(Value::Integer(self.merged(&args[1..]).await?.estimate() as i64)),
            HyperLogLogCommand::PfMerge => self.pfmerge(&args[1], &args[1..]).await,
        }
    }

    async fn sketch(&mut self, key: &Bytes) -> Result<Option<(Sketch, Option<u64>)>, Fault> {
        let Some(StoredString { value, expire_at_ms }) = self.load_string(key).await? else { return Ok(None) };
        Ok(Some((Sketch::decode(&value)?, expire_at_ms)))
    }

    /// PFADD key thing…: whether the estimate may have changed, or the key is new
    async fn pfadd(&mut self, key: &Bytes, things: &[Bytes]) -> Reply {
        let found = self.sketch(key).await?;
        let mut changed = found.is_none();
        let (mut sketch, expire_at_ms) = found.unwrap_or_else(|| (Sketch::new(), None));
        things.iter().for_each(|thing| changed |= sketch.add(thing));
        if changed {
            self.store_string(key, sketch.encode(), expire_at_ms);
        }
        Ok(Value::Integer(i64::from(changed)))
    }

    async fn merged(&mut self, keys: &[Bytes]) -> Result<Sketch, Fault> {
        let mut merged = Sketch::new();
        for key in keys {
            if let Some((sketch, _)) = self.sketch(key).await? {
                merged.merge(&sketch);
            }
        }
        Ok(merged)
    }

    /// PFMERGE destination key…: what the destination has counted counts, too
    async fn pfmerge(&mut self, destination: &Bytes, keys: &[Bytes]) -> Reply {
        let merged = self.merged(keys).await?;
        let expire_at_ms = self.load(destination).await?.and_then(|meta| meta.expire_at_ms);
        self.store_string(destination, merged.encode(), expire_at_ms);
        Ok(Value::OK)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn estimates_are_within_the_bound() {
        let mut sketch = Sketch::new();
        for number in 1..=100_000_u64 {
            sketch.add(number.to_string().as_bytes());
            if [10, 100, 1_000, 10_000, 100_000].contains(&number) {
                let error = (sketch.estimate() as f64 - number as f64).abs() / number as f64;
                assert!(error < 0.03, "{number}: {error}");
                assert_eq!(Sketch::decode(&sketch.encode()).unwrap().registers, sketch.registers);
            }
        }
        assert_eq!(sketch.encode().len(), DENSE_LEN);
    }

    proptest! {
        #[test]
        fn sketches_round_trip(registers in prop::collection::vec((0..REGISTERS, 0..52_u8), 0..200), dense: bool) {
            let mut sketch = Sketch { dense, ..Sketch::new() };
            registers.into_iter().for_each(|(at, value)| sketch.registers[at] = value);
            let read = Sketch::decode(&sketch.encode()).unwrap();
            prop_assert_eq!(read.registers, sketch.registers);
        }

        #[test]
        fn junk_is_refused(body in prop::collection::vec(any::<u8>(), 0..300), form in 0..3_u8) {
            let junk = [MAGIC, &[form, 0, 0, 0], &[0; 8], &body].concat();
            let _ = Sketch::decode(&junk);
            let _ = Sketch::decode(&body);
        }
    }
}
