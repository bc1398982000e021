//! One HTTP exchange: from a request's head and body to a reply that SDKs can check.
//!
//! Everything a stranger may send is bounded here before anything is done with it: the head, the body, all bodies
//! together, the time a body takes, and the requests in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use metrics::{counter, histogram};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::catalog::Catalog;
use super::fault::{Exception, Fault};
use super::operations::{OperationName, run};
use super::serve::Limits;
use super::store::Store;

/// Most bytes of names and values of headers.
pub(super) const MAX_HEADER_BYTES: usize = 16 << 10;
/// Most bytes of the request's path and query.
const MAX_TARGET_BYTES: usize = 8 << 10;

/// What is read and thrown away of a body that was refused. A client that writes all before it reads anything finds
/// the refusal, where a closed connection would be a reset to it.
const DISCARD_BYTES: usize = 32 << 20;
const DISCARD_FOR: Duration = Duration::from_secs(5);

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
const TARGET: &str = "x-amz-target";
const REQUEST_ID: &str = "x-amzn-requestid";
const CHECKSUM: &str = "x-amz-crc32";

/// Answers the requests of all connections.
pub(super) struct Exchange<S> {
    store: S,
    catalog: Catalog,
    limits: Limits,
    /// Slots of requests that are being executed.
    slots: Semaphore,
    /// Bytes of bodies that may still be taken in.
    body_bytes: Semaphore,
}

/// A body and its share of the memory for bodies.
struct Received<'a> {
    body: Bytes,
    /// Given back when the request has been answered: until then its content lives on as items and records.
    _bytes: Option<SemaphorePermit<'a>>,
}

impl<S: Store> Exchange<S> {
    pub(super) fn new(store: S, limits: Limits) -> Arc<Self> {
        let slots = Semaphore::new(limits.max_requests);
        let body_bytes = Semaphore::new(limits.max_bodies_bytes);
        Arc::new(Self { store, catalog: Catalog::new(), limits, slots, body_bytes })
    }

    /// Answers one request, whatever it is.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let http1 = request.version() < Version::HTTP_2;
        let (head, body) = request.into_parts();
        if let Err(fault) = check_head(head.uri.path_and_query().map_or(0, |path| path.as_str().len()), &head.headers) {
            return refuse_unread(&fault, http1);
        }
        if head.uri.path() != "/" {
            return plain(StatusCode::NOT_FOUND, "There is one path: /\n");
        }
        match head.method {
            Method::POST => {}
            // What AWS answers here; people look whether anybody is there.
            Method::GET => return plain(StatusCode::OK, "healthy: elastickv\n"),
            _ => return plain(StatusCode::METHOD_NOT_ALLOWED, "Requests are POSTed.\n"),
        }

        let received = match self.receive(&head.headers, body).await {
            Ok(received) => received,
            Err(fault) => return refuse_unread(&fault, http1),
        };
        let operation = operation(&head.headers);
        let label = operation.as_ref().map_or("unknown", |operation| operation.name());
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| head.uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
        let outcome = match operation {
            Ok(operation) => self.execute(operation, &received.body, host).await,
            Err(fault) => Err(fault),
        };

        histogram!("gateway_dynamodb_request_seconds", "operation" => label).record(started.elapsed().as_secs_f64());
        let result = match &outcome {
            Ok(_) => "ok",
            Err(fault) if fault.exception.status().is_server_error() => "failed",
            Err(fault) if fault.exception == Exception::Throttling => "throttled",
            Err(_) => "refused",
        };
        counter!("gateway_dynamodb_requests_total", "operation" => label, "result" => result).increment(1);
        match outcome {
            Ok(body) => reply(StatusCode::OK, body),
            Err(fault) => reply(fault.exception.status(), fault.body()),
        }
    }

    async fn execute(&self, operation: OperationName, body: &[u8], host: &str) -> Result<String, Fault> {
        let Ok(_slot) = self.slots.try_acquire() else {
            return Err(Fault::throttled("Too many requests are in flight; slow down and retry."));
        };
        run(&self.store, &self.catalog, operation, body, host).await
    }

    /// Takes the body in. What is left of a refused one is thrown away in the background.
    async fn receive(&self, headers: &HeaderMap, mut body: Incoming) -> Result<Received<'_>, Fault> {
        let received = tokio::time::timeout(self.limits.body_timeout, self.collect(headers, &mut body)).await;
        let fault = match received {
            Ok(Ok(received)) => return Ok(received),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::new(Exception::RequestTimeout, "The body of the request did not arrive in time."),
        };
        tokio::spawn(async move { tokio::time::timeout(DISCARD_FOR, discard(body)).await });
        Err(fault)
    }

    async fn collect(&self, headers: &HeaderMap, body: &mut Incoming) -> Result<Received<'_>, Fault> {
        let limit = self.limits.max_body_bytes;
        let too_large = || Fault::new(Exception::RequestTooLarge, format!("Request size exceeded {limit} bytes"));
        if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Fault::unsupported("A compressed body"));
        }
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut taken = BytesMut::new();
        let mut permit: Option<SemaphorePermit<'_>> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Fault::serialization("The body of the request ended early"))?;
            let Ok(data) = frame.into_data() else { continue };
            if taken.len() + data.len() > limit {
                return Err(too_large());
            }
            let count = u32::try_from(data.len()).expect("a body is shorter than its limit");
            let Ok(more) = self.body_bytes.try_acquire_many(count) else {
                return Err(Fault::throttled("Too many bytes are in flight; slow down and retry."));
            };
            match &mut permit {
                Some(permit) => permit.merge(more),
                None => permit = Some(more),
            }
            taken.extend_from_slice(&data);
        }
        Ok(Received { body: taken.freeze(), _bytes: permit })
    }
}

/// Which operation the headers ask for.
fn operation(headers: &HeaderMap) -> Result<OperationName, Fault> {
    // Browsers cannot send these types to a foreign origin without asking first.
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if ![CONTENT_TYPE, "application/json"].iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        let message = format!("The content type must be {CONTENT_TYPE}");
        return Err(Fault::new(Exception::UnknownOperation, message));
    }
    OperationName::from_target(headers.get(TARGET).and_then(|target| target.to_str().ok()))
}

fn check_head(target_bytes: usize, headers: &HeaderMap) -> Result<(), Fault> {
    let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if header_bytes > MAX_HEADER_BYTES {
        return Err(Fault::validation(format!("Request headers exceeded {MAX_HEADER_BYTES} bytes")));
    }
    if target_bytes > MAX_TARGET_BYTES {
        return Err(Fault::validation(format!("The request line exceeded {MAX_TARGET_BYTES} bytes")));
    }
    Ok(())
}

/// Reads on, up to a bound, without keeping anything.
async fn discard(mut body: Incoming) {
    let mut left = DISCARD_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else { return };
        left = rest;
    }
}

fn reply(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let checksum = crc32fast::hash(body.as_bytes());
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(CHECKSUM, HeaderValue::from(checksum));
    headers.insert(REQUEST_ID, request_id());
    response
}

/// A refusal of a request whose body has not been read: an HTTP/1 connection cannot be used any further.
fn refuse_unread(fault: &Fault, http1: bool) -> Response<Full<Bytes>> {
    counter!("gateway_dynamodb_requests_total", "operation" => "unknown", "result" => "refused").increment(1);
    let mut response = reply(fault.exception.status(), fault.body());
    if http1 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(REQUEST_ID, request_id());
    response
}

/// For people who look for one request in logs on both sides.
fn request_id() -> HeaderValue {
    let id = Uuid::new_v4().simple().to_string().to_uppercase();
    HeaderValue::try_from(id).expect("hexadecimal digits are a header value")
}
