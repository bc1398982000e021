//! `placement jobs`: what the placement is still doing.

use clap::Subcommand;
use proto::wire;
use serde_json::json;

use super::Failure;
use super::client::Client;
use super::table::Answer;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// All unfinished jobs, oldest first.
    List,
}

impl Jobs {
    /// Does it.
    pub async fn run(&self, client: Client) -> Result<Answer, Failure> {
        match self {
            Jobs::List => list(&client).await,
        }
    }
}

async fn list(client: &Client) -> Result<Answer, Failure> {
    let listed = client.cluster().jobs(wire::JobsRequest {}).await.map_err(|status| client.failure(&status))?;
    let jobs = listed.into_inner().jobs;
    let json = jobs.iter().map(|job| {
        json!({
            "job_id": job.job_id,
            "kind": job.kind,
            "description": job.description,
            "last_failure": job.last_failure,
        })
    });
    let json = json!({ "jobs": json.collect::<Vec<_>>() });
    let rows = jobs
        .iter()
        .map(|job| [job.job_id.to_string(), job.kind.clone(), job.description.clone(), job.last_failure.clone()]);
    Ok(Answer::table(json, ["JOB", "KIND", "WHAT", "WAITS FOR"], rows))
}
