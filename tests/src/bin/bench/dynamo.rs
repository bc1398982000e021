//! DynamoDB's PutItem and GetItem over HTTP, as the AWS SDKs send them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::Rng;
use serde_json::{Value, json};

use crate::drive::{Figure, drive};

const TABLE: &str = "bench";

/// A driver of one gateway. Each client keeps one connection.
#[derive(Clone)]
pub struct Dynamo {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    keys: u32,
    value: String,
}

impl Dynamo {
    /// Creates the table.
    pub async fn prepare(address: SocketAddr, keys: u32, value_bytes: usize) -> Result<Self, String> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let driver = Self { client, address, keys, value: "x".repeat(value_bytes) };
        let table = json!({
            "TableName": TABLE,
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        });
        driver.call("CreateTable", &table).await?;
        Ok(driver)
    }

    /// Puts of random items.
    pub async fn put(&self, clients: usize, duration: Duration) -> Result<Figure, String> {
        self.run(
            clients,
            duration,
            "PutItem",
            |driver| json!({"TableName": TABLE, "Item": {"id": {"S": driver.key()}, "value": {"S": driver.value}}}),
        )
        .await
    }

    /// Strongly consistent reads of random items.
    pub async fn get(&self, clients: usize, duration: Duration) -> Result<Figure, String> {
        self.run(
            clients,
            duration,
            "GetItem",
            |driver| json!({"TableName": TABLE, "Key": {"id": {"S": driver.key()}}, "ConsistentRead": true}),
        )
        .await
    }

    async fn run(
        &self,
        clients: usize,
        duration: Duration,
        operation: &'static str,
        body: fn(&Dynamo) -> Value,
    ) -> Result<Figure, String> {
        drive(clients, duration, |_| {
            let driver = self.clone();
            move |_| {
                let (driver, body) = (driver.clone(), body(&driver));
                async move { driver.call(operation, &body).await }
            }
        })
        .await
    }

    fn key(&self) -> String {
        format!("item:{:012}", rand::rng().random_range(0..self.keys))
    }

    async fn call(&self, operation: &str, body: &Value) -> Result<(), String> {
        let request = Request::post(format!("http://{}/", self.address))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("authorization", "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| format!("{operation}: {error}"))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| format!("{operation}: {error}"))?.to_bytes();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("{operation}: {status} {}", String::from_utf8_lossy(&body)))
        }
    }
}
