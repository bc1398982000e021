//! RawKV: single keys, linearizable, and scans that see one snapshot.
//!
//! A scan of one range at "now" is one linearizable read. Every other scan reads at a timestamp R of the oracle, range
//! after range: what it shows is what held at R, whatever is written meanwhile. So single keys need no placement;
//! larger scans do.

use std::sync::Arc;

use bytes::Bytes;
use commands::{Command, Order, Outcome, raw};
use keyspace::{KeyRange, Version, layout};
use proto::wire::raw_kv_server::RawKv;
use proto::wire::{
    RawDeleteRequest, RawDeleteResponse, RawGetRequest, RawGetResponse, RawKvPair, RawLatestCommitTsRequest,
    RawLatestCommitTsResponse, RawPutRequest, RawPutResponse, RawScanAtRequest, RawScanAtResponse,
};
use tonic::{Request, Response, Status};

use super::oracle::Oracle;
use super::refusal::{invalid, status, unexpected_result};
use super::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::router::{Prepared, Reason, Router, RouterError};

/// Most pairs of one scan.
const MAX_SCAN_LIMIT: usize = 10_000;
/// Most bytes of keys and values in one scan's answer.
const MAX_SCAN_BYTES: usize = 36 << 20;

pub(super) struct Raw {
    router: Router,
    oracle: Arc<Oracle>,
}

impl Raw {
    pub(super) fn new(router: Router, oracle: Arc<Oracle>) -> Self {
        Self { router, oracle }
    }

    /// One operation on one key.
    async fn run(&self, operation: raw::Operation, key: &Bytes, at: u64) -> Result<raw::Outcome, Status> {
        let unit = Bytes::from(layout::raw(key));
        let request = Prepared::one(Command::Raw(operation), vec![unit]).at(at);
        self.answer(request).await.map_err(status)?
    }

    /// The outer error is the router's, so that a scan can divide its range anew.
    async fn answer(&self, request: Prepared) -> Result<Result<raw::Outcome, Status>, RouterError> {
        let mut outcomes = self.router.call_prepared(request).await?;
        Ok(match outcomes.pop() {
            Some(Outcome::Raw(outcome)) => Ok(outcome),
            _ => Err(unexpected_result()),
        })
    }

    /// The newest value, or the one at a timestamp.
    pub(super) async fn get(&self, key: Bytes, at: u64) -> Result<Option<(Bytes, Version)>, Status> {
        check_key(&key)?;
        if at != 0 {
            self.oracle.check(at).await?;
        }
        match self.run(raw::Operation::Get { key: key.clone() }, &key, at).await? {
            raw::Outcome::Found { value, version } => Ok(Some((value, version))),
            raw::Outcome::Missing => Ok(None),
            _ => Err(unexpected_result()),
        }
    }

    async fn write(&self, operation: raw::Operation, key: &Bytes) -> Result<u64, Status> {
        match self.run(operation, key, 0).await? {
            raw::Outcome::Written(version) => Ok(visible_at(version)),
            _ => Err(unexpected_result()),
        }
    }

    /// One step of a scan: pairs of one part of one range, and what of the part is left.
    async fn scan_part(&self, part: &KeyRange, scan: &Scan, limit: usize, at: u64) -> Result<Part, RouterError> {
        let operation = raw::Operation::Scan { range: part.clone(), order: scan.order, limit };
        let request = Prepared::many(vec![Command::Raw(operation)], Vec::new(), vec![part.clone()]).at(at);
        Ok(match self.answer(request).await? {
            Ok(raw::Outcome::Pairs { pairs, truncated }) => {
                let last = pairs.last().filter(|_| truncated).map(|(key, _)| layout::raw(key));
                let rest = last.and_then(|last| scan.behind(part, last));
                Part::Pairs(pairs, rest)
            }
            Ok(_) => Part::Failed(unexpected_result()),
            Err(failed) => Part::Failed(failed),
        })
    }

    /// A timestamp at which everything shows that was committed through this gateway before the call.
    pub(super) async fn timestamp(&self) -> Result<u64, Status> {
        self.oracle.now().await
    }

    /// The parts of `range` that single ranges hold, in scan order.
    fn parts(&self, range: &KeyRange, order: Order) -> Vec<KeyRange> {
        let mut parts = self.router.parts_of(range);
        // Taken from the back: the next part stands last.
        if order == Order::Ascending {
            parts.reverse();
        }
        parts
    }

    /// All of one snapshot, part after part.
    async fn scan_at(&self, scan: &Scan, at: u64) -> Result<Vec<(Bytes, Bytes)>, Status> {
        let mut waiting = self.parts(&scan.range, scan.order);
        let mut found = Vec::new();
        let mut bytes = 0;
        while let Some(part) = waiting.pop() {
            match self.scan_part(&part, scan, scan.limit - found.len(), at).await {
                Ok(Part::Pairs(pairs, rest)) => {
                    bytes += pairs.iter().map(|(key, value)| key.len() + value.len() + 16).sum::<usize>();
                    if bytes > MAX_SCAN_BYTES {
                        return Err(invalid(format!(
                            "the pairs take more than {} MB; ask for fewer",
                            MAX_SCAN_BYTES >> 20
                        )));
                    }
                    found.extend(pairs);
                    if found.len() >= scan.limit {
                        break;
                    }
                    waiting.extend(rest);
                }
                Ok(Part::Failed(failed)) => return Err(failed),
                // The range was divided over groups in the meantime.
                Err(RouterError::CrossGroup) => waiting.extend(self.parts(&part, scan.order)),
                Err(error) => return Err(status(error)),
            }
        }
        Ok(found)
    }

    async fn scan(&self, scan: Scan, timestamp: u64) -> Result<Vec<(Bytes, Bytes)>, Status> {
        if !self.router.is_ready() {
            // Without routes there are no ranges to ask, which is not the same as no keys.
            return Err(status(RouterError::Unavailable(Reason::NoRoute)));
        }
        if timestamp != 0 {
            self.oracle.check(timestamp).await?;
            return self.scan_at(&scan, timestamp).await;
        }
        if let [part] = self.parts(&scan.range, scan.order).as_slice() {
            match self.scan_part(part, &scan, scan.limit, 0).await {
                Ok(Part::Pairs(pairs, None)) => return Ok(pairs),
                // More than one answer holds, or more than one group: that takes a snapshot.
                Ok(Part::Pairs(_, Some(_))) | Err(RouterError::CrossGroup) => {}
                Ok(Part::Failed(failed)) => return Err(failed),
                Err(error) => return Err(status(error)),
            }
        }
        let now = self.oracle.now().await?;
        self.scan_at(&scan, now).await
    }
}

/// What a scan asks for.
struct Scan {
    range: KeyRange,
    order: Order,
    limit: usize,
}

impl Scan {
    /// What of `part` is left behind the record at `last`.
    fn behind(&self, part: &KeyRange, last: Vec<u8>) -> Option<KeyRange> {
        match self.order {
            Order::Ascending => KeyRange::new([last.as_slice(), &[0]].concat(), part.end().cloned()),
            Order::Descending => KeyRange::new(part.start().clone(), Some(last.into())),
        }
    }
}

/// What one step of a scan brought.
enum Part {
    Pairs(Vec<(Bytes, Bytes)>, Option<KeyRange>),
    Failed(Status),
}

/// The smallest timestamp at which a version is seen.
pub(super) fn visible_at(version: Version) -> u64 {
    version.e.saturating_add(1)
}

pub(super) fn check_key(key: &Bytes) -> Result<(), Status> {
    if key.len() > MAX_KEY_BYTES {
        return Err(invalid(format!("the key is longer than {MAX_KEY_BYTES} bytes")));
    }
    Ok(())
}

/// `None` for an interval without keys.
fn scan_of(request: RawScanAtRequest) -> Result<Option<Scan>, Status> {
    check_key(&request.start_key)?;
    check_key(&request.end_key)?;
    let limit = usize::try_from(request.limit).ok().filter(|limit| (1..=MAX_SCAN_LIMIT).contains(limit));
    let limit = limit.ok_or_else(|| invalid(format!("limit must be 1 to {MAX_SCAN_LIMIT}")))?;
    let all = KeyRange::prefix(vec![layout::RAW]);
    let start = if request.start_key.is_empty() { all.start().clone() } else { layout::raw(&request.start_key).into() };
    let end = if request.end_key.is_empty() { all.end().cloned() } else { Some(layout::raw(&request.end_key).into()) };
    let order = if request.reverse { Order::Descending } else { Order::Ascending };
    Ok(KeyRange::new(start, end).map(|range| Scan { range, order, limit }))
}

#[tonic::async_trait]
impl RawKv for Raw {
    async fn raw_put(&self, request: Request<RawPutRequest>) -> Result<Response<RawPutResponse>, Status> {
        let RawPutRequest { key, value } = request.into_inner();
        check_key(&key)?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(invalid(format!("the value is longer than {MAX_VALUE_BYTES} bytes")));
        }
        let commit_index = self.write(raw::Operation::Put { key: key.clone(), value }, &key).await?;
        Ok(Response::new(RawPutResponse { commit_index, success: true }))
    }

    async fn raw_get(&self, request: Request<RawGetRequest>) -> Result<Response<RawGetResponse>, Status> {
        let RawGetRequest { key, ts } = request.into_inner();
        let found = self.get(key, ts).await?;
        let read_at = |version| if ts == 0 { visible_at(version) } else { ts };
        Ok(Response::new(match found {
            Some((value, version)) => RawGetResponse { read_at_index: read_at(version), value, exists: true },
            None => RawGetResponse { read_at_index: ts, value: Bytes::new(), exists: false },
        }))
    }

    async fn raw_delete(&self, request: Request<RawDeleteRequest>) -> Result<Response<RawDeleteResponse>, Status> {
        let RawDeleteRequest { key } = request.into_inner();
        check_key(&key)?;
        let commit_index = self.write(raw::Operation::Delete { key: key.clone() }, &key).await?;
        Ok(Response::new(RawDeleteResponse { commit_index, success: true }))
    }

    async fn raw_latest_commit_ts(
        &self,
        request: Request<RawLatestCommitTsRequest>,
    ) -> Result<Response<RawLatestCommitTsResponse>, Status> {
        let found = self.get(request.into_inner().key, 0).await?;
        Ok(Response::new(match found {
            Some((_, version)) => RawLatestCommitTsResponse { ts: visible_at(version), exists: true },
            None => RawLatestCommitTsResponse { ts: 0, exists: false },
        }))
    }

    async fn raw_scan_at(&self, request: Request<RawScanAtRequest>) -> Result<Response<RawScanAtResponse>, Status> {
        let request = request.into_inner();
        let timestamp = request.ts;
        let pairs = match scan_of(request)? {
            Some(scan) => self.scan(scan, timestamp).await?,
            None => Vec::new(),
        };
        let kv = pairs.into_iter().map(|(key, value)| RawKvPair { key, value }).collect();
        Ok(Response::new(RawScanAtResponse { kv }))
    }
}
