//! A gRPC client that has no `.proto` files: it asks the server what it serves.
//!
//! This is how grpcurl works, and what proves that server reflection is complete: descriptors of the wanted service and
//! of everything it imports are fetched over `grpc.reflection.v1`, requests are made from JSON, answers become JSON.
//! [`Reflecting::call_bytes`] sends a body as it is, for messages that no client library would produce.
//!
//! Unary methods only.

use std::collections::HashSet;

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{FileDescriptorResponse, ServerReflectionRequest};

/// Why a call did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ReflectError {
    /// The server cannot be reached.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// As given.
        address: String,
        /// What the transport says.
        source: tonic::transport::Error,
    },
    /// The server answered with a status.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// The server's descriptors, or the request, do not fit together.
    #[error("{0}")]
    Descriptor(String),
}

impl ReflectError {
    /// The status code when the server gave one.
    pub fn code(&self) -> Option<Code> {
        match self {
            ReflectError::Status(status) => Some(status.code()),
            ReflectError::Connect { .. } | ReflectError::Descriptor(_) => None,
        }
    }
}

impl From<Status> for ReflectError {
    fn from(status: Status) -> Self {
        ReflectError::Status(Box::new(status))
    }
}

/// A connection to a server with reflection.
#[derive(Debug, Clone)]
pub struct Reflecting {
    channel: Channel,
}

impl Reflecting {
    /// Connects to `host:port`, without TLS.
    pub async fn connect(address: &str) -> Result<Self, ReflectError> {
        let fail = |source| ReflectError::Connect { address: address.to_owned(), source };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(fail)?;
        Ok(Self { channel: endpoint.connect().await.map_err(fail)? })
    }

    /// Full names of the services that the server lists.
    pub async fn services(&self) -> Result<Vec<String>, ReflectError> {
        match self.ask(MessageRequest::ListServices(String::new())).await? {
            MessageResponse::ListServicesResponse(list) => {
                Ok(list.service.into_iter().map(|service| service.name).collect())
            }
            other => Err(ReflectError::Descriptor(format!("not a list of services: {other:?}"))),
        }
    }

    /// Calls `package.Service/Method` with a request in JSON and gives the answer in JSON.
    pub async fn call(&self, method: &str, request: &serde_json::Value) -> Result<serde_json::Value, ReflectError> {
        let descriptor = self.method(method).await?;
        let request = DynamicMessage::deserialize(descriptor.input(), request)
            .map_err(|error| ReflectError::Descriptor(format!("the request does not fit {method}: {error}")))?;
        let answer = self.call_bytes(method, request.encode_to_vec().into()).await?;
        let answer = DynamicMessage::decode(descriptor.output(), answer)
            .map_err(|error| ReflectError::Descriptor(format!("the answer of {method} does not decode: {error}")))?;
        serde_json::to_value(&answer).map_err(|error| ReflectError::Descriptor(error.to_string()))
    }

    /// Calls a method with a message body as given, and gives the body of the answer.
    pub async fn call_bytes(&self, method: &str, body: Bytes) -> Result<Bytes, ReflectError> {
        let path = format!("/{method}")
            .parse()
            .map_err(|_| ReflectError::Descriptor(format!("not a method name: {method:?}")))?;
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(client.unary(Request::new(body), path, Opaque).await?.into_inner())
    }

    async fn method(&self, method: &str) -> Result<MethodDescriptor, ReflectError> {
        let (service, name) = method
            .split_once('/')
            .ok_or_else(|| ReflectError::Descriptor(format!("a method is package.Service/Method, not {method:?}")))?;
        let pool = self.descriptors(service).await?;
        let service = pool
            .get_service_by_name(service)
            .ok_or_else(|| ReflectError::Descriptor(format!("the server's descriptors lack {service}")))?;
        let found = service.methods().find(|candidate| candidate.name() == name);
        found.ok_or_else(|| ReflectError::Descriptor(format!("{} has no method {name}", service.full_name())))
    }

    /// The file that holds `symbol`, and everything it imports.
    async fn descriptors(&self, symbol: &str) -> Result<DescriptorPool, ReflectError> {
        let mut files = Vec::new();
        let mut known = HashSet::new();
        let mut wanted = vec![MessageRequest::FileContainingSymbol(symbol.to_owned())];
        while let Some(request) = wanted.pop() {
            let MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }) =
                self.ask(request).await?
            else {
                return Err(ReflectError::Descriptor(format!("no descriptors for {symbol}")));
            };
            for bytes in file_descriptor_proto {
                let file = FileDescriptorProto::decode(bytes.as_slice())
                    .map_err(|error| ReflectError::Descriptor(format!("a descriptor does not decode: {error}")))?;
                if known.insert(file.name().to_owned()) {
                    wanted.extend(file.dependency.iter().cloned().map(MessageRequest::FileByFilename));
                    files.push(file);
                }
            }
            wanted.retain(|request| match request {
                MessageRequest::FileByFilename(name) => !known.contains(name),
                _ => true,
            });
        }
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files).map_err(|error| ReflectError::Descriptor(error.to_string()))?;
        Ok(pool)
    }

    async fn ask(&self, request: MessageRequest) -> Result<MessageResponse, ReflectError> {
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
        let answer = answers.message().await?.and_then(|answer| answer.message_response);
        match answer {
            Some(MessageResponse::ErrorResponse(error)) => Err(ReflectError::Descriptor(error.error_message)),
            Some(answer) => Ok(answer),
            None => Err(ReflectError::Descriptor("reflection ended without an answer".to_owned())),
        }
    }
}

/// Bodies as bytes, in both directions.
#[derive(Debug, Clone, Copy, Default)]
struct Opaque;

impl Codec for Opaque {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Opaque;
    type Decoder = Opaque;

    fn encoder(&mut self) -> Opaque {
        Opaque
    }

    fn decoder(&mut self) -> Opaque {
        Opaque
    }
}

impl Encoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
