//! `placement timestamp`: a new timestamp from the oracle.

use placement::oracle::COUNTER_BITS;
use proto::wire;
use serde_json::json;

use super::Failure;
use super::client::Client;
use super::table::Answer;

/// Gets one.
pub async fn run(client: Client) -> Result<Answer, Failure> {
    let answered = client.distribution().get_timestamp(wire::GetTimestampRequest {}).await;
    let timestamp = answered.map_err(|status| client.failure(&status))?.into_inner().timestamp;
    let json = json!({ "timestamp": timestamp, "unix_ms": timestamp >> COUNTER_BITS });
    Ok(Answer::line(json, timestamp.to_string()))
}
