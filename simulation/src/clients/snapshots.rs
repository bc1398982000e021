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
        let asked = tokio::time::timeout(PATIENCE, placement.get_timestamp(GetTimestampRequest {})).await;
        let Ok(Ok(answer)) = asked else { continue };
        let timestamp = answer.into_inner().timestamp;
        let ledger = client.book.bank.begin(client.process, bank::Call::Read);
        let mut accounts = Vec::with_capacity(ACCOUNTS);
        for account in 0..ACCOUNTS {
            match read(&router, account, timestamp).await {
                Some(balance) => accounts.push(balance),
                None => break,
            }
            if !client.next().await {
                break;
            }
        }
        // Before the bank has opened there is nothing in it.
        let read = accounts.len() == ACCOUNTS && accounts.iter().any(|balance| *balance != 0);
        client.book.bank.end(&ledger, if read { Outcome::Ok(accounts) } else { Outcome::Failed });
    }
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
