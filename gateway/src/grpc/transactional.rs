//! TransactionalKV: not in this version. Every method says so.

use proto::wire::transactional_kv_server::TransactionalKv;
use proto::wire::{
    CommitRequest, CommitResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse, PreCommitResponse,
    PreWriteRequest, PutRequest, PutResponse, RollbackRequest, RollbackResponse, ScanRequest, ScanResponse,
};
use proto::{Fault, FaultCode};
use tonic::{Request, Response, Status};

pub(super) struct Transactional;

fn unsupported() -> Status {
    Fault::new(FaultCode::Unsupported, "transactions are not supported by this version yet; RawKV has single keys")
        .into()
}

#[tonic::async_trait]
impl TransactionalKv for Transactional {
    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Err(unsupported())
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Err(unsupported())
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        Err(unsupported())
    }

    async fn scan(&self, _: Request<ScanRequest>) -> Result<Response<ScanResponse>, Status> {
        Err(unsupported())
    }

    async fn pre_write(&self, _: Request<PreWriteRequest>) -> Result<Response<PreCommitResponse>, Status> {
        Err(unsupported())
    }

    async fn commit(&self, _: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        Err(unsupported())
    }

    async fn rollback(&self, _: Request<RollbackRequest>) -> Result<Response<RollbackResponse>, Status> {
        Err(unsupported())
    }
}
