//! The `Storage.Serve` call itself: connecting, and writing batches without copying the requests.
//!
//! A request lives in an `Arc`, shared by the batch that is being encoded and by the link that waits for its answer.
//! The generated `RequestBatch` would own a copy of each, so batches are written by an encoder of their own: the
//! header as the generated message without requests, then each request as the field it is in the schema.

use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use prost::Message;
use proto::{Dialer, wire};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, EncodeBuf, Encoder, Streaming};
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_prost::ProstDecoder;

/// How long connecting may take, and then how long the node may take to accept the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// A node that answers no ping for this long is gone.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes in flight in either direction before the receiver must have read some.
const WINDOW_BYTES: u32 = 16 << 20;
/// Largest batch of replies. The largest single value is 32 MB; storage ends a batch behind a few megabytes.
pub(super) const MAX_REPLY_BYTES: usize = 80 << 20;
/// Largest batch of requests: the bounds of a batch, and one leg that does not fit any more.
pub(super) const MAX_REQUEST_BYTES: usize = 80 << 20;

/// One message of the stream.
#[derive(Debug)]
pub(super) struct OutgoingBatch {
    pub(super) incarnation: u64,
    pub(super) answered_below: u64,
    pub(super) seen_e: u64,
    /// Each with its ticket.
    pub(super) requests: Vec<(u64, Arc<wire::Request>)>,
}

/// A node, and how long it is waited for.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Status::invalid_argument(error.to_string()))?
        .connect_timeout(OPEN_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    Ok(endpoint)
}

/// Connects and opens the stream.
pub(super) async fn open(
    address: Arc<str>,
    dialer: &Dialer,
) -> Result<(mpsc::Sender<OutgoingBatch>, Streaming<wire::ReplyBatch>), Status> {
    let opening = async {
        let endpoint = endpoint(&address)?;
        let channel = dialer.connect(&endpoint).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut grpc = tonic::client::Grpc::new(channel)
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(MAX_REQUEST_BYTES);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        // One batch waits while one is written: what arrives meanwhile makes the next one larger.
        let (outgoing, batches) = mpsc::channel(1);
        let path = tonic::codegen::http::uri::PathAndQuery::from_static("/elastickv.Storage/Serve");
        let replies = grpc.streaming(Request::new(ReceiverStream::new(batches)), path, ServeCodec).await?.into_inner();
        Ok((outgoing, replies))
    };
    let timed_out = |_| Err(Status::deadline_exceeded("opening the stream took too long"));
    tokio::time::timeout(2 * OPEN_TIMEOUT, opening).await.unwrap_or_else(timed_out)
}

/// Encodes [`OutgoingBatch`] as `RequestBatch`, decodes `ReplyBatch`.
struct ServeCodec;

impl Codec for ServeCodec {
    type Encode = OutgoingBatch;
    type Decode = wire::ReplyBatch;
    type Encoder = BatchEncoder;
    type Decoder = ProstDecoder<wire::ReplyBatch>;

    fn encoder(&mut self) -> Self::Encoder {
        BatchEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

struct BatchEncoder;

impl Encoder for BatchEncoder {
    type Item = OutgoingBatch;
    type Error = Status;

    fn encode(&mut self, batch: OutgoingBatch, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        write_batch(&batch, out).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Field 4 of `RequestBatch`, length-delimited.
const REQUESTS_FIELD: u8 = (4 << 3) | 2;

fn write_batch(batch: &OutgoingBatch, out: &mut impl BufMut) -> Result<(), prost::EncodeError> {
    wire::RequestBatch {
        incarnation: batch.incarnation,
        answered_below: batch.answered_below,
        seen_e: batch.seen_e,
        requests: Vec::new(),
    }
    .encode(out)?;
    for (ticket, request) in &batch.requests {
        // Two encodings in a row are the encoding of both together: the ticket, then everything else.
        debug_assert_eq!(request.ticket, 0, "the ticket belongs to the stream, not to the request");
        let ticket = wire::Request { ticket: *ticket, ..Default::default() };
        out.put_u8(REQUESTS_FIELD);
        prost::encode_length_delimiter(ticket.encoded_len() + request.encoded_len(), out)?;
        ticket.encode(out)?;
        request.encode(out)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_batch_is_what_the_generated_message_would_write() {
        let request = |n: u64| wire::Request {
            ticket: 0,
            group_id: n,
            targets: vec![wire::Target { key: Bytes::from("unit"), epoch: n, ..Default::default() }],
            connection: 7,
            kind: Some(wire::request::Kind::Exec(wire::Exec { sequence: n << 40, ..Default::default() })),
        };
        let batch = OutgoingBatch {
            incarnation: 0xFEED,
            answered_below: 3,
            seen_e: 1 << 50,
            requests: (1..=3).map(|n| (n << 20, Arc::new(request(n)))).collect(),
        };
        let mut written = Vec::new();
        write_batch(&batch, &mut written).unwrap();
        let read = wire::RequestBatch::decode(written.as_slice()).unwrap();
        let requests = (1..=3).map(|n| wire::Request { ticket: n << 20, ..request(n) }).collect();
        let expected = wire::RequestBatch { incarnation: 0xFEED, answered_below: 3, seen_e: 1 << 50, requests };
        assert_eq!(read, expected);
    }
}
