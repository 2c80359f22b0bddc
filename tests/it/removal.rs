//! Messages that go: by age, and the room that they leave.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use imserver::ids::{Sender, UserId};
use imserver::store::{Draft, ResendKey, Seen};
use serde_json::{Value, json};

use crate::support::{
    Call, Client, Setup, TestServer, V2, admin, described, mark_read, post_message, store, within,
};

/// A server that keeps what was read for two seconds.
fn forgetful() -> Setup {
    Setup::new()
        .set("store.retention", "\"2s\"")
        .set("store.dedup_window", "\"1s\"")
        .set("store.resend_window", "\"1s\"")
}

async fn history(server: &TestServer, user: u64, peer: u64) -> Vec<u64> {
    let path = format!("conversations/{peer}/messages?limit=100");
    let answer = Call::get(user, &path).send(server).await;
    if answer.status == 404 {
        return Vec::new();
    }
    let page: Value = serde_json::from_str(&answer.body).unwrap();
    let ids = page["messages"].as_array().unwrap().iter();
    ids.map(|message| message["messageId"].as_str().unwrap().parse().unwrap()).collect()
}

/// Waits until that is all that two still have of each other.
async fn left(server: &TestServer, user: u64, peer: u64, ids: &[u64]) {
    within("read messages to go", async {
        while history(server, user, peer).await != ids {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn read_messages_go_at_their_age_and_unread_ones_stay() {
    let server = forgetful().start().await;
    let mut given = Vec::new();
    for number in 0..6 {
        given.push(post_message(&server, 1, 2, &format!("number {number}")).await);
    }
    let mut hong = Client::connect(&server, 2).await;
    for id in &given {
        assert_eq!(hong.message().await.0, *id);
    }
    // The fifth lies behind an unread one: the fourth keeps it.
    hong.send(&mark_read(2, &[given[0], given[1], given[2], given[4]])).await;
    left(&server, 1, 2, &given[3..]).await;
    left(&server, 2, 1, &given[3..]).await;
    let metrics = admin(&server, "/metrics").await.body;
    assert!(metrics.contains("imserver_removed_total 3"), "{metrics}");

    let list = Call::get(2, "conversations").done(&server).await;
    assert_eq!((&list["unreadTotal"], &list["conversations"][0]["unread"]), (&json!(2), &json!(2)));
    let (_, messages, report) = V2::of(&server, 2).after(given[0]).replayed().await;
    assert_eq!(messages.len(), 3);
    assert_eq!(described(&report), json!({ "complete": false }));
    let (_, messages, report) = V2::of(&server, 2).after(given[2]).replayed().await;
    assert_eq!((messages.len(), described(&report)), (3, json!({ "complete": true })));

    // A restart forgets none of it, and goes on.
    let server = server.kill().start().await;
    assert_eq!(history(&server, 1, 2).await, given[3..]);
    let mut hong = Client::connect(&server, 2).await;
    for id in [given[3], given[5]] {
        assert_eq!(hong.message().await.0, id);
    }
    hong.send(&mark_read(2, &given)).await;
    left(&server, 2, 1, &[]).await;
    let list = Call::get(2, "conversations").done(&server).await;
    assert_eq!((&list["conversations"], &list["unreadTotal"]), (&json!([]), &json!(0)));
    assert!(post_message(&server, 1, 2, "and on").await > given[5]);
    let setup = server.stop().await;
    if !setup.is_in_streams() {
        store::open(&setup.path("data")).close().await.unwrap();
    }
}

type Contents = BTreeMap<u64, (u64, String)>;

async fn contents(dir: &Path) -> Contents {
    let store = store::open(dir);
    let mut found = Contents::new();
    for inbox in 1..=3 {
        for entry in store::inbox(&*store, inbox, false).await {
            found.insert(entry.message.id.get(), (inbox, entry.message.content.clone()));
        }
    }
    store.close().await.unwrap();
    found
}

/// A closed store of some thousand messages in `dir`, of which one user is erased.
async fn fill(dir: &Path) {
    let store = store::open(dir);
    let mut receipts = Vec::new();
    for number in 0..9000u64 {
        let draft = Draft {
            from: Sender::new(number % 5).unwrap(),
            to: UserId::new(1 + number % 4).unwrap(),
            timestamp: number.to_string(),
            content: format!("number {number} {}", "x".repeat(200)),
            resend: ResendKey::None,
            origin: None,
        };
        receipts.push(store.append(draft).await.unwrap());
    }
    let mut ids = Vec::new();
    for receipt in receipts {
        ids.push(receipt.await.unwrap().id);
    }
    for ids in ids.chunks(1500) {
        let seen = Seen::Ids(ids.iter().copied().step_by(2).collect());
        store.mark_read(UserId::new(1).unwrap(), seen, None).await.unwrap();
    }
    assert!(store.erase(UserId::new(4).unwrap()).await.unwrap().messages > 3000);
    store.close().await.unwrap();
}

#[tokio::test]
async fn compacting_makes_the_database_smaller_and_changes_nothing_else() {
    let server = TestServer::new().await;
    let running = server.setup().command(&["compact"]).output().unwrap();
    let said = String::from_utf8(running.stderr).unwrap();
    assert_eq!(running.status.code(), Some(1), "{said}");
    assert!(said.contains("stop the server"), "{said}");

    let setup = server.stop().await;
    let data = setup.path("data");
    fill(&data).await;
    let before = contents(&data).await;
    let size = || data.join("sled/db").metadata().unwrap().len();
    let large = size();
    let said = setup.run(&["compact"]);
    assert!(said.contains(&format!("{} messages, all counted", before.len())), "{said}");
    assert!(size() < large, "{large} became {}", size());
    assert_eq!(contents(&data).await, before);
    let log = std::fs::read_to_string(data.join("audit.jsonl")).unwrap();
    assert_eq!(log.matches("\"act\":\"store.compact\"").count(), 2, "{log}");
    assert!(log.contains("stop the server"), "the one that was refused: {log}");

    // It goes on from there.
    let server = setup.start().await;
    let last = *before.last_key_value().unwrap().0;
    assert!(post_message(&server, 1, 2, "more").await > last);
}

#[test]
fn there_is_nothing_to_compact_where_no_server_ever_ran() {
    let setup = Setup::new();
    let output = setup.command(&["compact"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no store in"), "{said}");
    assert!(!setup.path("data").exists(), "nothing is made");
}

#[tokio::test]
async fn a_compaction_that_is_killed_leaves_a_whole_store() {
    let setup = Setup::new();
    let data = setup.path("data");
    fill(&data).await;
    let expected = contents(&data).await;
    let compact = || -> Command {
        let mut command = setup.command(&["compact"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let begun = Instant::now();
    assert!(compact().status().unwrap().success());
    let whole = begun.elapsed();
    let rounds = 12;
    let mut killed = 0;
    for round in 1..=rounds {
        let mut child = compact().spawn().unwrap();
        // At another moment each time, from the beginning to the end.
        std::thread::sleep(whole * round / rounds);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        assert_eq!(contents(&data).await, expected, "round {round}");
    }
    assert!(killed > 0, "no compaction was met while it ran");
    assert!(!data.join("sled.check").exists(), "what was begun is thrown away");
}
