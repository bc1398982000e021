//! The command line. [`serve`] runs the server; every other command is one or two calls to a running one, answered as a
//! [`table`] for people or, with `--json`, as one JSON document for scripts.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod client;
mod groups;
mod jobs;
mod nodes;
mod routes;
mod serve;
mod table;
mod timestamp;

use client::Client;
use table::Answer;

/// The placement of an Elastickv cluster.
#[derive(Debug, Parser)]
#[command(name = "placement", version, about, after_help = AFTER_HELP)]
struct Arguments {
    /// The placement to ask.
    #[arg(long, global = true, env = "PLACEMENT_ENDPOINT", default_value = "http://127.0.0.1:50060")]
    endpoint: String,
    /// Answer in JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Keys are written as raw:g, redis:slot:8192, redis:0:user:7, dynamo:#12:0x8000, system:table:orders or 0x6b6700; anything \
else names a RawKV key.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the placement cannot be reached or asks to try again.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the placement server until it is told to stop.
    Serve(serve::Serve),
    /// Which group serves which keys.
    #[command(subcommand)]
    Routes(routes::Routes),
    /// The storage nodes.
    #[command(subcommand)]
    Nodes(nodes::Nodes),
    /// The Raft groups.
    #[command(subcommand)]
    Groups(groups::Groups),
    /// What the placement is still doing.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Get a new timestamp from the oracle.
    Timestamp,
}

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    message: String,
    /// The same command may succeed later.
    retryable: bool,
}

/// Runs the command of this process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure { message: format!("no threads: {error}"), retryable: false }),
    };
    match runtime.block_on(execute(&arguments)) {
        Ok(Some(answer)) => {
            answer.print(arguments.json);
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("placement: {failure}");
    ExitCode::from(if failure.retryable { 3 } else { 1 })
}

async fn execute(arguments: &Arguments) -> Result<Option<Answer>, Failure> {
    let client = || Client::connect(&arguments.endpoint);
    Ok(match &arguments.command {
        Command::Serve(serve) => {
            serve.run().await?;
            None
        }
        Command::Routes(routes) => Some(routes.run(client().await?).await?),
        Command::Nodes(nodes) => Some(nodes.run(client().await?).await?),
        Command::Groups(groups) => Some(groups.run(client().await?).await?),
        Command::Jobs(jobs) => Some(jobs.run(client().await?).await?),
        Command::Timestamp => Some(timestamp::run(client().await?).await?),
    })
}
