//! A client of the document of 2020 under faults: without a success within six seconds it sends
//! the equal packet again, and where its connection ends, it does so wherever it is let in.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::ledger::{PLAIN, recipient};
use super::load::{Everywhere, PAUSE};
use crate::support::{Client, described, frame};

/// How long the document's client waits before it sends again.
const SUCCESS: Duration = Duration::from_secs(6);

/// What came of a packet.
enum Outcome {
    Success,
    /// Nothing did in time, or a failure, of which the document's client knows nothing.
    Silence,
    /// The connection ended.
    Ended,
}

/// Sends one packet after the other, each until it is acknowledged.
pub async fn send(everywhere: Everywhere) {
    let mut at = 0;
    let mut client = everywhere.connect_plainly(PLAIN, &mut at).await;
    let mut number = 0;
    while !everywhere.over.load(Ordering::Acquire) {
        let sent = (PLAIN, number);
        loop {
            match put(&mut client, number, recipient(sent)).await {
                Outcome::Success => break,
                Outcome::Silence => {}
                Outcome::Ended => client = everywhere.connect_plainly(PLAIN, &mut at).await,
            }
        }
        everywhere.ledger.lock().unwrap().plain.insert(sent);
        number += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn put(client: &mut Client, number: u64, to: u64) -> Outcome {
    let timestamp = number.to_string();
    let packet = frame(PLAIN, to, &format!("{PLAIN} {number}"), &timestamp);
    let end = Instant::now() + SUCCESS;
    client.send_into_the_blue(&packet).await;
    loop {
        match timeout_at(end, client.answer_at_last()).await {
            Err(_) => return Outcome::Silence,
            Ok(None) => return Outcome::Ended,
            Ok(Some(answer)) if answer == client.success(&timestamp) => return Outcome::Success,
            // To an earlier try.
            Ok(Some(answer)) if answer["type"] == 0 => assert_ne!(answer["timestamp"], timestamp),
            Ok(Some(failure)) => {
                assert_eq!(failure["type"], 1, "{failure}");
                assert_eq!(described(&failure)["code"], "store_unavailable", "{failure}");
            }
        }
    }
}
