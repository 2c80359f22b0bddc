//! Load over all nodes, with a ledger of what was acknowledged and what was seen, to be
//! held against what is there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{Client, TestServer, V2, described, named};

const SENDERS: u64 = 6;

/// Their recipients have numbers of their own. Of three partitions each has one of them.
const RECIPIENTS: [u64; 3] = [91, 92, 95];

/// Between two tries to find a node that answers.
const PAUSE: Duration = Duration::from_millis(50);

/// How long everything may take to be seen once the faults are over.
const PATIENCE: Duration = Duration::from_secs(60);

/// A packet: its sender and its number there.
type Packet = (u64, u64);

fn recipient((sender, number): Packet) -> u64 {
    RECIPIENTS[((sender + number) % 3) as usize]
}

fn packet(text: &str) -> Packet {
    let (sender, number) = text.split_once(' ').unwrap();
    (sender.parse().unwrap(), number.parse().unwrap())
}

#[derive(Debug, Default)]
struct Ledger {
    acknowledged: BTreeMap<Packet, u64>,
    /// What each recipient was shown, in that order.
    seen: BTreeMap<u64, Vec<(u64, Packet)>>,
    /// By sender: when their last packet was acknowledged, or they began.
    served: BTreeMap<u64, Instant>,
    /// Whose acknowledgement came when, and how long they had been without one.
    gaps: Vec<(u64, Instant, Duration)>,
}

impl Ledger {
    fn acknowledge(&mut self, sent: Packet, id: u64) {
        self.acknowledged.insert(sent, id);
        let now = Instant::now();
        if let Some(before) = self.served.insert(sent.0, now) {
            self.gaps.push((sent.0, now, now - before));
        }
    }

    /// What was acknowledged and not shown to its recipient: by recipient and id.
    fn unseen(&self) -> BTreeMap<(u64, u64), Packet> {
        let seen: BTreeSet<(u64, u64)> =
            self.seen.iter().flat_map(|(to, seen)| seen.iter().map(|(id, _)| (*to, *id))).collect();
        let wanted = self.acknowledged.iter().map(|(sent, id)| ((recipient(*sent), *id), *sent));
        wanted.filter(|(shown, _)| !seen.contains(shown)).collect()
    }
}

/// Where the nodes are that clients know of.
type Reached = Arc<Mutex<Vec<(SocketAddr, Arc<RootCertStore>)>>>;

/// Everybody who sends and receives, under way.
pub struct Load {
    nodes: Vec<TestServer>,
    reached: Reached,
    ledger: Arc<Mutex<Ledger>>,
    over: Arc<AtomicBool>,
    senders: JoinSet<()>,
    recipients: JoinSet<()>,
}

impl Load {
    /// Begins to send and to receive over these nodes.
    pub fn begin(nodes: impl Into<Vec<TestServer>>) -> Self {
        let nodes = nodes.into();
        let reached = nodes.iter().map(TestServer::reached_at).collect();
        let mut load = Self {
            nodes,
            reached: Arc::new(Mutex::new(reached)),
            ledger: Arc::default(),
            over: Arc::default(),
            senders: JoinSet::new(),
            recipients: JoinSet::new(),
        };
        for sender in 1..=SENDERS {
            let (reached, ledger) = (Arc::clone(&load.reached), Arc::clone(&load.ledger));
            load.senders.spawn(send(sender, reached, ledger, Arc::clone(&load.over)));
        }
        for recipient in RECIPIENTS {
            let (reached, ledger) = (Arc::clone(&load.reached), Arc::clone(&load.ledger));
            load.recipients.spawn(receive(recipient, reached, ledger));
        }
        load
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Stops a node as an operator does, and starts it again.
    pub async fn restart(&mut self, number: usize) {
        let setup = self.nodes.remove(number).stop().await;
        let again = setup.start().await;
        self.reached.lock().unwrap()[number] = again.reached_at();
        self.nodes.insert(number, again);
    }

    pub fn node(&self, number: usize) -> &TestServer {
        &self.nodes[number]
    }

    /// Waits until so many more packets of every sender were acknowledged.
    pub async fn goes_on(&self, more: usize) {
        let before = self.acknowledged();
        let served = || {
            let now = self.acknowledged();
            now.iter().all(|(sender, count)| *count >= before[sender] + more)
        };
        assert!(self.holds(served).await, "waited in vain for messages to be acknowledged");
    }

    /// How many packets of each sender were acknowledged.
    fn acknowledged(&self) -> BTreeMap<u64, usize> {
        let ledger = self.ledger.lock().unwrap();
        let mut counts: BTreeMap<u64, usize> = (1..=SENDERS).map(|sender| (sender, 0)).collect();
        for (sender, _) in ledger.acknowledged.keys() {
            *counts.entry(*sender).or_default() += 1;
        }
        counts
    }

    /// The longest that any sender was without an acknowledgement, until one came at `since`
    /// or later.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let ledger = self.ledger.lock().unwrap();
        let gaps = ledger.gaps.iter().filter(|(_, end, _)| *end >= since);
        gaps.map(|(_, _, gap)| *gap).max().unwrap_or_default()
    }

    /// How long after `since` every sender was served again.
    pub fn all_served_after(&self, since: Instant) -> Duration {
        let ledger = self.ledger.lock().unwrap();
        let mut served: BTreeMap<u64, Instant> = BTreeMap::new();
        for (sender, end, _) in ledger.gaps.iter().filter(|(_, end, _)| *end >= since) {
            let first = served.entry(*sender).or_insert(*end);
            *first = (*first).min(*end);
        }
        assert_eq!(served.len(), SENDERS as usize);
        served.values().map(|first| *first - since).max().unwrap_or_default()
    }

    /// Whether something holds in the end.
    async fn holds(&self, mut holds: impl FnMut() -> bool) -> bool {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.is_ok()
    }

    /// Ends the load where it stands, whatever is under way: how many of those that were
    /// acknowledged are not there, asked at `node`.
    pub async fn lost(mut self, node: &TestServer) -> usize {
        self.senders.shutdown().await;
        self.recipients.shutdown().await;
        let mut lost = self.ledger.lock().unwrap().acknowledged.clone();
        for to in RECIPIENTS {
            let (_, messages, _) = V2::of(node, to).after(0).replayed().await;
            lost.retain(|sent, id| !messages.iter().any(|found| told(found) == (*id, *sent)));
        }
        lost.len()
    }

    /// Ends the load and holds the ledger against what is there, asked at `node`.
    pub async fn settle(mut self, node: &TestServer) {
        self.over.store(true, Ordering::Release);
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        self.holds(|| self.ledger.lock().unwrap().unseen().is_empty()).await;
        self.recipients.shutdown().await;
        let ledger = std::mem::take(&mut *self.ledger.lock().unwrap());
        let mut found = 0;
        for to in RECIPIENTS {
            let (_, messages, _) = V2::of(node, to).after(0).replayed().await;
            let there: Vec<(u64, Packet)> = messages.iter().map(told).collect();
            check(to, &there, &ledger);
            found += there.len();
        }
        eprintln!("{} acknowledged, {found} there", ledger.acknowledged.len());
        // Behind the rest: what is not there can be shown to nobody.
        assert_eq!(ledger.unseen(), BTreeMap::new(), "by recipient and id, was not shown");
    }
}

fn check(to: u64, there: &[(u64, Packet)], ledger: &Ledger) {
    assert!(there.is_sorted_by(|one, other| one.0 < other.0), "ids fall");
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for (_, (sender, number)) in there {
        // Also: nothing is there twice.
        let before = last.insert(*sender, *number);
        assert!(before < Some(*number), "{sender} {number} comes behind {before:?}");
    }
    let there: BTreeMap<Packet, u64> = there.iter().map(|(id, packet)| (*packet, *id)).collect();
    for (sent, id) in ledger.acknowledged.iter().filter(|(sent, _)| recipient(**sent) == to) {
        assert_eq!(there.get(sent), Some(id), "{sent:?} was acknowledged");
    }
    let seen = ledger.seen.get(&to).map_or(&[][..], |seen| seen);
    assert!(seen.is_sorted_by(|one, other| one.0 < other.0), "{to} was shown one twice, or late");
    for (id, packet) in seen {
        assert_eq!(there.get(packet), Some(id), "{packet:?} was shown");
    }
}

fn told(message: &Value) -> (u64, Packet) {
    let id = described(message)["messageId"].as_str().unwrap().parse().unwrap();
    (id, packet(message["content"].as_str().unwrap()))
}

/// Connects to the nodes in turn until one answers.
async fn connect(user: u64, after: u64, at: &mut usize, nodes: &Reached) -> Client {
    loop {
        let node = {
            let nodes = nodes.lock().unwrap();
            *at = (*at + 1) % nodes.len();
            nodes[*at].clone()
        };
        if let Some(client) = Client::reach(node, user, after).await {
            return client;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends one packet after the other, each until it is acknowledged.
async fn send(sender: u64, nodes: Reached, ledger: Arc<Mutex<Ledger>>, over: Arc<AtomicBool>) {
    let mut at = sender as usize;
    let mut client = connect(sender, 0, &mut at, &nodes).await;
    let mut number = 0;
    while !over.load(Ordering::Acquire) {
        let sent = (sender, number);
        let mut again = false;
        let id = loop {
            let (text, name) = (format!("{sender} {number}"), number.to_string());
            let put = named(sender, recipient(sent), &text, &name, again);
            client.send_into_the_blue(&put).await;
            again = true;
            match outcome(&mut client).await {
                Some(frame) if frame["type"] == 0 => {
                    break described(&frame)["messageId"].as_str().unwrap().parse().unwrap();
                }
                Some(failure) => {
                    assert_eq!(described(&failure)["code"], "store_unavailable", "{failure}");
                    tokio::time::sleep(PAUSE).await;
                }
                None => client = connect(sender, 0, &mut at, &nodes).await,
            }
        };
        ledger.lock().unwrap().acknowledge(sent, id);
        number += 1;
    }
}

/// The answer to a packet, or nothing where the connection ends.
async fn outcome(client: &mut Client) -> Option<Value> {
    loop {
        let frame = client.answer().await?;
        if matches!(frame["type"].as_u64(), Some(0 | 1)) {
            return Some(frame);
        }
    }
}

/// Receives, and goes on behind the last message on another node where a connection ends.
async fn receive(user: u64, nodes: Reached, ledger: Arc<Mutex<Ledger>>) {
    let mut at = user as usize;
    loop {
        let last = {
            let ledger = ledger.lock().unwrap();
            ledger.seen.get(&user).and_then(|seen| seen.last()).map_or(0, |(id, _)| *id)
        };
        let mut client = connect(user, last, &mut at, &nodes).await;
        // While nothing can be sent, they wait for longer than anything else may take.
        while let Some(frame) = client.answer_at_last().await {
            if frame["type"] == 2 {
                ledger.lock().unwrap().seen.entry(user).or_default().push(told(&frame));
            }
        }
    }
}
