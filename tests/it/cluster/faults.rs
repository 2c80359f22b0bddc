//! Servers and nodes that die and hang under load. Nothing acknowledged is lost, nothing is
//! stored twice, every sender's order is kept, and the service is back in time.

use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join, join_all};

use super::load::Load;
use super::replicas;
use crate::nats::{Cluster, Dismissal};
use crate::support::{Call, Client, Nodes, is_refusal};

/// Messages of every sender that show that everything works.
pub const SOME: usize = 25;

/// How long each sender rests behind a packet: not much longer than one takes. So some are under way
/// at any moment, and two cores have time for more than one such test.
pub const REST: Duration = Duration::from_millis(20);

/// How long the others may take to have a new leader where the last one is gone without a
/// word: nats-server's followers wait for four to nine seconds, drawn by chance, before they
/// vote, and draw again where nobody wins.
pub const ELECTION: Duration = Duration::from_secs(20);

/// How long the service may take once all streams that it needs have a leader: a write that
/// was put in vain right before is put again after 0.85 s, and on a busy machine everybody
/// does so at once.
pub const BACK: Duration = Duration::from_secs(2);

/// The longest that a follower waits before it votes: where a vote is won the service is away for
/// as long at the most, and for what it takes to notice that.
pub const DRAW: Duration = Duration::from_secs(9);

/// What a busy machine may add to that, with the time in which a write is put once more.
const NOTICED: Duration = Duration::from_secs(3);

/// How long the service may be away where the leader is killed, unless the election alone took
/// longer.
pub const KILLED: Duration = Duration::from_secs(6);

/// How long it may be away where a server falls silent without being gone: who is connected to
/// it asks three times, a second apart, perhaps tries it once more for two seconds before it
/// goes elsewhere, and sends again. If it led, the others vote meanwhile.
pub const SILENT: Duration = Duration::from_secs(10);

/// How long a server that goes by itself may be missed: a write whose answer it took with it is
/// put again after 0.3 s, and after as long once more where that one finds nobody either. Nobody
/// waits for an election, which takes four seconds at the least.
const HANDOVER: Duration = Duration::from_secs(1);

/// How long a node waits for its store before it tells who asked to come again. Who connects has
/// two questions: the name in their token is put down, and their messages are read.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Rig {
    pub cluster: Cluster,
    pub nodes: Nodes,
    pub load: Load,
    partitions: usize,
    /// How long a message takes here at the most while nothing is amiss.
    usual: Duration,
}

impl Rig {
    /// With all messages in one stream.
    pub async fn new() -> Self {
        Self::on(Cluster::start(), 1).await
    }

    /// With an inbox of the load in each of three streams, whose leaders are where they are.
    pub async fn of_three_partitions() -> Self {
        Self::on(Cluster::start(), 3).await
    }

    pub async fn on(cluster: Cluster, partitions: usize) -> Self {
        let nodes =
            Nodes::on(cluster.place()).set("store.jetstream.partitions", &partitions.to_string());
        Self::with(cluster, nodes, partitions, REST).await
    }

    /// On so many servers, each of which keeps everything, with senders who rest behind each packet.
    pub async fn light(servers: usize, rest: Duration) -> Self {
        let mut cluster = Cluster::start();
        cluster.grow(servers - 3);
        let replicas = servers.to_string();
        let nodes = Nodes::on(cluster.place()).set("store.jetstream.replicas", &replicas);
        Self::with(cluster, nodes, 1, rest).await
    }

    async fn with(cluster: Cluster, nodes: Nodes, partitions: usize, rest: Duration) -> Self {
        let load = Load::begin_with(nodes.three().await, rest);
        let began = Instant::now();
        load.goes_on(SOME).await;
        let usual = load.longest_gap(began);
        Self { cluster, nodes, load, partitions, usual }
    }

    /// The server that leads the first stream of messages, and another one.
    pub fn leader_and_follower(&self) -> (usize, usize) {
        let leader = self.cluster.leader(&self.streams()[0]).unwrap();
        (leader, (leader + 1) % 3)
    }

    /// The streams of messages.
    pub fn streams(&self) -> Vec<String> {
        (0..self.partitions).map(|part| format!("{}-msg-{part}", self.nodes.prefix())).collect()
    }

    /// Looks at what is there before a server is struck.
    pub fn before(&self, server: usize) -> Before {
        Before::look(&self.cluster, server, self.nodes.prefix())
    }

    /// Waits until the load goes on after its leader was killed, and checks that it does in
    /// time.
    pub async fn survives(&self, before: Before) {
        before.survived(&self.cluster, &self.load, KILLED).await;
    }

    /// The same after its leader fell silent.
    pub async fn survives_silence(&self, before: Before) {
        before.survived(&self.cluster, &self.load, SILENT).await;
    }

    /// Waits until the load goes on, and checks that nobody waited longer than `limit` since,
    /// and what a message takes here anyway.
    pub async fn goes_on_within(&self, limit: Duration, since: Instant) {
        let (gap, usual) = (self.gap(since).await, self.usual);
        eprintln!("gap {gap:?}, usually {usual:?}");
        assert!(gap < limit + usual, "the service was away for {gap:?}, usually for {usual:?}");
    }

    /// Waits until the load goes on, and says how long somebody waited since.
    pub async fn gap(&self, since: Instant) -> Duration {
        self.load.goes_on(SOME).await;
        self.load.longest_gap(since)
    }

    /// Checks how long the service was away whenever one of many went by itself. One of them may
    /// have met a moment in which the machine was busy with something else, and took twice as long.
    pub fn handed_over(&self, mut gaps: Vec<Duration>) {
        gaps.sort_unstable();
        eprintln!("gaps {gaps:?}, usually {:?}", self.usual);
        let slowest = gaps.pop().unwrap();
        let in_time = |gap: &Duration| *gap < HANDOVER + self.usual;
        assert!(gaps.iter().all(in_time), "the service was away for {gaps:?} and {slowest:?}");
        assert!(slowest < 2 * HANDOVER + self.usual, "the service was away for {slowest:?}");
    }

    /// Holds the ledger against what nodes find that know nothing yet, one at each server, and
    /// what the servers have against each other.
    pub async fn settle(self) {
        self.load.goes_on(SOME).await;
        let urls = self.cluster.place().urls();
        let mut fresh = Vec::new();
        for server in self.cluster.running() {
            fresh.push(self.nodes.setup_at(&urls[server]).start().await);
        }
        self.load.settle(&fresh).await;
        let streams =
            (0..self.partitions).flat_map(|part| [format!("msg-{part}"), format!("rd-{part}")]);
        replicas::agree(&self.cluster, &self.nodes, &streams.collect::<Vec<_>>()).await;
    }
}

/// How things are right before a server is struck.
pub struct Before {
    pub at: Instant,
    /// The streams that it leads of those that a message needs.
    led: Vec<Led>,
}

/// A stream that a server leads.
struct Led {
    stream: String,
    /// How many elections it has had.
    elections: usize,
    /// And how many votes, of which one that nobody wins is followed by the next.
    term: u64,
}

impl Before {
    pub fn look(cluster: &Cluster, server: usize, prefix: &str) -> Self {
        let of_messages = |stream: &String| {
            let kind = stream.strip_prefix(prefix).unwrap_or_default();
            ["-msg-", "-rd-", "-profiles"].iter().any(|needed| kind.starts_with(needed))
        };
        let led = cluster.led_by(server).into_iter().filter(of_messages);
        let led = led.map(|stream| Led {
            elections: cluster.elections(&stream),
            term: cluster.term(&stream),
            stream,
        });
        let led = led.collect();
        Self { at: Instant::now(), led }
    }

    fn elections(&self, cluster: &Cluster) -> Vec<usize> {
        self.led.iter().map(|led| cluster.elections(&led.stream)).collect()
    }

    /// How many votes it took until each stream had a leader.
    fn votes(&self, cluster: &Cluster) -> u32 {
        let votes = self.led.iter().map(|led| cluster.term(&led.stream).saturating_sub(led.term));
        u32::try_from(votes.max().unwrap_or_default()).unwrap()
    }

    /// Waits until the load goes on, and checks that it does so `within` this time, or soon
    /// after elections that took longer; and no later than these may take.
    pub async fn survived(self, cluster: &Cluster, load: &Load, within: Duration) {
        assert!(!self.led.is_empty(), "it led nothing");
        let a_while = || tokio::time::sleep(Duration::from_millis(20));
        let mut seen = self.elections(cluster);
        while seen.iter().zip(&self.led).any(|(now, led)| *now == led.elections) {
            a_while().await;
            seen = self.elections(cluster);
        }
        let mut elected = Instant::now();
        // Who was chosen may be lost to the others once more before anything is written.
        let mut going_on = std::pin::pin!(load.goes_on(SOME));
        loop {
            tokio::select! {
                () = &mut going_on => break,
                () = a_while() => {}
            }
            let now = self.elections(cluster);
            if now != seen {
                (seen, elected) = (now, Instant::now());
            }
        }
        load.goes_on(1).await;
        let (gap, back) = (load.longest_gap(self.at), load.all_served_after(elected));
        let votes = self.votes(cluster);
        let after = elected - self.at;
        eprintln!("elected after {after:?} by {votes} votes, gap {gap:?}, back {back:?}");
        assert!(
            gap < within || back < BACK,
            "the service was away for {gap:?}, {back:?} of it after the election"
        );
        let longest = DRAW * votes.clamp(1, 3) + NOTICED;
        assert!(gap < longest, "the service was away for {gap:?}, for {votes} votes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_leader_loses_nothing() {
    let mut rig = Rig::of_three_partitions().await;
    let (leader, _) = rig.leader_and_follower();
    let before = rig.before(leader);
    rig.cluster.kill(leader);
    rig.survives(before).await;
    rig.cluster.run(leader);
    rig.cluster.wait();
    rig.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_all_servers_loses_nothing() {
    let mut rig = Rig::of_three_partitions().await;
    for server in 0..3 {
        rig.cluster.kill(server);
    }
    for server in 0..3 {
        rig.cluster.run(server);
    }
    rig.cluster.wait();
    rig.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_hang_lose_nothing() {
    let rig = Rig::new().await;
    let (leader, follower) = rig.leader_and_follower();
    let struck = Instant::now();
    rig.cluster.signal(follower, "STOP");
    // Who is connected to it has to notice.
    rig.goes_on_within(SILENT, struck).await;
    rig.cluster.signal(follower, "CONT");
    rig.cluster.wait();
    let before = rig.before(leader);
    rig.cluster.signal(leader, "STOP");
    join(rig.survives_silence(before), everybody_is_answered(&rig)).await;
    rig.cluster.signal(leader, "CONT");
    rig.cluster.wait();
    rig.settle().await;
}

/// Reads and connects at every node: each question is answered, or its asker told to come again.
async fn everybody_is_answered(rig: &Rig) {
    let mut asking = Vec::new();
    for number in 0..rig.load.nodes() {
        let node = rig.load.node(number);
        for path in ["conversations", "conversations/1/messages"] {
            asking.push(answered(
                PATIENCE,
                Box::pin(async move {
                    let answer = Call::get(91, path).send(node).await;
                    if answer.status != 200 {
                        is_refusal(&answer, 503, "store_unavailable", path);
                    }
                    answer.status
                }),
            ));
        }
        asking.push(answered(
            2 * PATIENCE,
            Box::pin(async move {
                let connecting = Client::reach(node.reached_at(), 77, 0).await;
                let mut client = connecting.expect("a node lets in who brings a token");
                match client.next_or_closed().await {
                    // They have no messages, which has to be read, too.
                    Ok(frame) => {
                        assert_eq!(frame["type"], 6, "{frame}");
                        200
                    }
                    Err(closed) => {
                        assert_eq!(closed.code, 1013, "{closed:?}");
                        503
                    }
                }
            }),
        ));
    }
    eprintln!("while the leader hangs: {:?}", join_all(asking).await);
}

/// What came of a question whose asker is told `within` this time, and after how long.
async fn answered(within: Duration, asking: BoxFuture<'_, u16>) -> (u16, Duration) {
    let began = Instant::now();
    let status = asking.await;
    let took = began.elapsed();
    assert!(took < within + BACK, "{status} after {took:?}");
    (status, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_go_by_themselves_are_hardly_missed() {
    let mut rig = Rig::new().await;
    let mut gaps = Vec::new();
    for how in [Dismissal::Term, Dismissal::LameDuck, Dismissal::Term] {
        let (leader, _) = rig.leader_and_follower();
        let since = Instant::now();
        rig.cluster.dismiss(leader, how);
        rig.cluster.wait_for_end(leader);
        gaps.push(rig.gap(since).await);
        rig.cluster.run(leader);
        rig.cluster.wait();
    }
    rig.handed_over(gaps);
    rig.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_node_loses_nothing() {
    let rig = Rig::new().await;
    for node in 0..2 {
        let struck = Instant::now();
        rig.load.node(node).signal("KILL");
        // Its users connect elsewhere at once.
        rig.goes_on_within(Duration::from_secs(2), struck).await;
    }
    rig.settle().await;
}
