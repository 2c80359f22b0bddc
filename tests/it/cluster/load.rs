//! Load over all nodes, of which a ledger is kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustls::RootCertStore;
use serde_json::Value;
use tokio::task::JoinSet;

use super::ledger::{Ledger, RECIPIENTS, SENDERS, recipient, told};
use super::settling::Found;
use super::{marking, plain};
use crate::support::{Client, TestServer, V2, described, named};

/// Between two tries to find a node that answers.
pub const PAUSE: Duration = Duration::from_millis(50);

/// How long everything may take to be seen once the faults are over.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node as its clients know it.
type Reached = (SocketAddr, Arc<RootCertStore>);

/// All nodes as those know them who send and receive over them.
#[derive(Clone)]
pub struct Everywhere {
    nodes: Arc<Mutex<Vec<Reached>>>,
    pub ledger: Arc<Mutex<Ledger>>,
    pub over: Arc<AtomicBool>,
    /// How long senders rest behind each packet.
    rest: Duration,
}

impl Everywhere {
    /// The next node in turn.
    pub fn next(&self, at: &mut usize) -> Reached {
        let nodes = self.nodes.lock().unwrap();
        *at = (*at + 1) % nodes.len();
        nodes[*at].clone()
    }

    /// Connects to the nodes in turn until one answers.
    pub async fn connect(&self, user: u64, after: u64, at: &mut usize) -> Client {
        loop {
            if let Some(client) = Client::reach(self.next(at), user, after).await {
                return client;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The same by the document's URL.
    pub async fn connect_plainly(&self, user: u64, at: &mut usize) -> Client {
        loop {
            if let Some(client) = Client::reach_plainly(self.next(at), user).await {
                return client;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Everybody who sends and receives, under way.
pub struct Load {
    nodes: Vec<TestServer>,
    everywhere: Everywhere,
    senders: JoinSet<()>,
    recipients: JoinSet<()>,
    marking: JoinSet<()>,
}

impl Load {
    /// Begins to send and to receive over these nodes, as fast as they take it.
    pub fn begin(nodes: impl Into<Vec<TestServer>>) -> Self {
        Self::begin_with(nodes, Duration::ZERO)
    }

    /// The same with senders who rest behind each packet.
    pub fn begin_with(nodes: impl Into<Vec<TestServer>>, rest: Duration) -> Self {
        let nodes = nodes.into();
        let reached = nodes.iter().map(TestServer::reached_at).collect();
        let everywhere = Everywhere {
            nodes: Arc::new(Mutex::new(reached)),
            ledger: Arc::default(),
            over: Arc::default(),
            rest,
        };
        let (mut senders, mut recipients, mut marking) =
            (JoinSet::new(), JoinSet::new(), JoinSet::new());
        for sender in 1..=SENDERS {
            senders.spawn(send(sender, everywhere.clone()));
        }
        senders.spawn(plain::send(everywhere.clone()));
        for recipient in RECIPIENTS {
            recipients.spawn(receive(recipient, everywhere.clone()));
        }
        marking.spawn(marking::mark(everywhere.clone()));
        Self { nodes, everywhere, senders, recipients, marking }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Stops a node as an operator does, and starts it again.
    pub async fn restart(&mut self, number: usize) {
        let setup = self.nodes.remove(number).stop().await;
        let again = setup.start().await;
        self.everywhere.nodes.lock().unwrap()[number] = again.reached_at();
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
        let ledger = self.everywhere.ledger.lock().unwrap();
        let mut counts: BTreeMap<u64, usize> = (1..=SENDERS).map(|sender| (sender, 0)).collect();
        for (sender, _) in ledger.acknowledged.keys() {
            *counts.entry(*sender).or_default() += 1;
        }
        counts
    }

    /// The longest that any sender was without an acknowledgement, until one came at `since`
    /// or later.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let ledger = self.everywhere.ledger.lock().unwrap();
        let gaps = ledger.gaps.iter().filter(|(_, end, _)| *end >= since);
        gaps.map(|(_, _, gap)| *gap).max().unwrap_or_default()
    }

    /// How long after `since` every sender was served again.
    pub fn all_served_after(&self, since: Instant) -> Duration {
        let ledger = self.everywhere.ledger.lock().unwrap();
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
        self.marking.shutdown().await;
        let mut lost = self.everywhere.ledger.lock().unwrap().acknowledged.clone();
        for to in RECIPIENTS {
            let (_, messages, _) = V2::of(node, to).after(0).replayed().await;
            lost.retain(|sent, id| !messages.iter().any(|found| told(found) == (*id, *sent)));
        }
        lost.len()
    }

    /// Ends the load and holds the ledger against what is there, asked at each of `nodes`.
    pub async fn settle(mut self, nodes: &[TestServer]) {
        self.everywhere.over.store(true, Ordering::Release);
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        let ledger = Arc::clone(&self.everywhere.ledger);
        self.holds(|| ledger.lock().unwrap().unseen().is_empty()).await;
        while let Some(ended) = self.marking.join_next().await {
            ended.unwrap();
        }
        self.recipients.shutdown().await;
        let ledger = std::mem::take(&mut *ledger.lock().unwrap());
        assert!(!ledger.plain.is_empty() && !ledger.marked.is_empty() && ledger.marked_up_to > 0);
        let found = join_all(nodes.iter().map(Found::at)).await;
        let (first, others) = found.split_first().unwrap();
        first.check(&ledger);
        // Too much to be printed.
        assert!(others.iter().all(|other| other == first), "two nodes do not show the same");
        // Behind the rest: what is not there can be shown to nobody.
        assert!(ledger.unseen().is_empty(), "was not shown: {:?}", ledger.unseen());
    }
}

/// Sends one packet after the other, each until it is acknowledged.
async fn send(sender: u64, everywhere: Everywhere) {
    let mut at = sender as usize;
    let mut client = everywhere.connect(sender, 0, &mut at).await;
    let mut number = 0;
    while !everywhere.over.load(Ordering::Acquire) {
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
                None => client = everywhere.connect(sender, 0, &mut at).await,
            }
        };
        everywhere.ledger.lock().unwrap().acknowledge(sent, id);
        number += 1;
        if everywhere.rest > Duration::ZERO {
            tokio::time::sleep(everywhere.rest).await;
        }
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
async fn receive(user: u64, everywhere: Everywhere) {
    let mut at = user as usize;
    let ledger = Arc::clone(&everywhere.ledger);
    loop {
        let last = {
            let ledger = ledger.lock().unwrap();
            ledger.seen.get(&user).and_then(|seen| seen.last()).map_or(0, |(id, _)| *id)
        };
        let mut client = everywhere.connect(user, last, &mut at).await;
        // While nothing can be sent, they wait for longer than anything else may take.
        while let Some(frame) = client.answer_at_last().await {
            if frame["type"] == 2 {
                ledger.lock().unwrap().seen.entry(user).or_default().push(told(&frame));
            }
        }
    }
}
