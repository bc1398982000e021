//! Does the cluster serve? Asked the way a client would: with reads of keys in all parts of the keyspace.
//!
//! A read is linearizable, so an answer proves that the group of that key has a leader which a majority follows, that the
//! gateway has routes and that they are right. It changes nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Enough keys that each of a thousand evenly spread ranges would be met by some with fair odds, and few enough to be
/// asked in one go.
const KEYS: usize = 256;
/// A gateway repeats a request for longer than this; then it is asked anew.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// Returns when a gateway has answered all reads without an error.
pub async fn wait_until_serving(redis: SocketAddr) {
    while let Err(problem) = ask(redis).await {
        tracing::info!(gateway = %redis, problem, "waiting for the cluster");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(redis: SocketAddr) -> Result<(), String> {
    let asking = async {
        let mut stream = BufReader::new(TcpStream::connect(redis).await.map_err(|error| error.to_string())?);
        let requests: String = (0..KEYS).map(|key| format!("EXISTS elastickv-ready:{key}\r\n")).collect();
        stream.write_all(requests.as_bytes()).await.map_err(|error| error.to_string())?;
        for _ in 0..KEYS {
            let mut line = String::new();
            stream.read_line(&mut line).await.map_err(|error| error.to_string())?;
            if !line.starts_with(':') {
                return Err(line.trim().to_owned());
            }
        }
        Ok(())
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {ANSWER_TIMEOUT:?}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_error_among_the_answers_means_not_yet() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for last in ["-ERR no leader\r\n", ":0\r\n"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut requests = vec![0; 8 << 10];
                assert!(stream.read(&mut requests).await.unwrap() > 0);
                let answers = ":0\r\n".repeat(KEYS - 1) + last;
                stream.write_all(answers.as_bytes()).await.unwrap();
                // Until the client has gone.
                while stream.read(&mut requests).await.unwrap_or(0) > 0 {}
            }
        });
        assert_eq!(ask(address).await, Err("-ERR no leader".to_owned()));
        wait_until_serving(address).await;
    }
}
