//! `kill -9` under load, again and again, on one growing data directory.
//!
//! Senders and recipients keep a ledger of what they were told. Whatever was
//! acknowledged must be there, once, in order, and what was marked must not come
//! again. Packets without an answer are sent again after the restart, as the
//! document's client does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Setup, frame, mark_read, store, within};

const SENDERS: std::ops::RangeInclusive<u64> = 1..=4;
const RECIPIENTS: std::ops::RangeInclusive<u64> = 11..=13;

/// Takes the packets whose success shows that the marks before them were written.
const WITNESS: u64 = 99;

/// Packets that a sender has on their way at once.
const IN_FLIGHT: usize = 8;

/// What one sender knows.
#[derive(Debug, Default)]
struct Sent {
    next: u64,
    acknowledged: BTreeSet<u64>,
    /// Sent, in this order, and not answered.
    open: VecDeque<u64>,
}

/// What one recipient knows.
#[derive(Debug, Default)]
struct Received {
    /// Content and id: of each content there may be one.
    messages: BTreeMap<String, u64>,
    /// Marked, and known to be written.
    marked: BTreeSet<u64>,
}

/// The packet `number` of a sender: it is the same whenever it is sent.
fn packet(sender: u64, number: u64) -> Value {
    let to = RECIPIENTS.start() + (sender + number / 3) % 3;
    frame(sender, to, &format!("{sender} {number}"), &number.to_string())
}

/// The next frame, or nothing once the server is dead.
async fn next(client: &mut Client) -> Option<Value> {
    loop {
        match within("a frame or the end", client.socket().next()).await? {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

async fn sends(client: &mut Client, packet: &Value) -> bool {
    let text = Message::text(packet.to_string());
    client.socket().send(text).await.is_ok()
}

/// Sends until the server is dead: first what was not answered, then new packets.
async fn send(mut client: Client, mut sent: Sent, first: watch::Sender<u64>) -> (u64, Sent) {
    let sender = client.user;
    let mut again: VecDeque<u64> = sent.open.clone();
    sent.open.clear();
    'alive: loop {
        while sent.open.len() < IN_FLIGHT {
            let number = again.pop_front().unwrap_or_else(|| {
                sent.next += 1;
                sent.next - 1
            });
            sent.open.push_back(number);
            if !sends(&mut client, &packet(sender, number)).await {
                break 'alive;
            }
        }
        let Some(answer) = next(&mut client).await else {
            break;
        };
        let number = sent.open.pop_front().unwrap();
        assert_eq!(answer, client.success(&number.to_string()));
        sent.acknowledged.insert(number);
        first.send_modify(|count| *count += 1);
    }
    // In the order of the first tries.
    sent.open.extend(again);
    (sender, sent)
}

/// Receives until the server is dead, and marks some of it.
async fn receive(mut client: Client, mut received: Received, seed: u64) -> (u64, Received) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut last = 0;
    let mut fresh = Vec::new();
    let mut marking = VecDeque::new();
    while let Some(came) = next(&mut client).await {
        if came["type"] == json!(0) {
            let marked: Vec<u64> = marking.pop_front().unwrap();
            received.marked.extend(marked);
            continue;
        }
        assert_eq!(came["type"], json!(2), "{came}");
        let describe: Value = serde_json::from_str(came["Describe"].as_str().unwrap()).unwrap();
        let id: u64 = describe["messageId"].as_str().unwrap().parse().unwrap();
        let content = came["content"].as_str().unwrap().to_owned();
        assert!(last < id, "{id} came after {last}");
        last = id;
        assert!(!received.marked.contains(&id), "{id} was marked and came again");
        let known = *received.messages.entry(content).or_insert(id);
        assert_eq!(known, id, "one packet became two messages");
        fresh.push(id);
        if fresh.len() == 20 {
            // Some stay unread for ever, some are marked later than newer ones.
            let picked: Vec<u64> = fresh.iter().copied().filter(|_| random.u8(..4) > 0).collect();
            fresh.retain(|id| !picked.contains(id) && random.bool());
            let marks = mark_read(client.user, &picked);
            let witness = frame(client.user, WITNESS, "marked", &last.to_string());
            if !sends(&mut client, &marks).await || !sends(&mut client, &witness).await {
                break;
            }
            marking.push_back(picked);
        }
    }
    (client.user, received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_kill_minus_nine() {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let rounds: u64 = variable("IMSERVER_CRASH_ROUNDS").unwrap_or(20);
    let seed = variable("IMSERVER_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    // Shown when the test fails.
    println!("again with: IMSERVER_CRASH_SEED={seed} IMSERVER_CRASH_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sent: BTreeMap<u64, Sent> = SENDERS.map(|id| (id, Sent::default())).collect();
    let mut received: BTreeMap<u64, Received> =
        RECIPIENTS.map(|id| (id, Received::default())).collect();
    let mut setup =
        Setup::new().set("limits.messages_per_second", "0").set("log.level", "\"info\"");
    for round in 0..rounds {
        let server = setup.start().await;
        let (first, mut acknowledged) = watch::channel(0);
        let (mut senders, mut recipients) = (JoinSet::new(), JoinSet::new());
        for (id, sent) in std::mem::take(&mut sent) {
            senders.spawn(send(server.connect(id).await, sent, first.clone()));
        }
        for (id, received) in std::mem::take(&mut received) {
            let seed = random.u64(..);
            recipients.spawn(receive(server.connect(id).await, received, seed));
        }
        // Somewhere between the first acknowledgements and a few thousand; every
        // fourth time before there is even one.
        if round % 4 != 3 {
            let some = random.u64(1..400);
            let enough = acknowledged.wait_for(|count| *count >= some);
            within("acknowledgements", enough).await.unwrap();
        }
        tokio::time::sleep(Duration::from_micros(random.u64(..60_000))).await;
        setup = server.kill();
        sent = senders.join_all().await.into_iter().collect();
        received = recipients.join_all().await.into_iter().collect();
    }

    // One more start, so that what is open is answered too, and a stop as it should be.
    let server = setup.start().await;
    for (id, sent) in &mut sent {
        let mut client = server.connect(*id).await;
        for number in std::mem::take(&mut sent.open) {
            let packet = packet(*id, number);
            client.send(&packet).await;
            assert_eq!(client.next().await, client.success(&number.to_string()));
            sent.acknowledged.insert(number);
        }
        client.close().await;
    }
    let setup = server.stop().await;
    check(&setup, &sent, &received).await;
}

/// Looks for everything that the ledgers name.
async fn check(setup: &Setup, sent: &BTreeMap<u64, Sent>, received: &BTreeMap<u64, Received>) {
    let store = store::open(&setup.path("data"));
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (recipient, received) in received {
        let all = store::inbox(&*store, *recipient, false).await;
        let mut last_of: BTreeMap<u64, u64> = BTreeMap::new();
        for entry in &all {
            let message = &entry.message;
            let (sender, number) = message.content.split_once(' ').unwrap();
            let (sender, number): (u64, u64) = (sender.parse().unwrap(), number.parse().unwrap());
            assert_eq!(message.from.get(), sender);
            let before = last_of.insert(sender, number);
            assert!(before < Some(number), "{sender} {number} is out of order or doubled");
            found.entry(sender).or_default().push(number);
            if let Some(id) = received.messages.get(&message.content) {
                assert_eq!(*id, message.id.get());
            }
        }
        let contents: BTreeSet<&str> = all.iter().map(|e| e.message.content.as_str()).collect();
        for content in received.messages.keys() {
            assert!(contents.contains(content.as_str()), "{content:?} was shown and is gone");
        }
        for entry in store::inbox(&*store, *recipient, true).await {
            let id = entry.message.id.get();
            assert!(!received.marked.contains(&id), "{id} is no longer marked");
        }
        assert!(!received.marked.is_empty());
    }
    for (sender, sent) in sent {
        let mut there = found.remove(sender).unwrap_or_default();
        there.sort_unstable();
        // Every packet was acknowledged in the end, so it is a matter of equality.
        let acknowledged: Vec<u64> = sent.acknowledged.iter().copied().collect();
        assert_eq!(there, acknowledged, "of sender {sender}");
    }
    store.close().await.unwrap();
}
