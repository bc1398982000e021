//! TransactionalKV: several keys of RawKV at one instant, or none of them.
//!
//! Optimistic: a program reads at a timestamp, and what it has read and will write is compared at the commit. `PreWrite`
//! looks up the version that each key had at the timestamp; `Commit` hands the writes and these versions to
//! [`Transactions`], which finds out whether all of them still hold at the instant of the commit, whichever groups
//! they live in. So a committed transaction is strictly serializable, and a conflict has no effect.
//!
//! A prewritten transaction lives in this gateway alone, under its timestamp, until it is committed, rolled back, or its
//! time is over; it holds no locks. A gateway that stops forgets it, which is a rollback.
//!
//! What is absent: keys that appear in a scanned interval are not noticed, only keys that are named are.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::{Command, raw};
use keyspace::{Version, layout};
use parking_lot::Mutex;
use proto::wire::raw_kv_server::RawKv;
use proto::wire::transactional_kv_server::TransactionalKv;
use proto::wire::{
    CommitRequest, CommitResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse, KeyError, Kv,
    PreCommitResponse, PreWriteRequest, PutRequest, PutResponse, RawDeleteRequest, RawPutRequest, RawScanAtRequest,
    RollbackRequest, RollbackResponse, ScanRequest, ScanResponse,
};
use tonic::{Request, Response, Status};

use super::MAX_VALUE_BYTES;
use super::raw::{Raw, check_key, visible_at};
use super::refusal::{invalid, status};
use crate::router::Router;
use crate::txn::{Part, Transactions, TxnError, Work};

/// Prewritten transactions that a gateway keeps.
const MAX_PENDING: usize = 10_000;
/// Keys and values of all of them, in bytes.
const MAX_PENDING_BYTES: usize = 256 << 20;
/// A prewritten transaction is forgotten after this.
const MAX_TTL: Duration = Duration::from_secs(60);

pub(super) struct Transactional {
    raw: Raw,
    transactions: Transactions,
    pending: Mutex<HashMap<u64, Pending>>,
}

/// What is prewritten under one timestamp.
struct Pending {
    /// `None` removes the key.
    writes: BTreeMap<Bytes, Option<Bytes>>,
    /// Versions of all named keys at the timestamp.
    observed: BTreeMap<Bytes, Option<Version>>,
    bytes: usize,
    until: Instant,
}

impl Transactional {
    pub(super) fn new(raw: Raw, router: Router) -> Self {
        Self { raw, transactions: Transactions::new(router), pending: Mutex::default() }
    }

    /// Keeps what is prewritten; more under the same timestamp is added to it.
    fn keep(&self, start_ts: u64, new: Pending) -> Result<(), Status> {
        let mut pending = self.pending.lock();
        let now = Instant::now();
        pending.retain(|_, kept| kept.until > now);
        let held: usize = pending.values().map(|kept| kept.bytes).sum();
        if pending.len() >= MAX_PENDING || held + new.bytes > MAX_PENDING_BYTES {
            return Err(status(crate::router::RouterError::Overloaded));
        }
        match pending.get_mut(&start_ts) {
            Some(kept) => {
                kept.writes.extend(new.writes);
                kept.observed.extend(new.observed);
                kept.bytes += new.bytes;
                kept.until = kept.until.max(new.until);
            }
            None => drop(pending.insert(start_ts, new)),
        }
        Ok(())
    }

    fn take(&self, start_ts: u64) -> Option<Pending> {
        self.pending.lock().remove(&start_ts).filter(|kept| kept.until > Instant::now())
    }
}

fn changed(key: &Bytes) -> KeyError {
    let key = String::from_utf8_lossy(key).into_owned();
    KeyError { message: format!("key {key:?} has changed since the timestamp"), retryable: true }
}

fn refused(message: impl Into<String>) -> CommitResponse {
    let error = KeyError { message: message.into(), retryable: false };
    CommitResponse { commit_index: 0, success: false, errors: vec![error] }
}

fn unit(key: &Bytes) -> Bytes {
    layout::raw(key).into()
}

#[tonic::async_trait]
impl TransactionalKv for Transactional {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let PutRequest { key, value } = request.into_inner();
        let done = self.raw.raw_put(Request::new(RawPutRequest { key, value })).await?.into_inner();
        Ok(Response::new(PutResponse { commit_index: done.commit_index, success: done.success }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let found = self.raw.get(request.into_inner().key, 0).await?;
        let (value, read_at_index) = found.map_or((Bytes::new(), 0), |(value, version)| (value, visible_at(version)));
        Ok(Response::new(GetResponse { read_at_index, value }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let DeleteRequest { key } = request.into_inner();
        let done = self.raw.raw_delete(Request::new(RawDeleteRequest { key })).await?.into_inner();
        Ok(Response::new(DeleteResponse { commit_index: done.commit_index, success: done.success }))
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<ScanResponse>, Status> {
        let ScanRequest { start_key, end_key, limit } = request.into_inner();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let scan = RawScanAtRequest { start_key, end_key, limit, ts: 0, reverse: false };
        let found = self.raw.raw_scan_at(Request::new(scan)).await?.into_inner();
        let kv = found.kv.into_iter().map(|pair| Kv { error: None, key: pair.key, value: pair.value }).collect();
        Ok(Response::new(ScanResponse { kv }))
    }

    async fn pre_write(&self, request: Request<PreWriteRequest>) -> Result<Response<PreCommitResponse>, Status> {
        let PreWriteRequest { mutations, start_ts, lock_ttl, deletes, reads } = request.into_inner();
        if start_ts == 0 {
            return Err(invalid("start_ts must be a timestamp of Distribution.GetTimestamp"));
        }
        let mut writes: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        for Kv { key, value, .. } in mutations {
            if value.len() > MAX_VALUE_BYTES {
                return Err(invalid(format!("the value is longer than {MAX_VALUE_BYTES} bytes")));
            }
            writes.insert(key, Some(value));
        }
        writes.extend(deletes.into_iter().map(|key| (key, None)));
        let keys: Vec<Bytes> = writes.keys().cloned().chain(reads).collect();
        keys.iter().try_for_each(check_key)?;
        let mut observed = BTreeMap::new();
        for key in &keys {
            let version = self.raw.get(key.clone(), start_ts).await?.map(|(_, version)| version);
            observed.insert(key.clone(), version);
        }
        // A conflict that is there already need not wait for the commit.
        let now = self.transactions.observe(0, keys.iter().map(unit).collect()).await.map_err(failed)?;
        let errors: Vec<_> =
            keys.iter().zip(now).filter(|(key, now)| observed[*key] != *now).map(|(key, _)| changed(key)).collect();
        if errors.is_empty() {
            let value = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
            let bytes = keys.iter().map(Bytes::len).sum::<usize>() + writes.values().map(value).sum::<usize>();
            let ttl = if lock_ttl == 0 { MAX_TTL } else { Duration::from_millis(lock_ttl).min(MAX_TTL) };
            self.keep(start_ts, Pending { writes, observed, bytes, until: Instant::now() + ttl })?;
        }
        Ok(Response::new(PreCommitResponse { errors }))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        let CommitRequest { start_ts, keys } = request.into_inner();
        let Some(Pending { writes, observed, .. }) = self.take(start_ts) else {
            return Ok(Response::new(refused("nothing is prewritten here under this timestamp, or its time was over")));
        };
        let named: std::collections::BTreeSet<_> = keys.iter().collect();
        if !named.is_empty() && !named.iter().copied().eq(writes.keys()) {
            return Ok(Response::new(refused("the keys are not those that were prewritten; it is rolled back")));
        }
        let part = |(key, value): (Bytes, Option<Bytes>)| {
            let units = vec![unit(&key)];
            let operation = match value {
                Some(value) => raw::Operation::Put { key, value },
                None => raw::Operation::Delete { key },
            };
            Part { command: Command::Raw(operation), units }
        };
        let only_read = observed.keys().filter(|key| !writes.contains_key(*key));
        let reads: Vec<Part> = only_read
            .map(|key| Part { command: Command::Raw(raw::Operation::Get { key: key.clone() }), units: vec![unit(key)] })
            .collect();
        let parts = reads.into_iter().chain(writes.into_iter().map(part)).collect();
        let observed = observed.iter().map(|(key, version)| (unit(key), *version)).collect();
        match self.transactions.run(0, Work::new(parts, observed)).await {
            Ok(_) => {
                // It is committed, whether or not the placement can say a time for it.
                let commit_index = self.raw.timestamp().await.unwrap_or_default();
                Ok(Response::new(CommitResponse { commit_index, success: true, errors: Vec::new() }))
            }
            Err(TxnError::Conflict) => {
                let message = "a key has changed since the timestamp".to_owned();
                let errors = vec![KeyError { message, retryable: true }];
                Ok(Response::new(CommitResponse { commit_index: 0, success: false, errors }))
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<RollbackResponse>, Status> {
        // Nothing to take back is as good.
        self.pending.lock().remove(&request.into_inner().start_ts);
        Ok(Response::new(RollbackResponse { success: true }))
    }
}

fn failed(error: TxnError) -> Status {
    match error {
        TxnError::Conflict => status(crate::router::RouterError::Conflict),
        TxnError::TooManyKeys { .. } | TxnError::TooLarge { .. } | TxnError::DatabaseTooLarge | TxnError::Mixed => {
            invalid(error.to_string())
        }
        TxnError::Router(error) => status(error),
    }
}
