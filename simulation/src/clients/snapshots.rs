//! Readers of snapshots: all accounts of the bank, one after the other with time in between, at one timestamp of the oracle.
//! What they see must be one moment of the bank, though it is not the present one.

use std::time::Duration;

use bytes::Bytes;
use checkers::history::Outcome;
use commands::{Command, Outcome as CommandOutcome};
use gateway::router::{Prepared, Router};
use proto::wire::GetTimestampRequest;
use proto::wire::distribution_client::DistributionClient;
use tonic::transport::Channel;

use super::bank::{self, ACCOUNTS};
use super::{Client, line, number, part};

/// The placement answers within this time, or the snapshot is not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Works until there is nothing to do any more.
pub async fn work(mut client: Client, router: Router, mut placement: DistributionClient<Channel>) {
    while client.next().await {
        let begun = client.book.bank.begin(client.process, bank::Call::Read);
        let accounts = snapshot(&mut client, &router, &mut placement).await;
        // A read without an answer has no effect; before the bank has opened there is nothing in it.
        let accounts = accounts.filter(|accounts| accounts.values().any(|balance| *balance != 0));
        client.book.bank.end(&begun, accounts.map_or(Outcome::Failed, Outcome::Ok));
    }
}

async fn snapshot(
    client: &mut Client,
    router: &Router,
    placement: &mut DistributionClient<Channel>,
) -> Option<bank::Reply> {
    let asked = tokio::time::timeout(PATIENCE, placement.get_timestamp(GetTimestampRequest {})).await;
    let timestamp = asked.ok()?.ok()?.into_inner().timestamp;
    let mut accounts = bank::Reply::new();
    for account in 0..ACCOUNTS {
        accounts.insert(account, read(router, account, timestamp).await?);
        // Time goes by; whether to rest is asked when it is all read.
        client.next().await;
    }
    Some(accounts)
}

async fn read(router: &Router, account: usize, timestamp: u64) -> Option<i64> {
    let part = part(0, &line(["GET", &bank::name(account)]));
    let (commands, units): (Vec<Command>, Vec<Bytes>) = (vec![part.command], part.units);
    let answer = router.call_prepared(Prepared::many(commands, units, Vec::new()).at(timestamp)).await;
    match answer.ok()?.first()? {
        CommandOutcome::Redis(value) => number(value),
        _ => None,
    }
}
