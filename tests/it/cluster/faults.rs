//! Servers and nodes that die and hang under load. Nothing acknowledged is lost, nothing is
//! stored twice, every sender's order is kept, and the service is back in time.

use std::time::{Duration, Instant};

use super::ledger::Load;
use crate::nats::{Cluster, Dismissal};
use crate::support::Nodes;

/// Messages of every sender that show that everything works.
pub const SOME: usize = 25;

/// How long the others may take to have a new leader where the last one is gone without a
/// word: nats-server's followers wait for four to nine seconds, drawn by chance, before they
/// vote, and draw again where nobody wins.
pub const ELECTION: Duration = Duration::from_secs(20);

/// How long the service may take once all streams that it needs have a leader.
pub const BACK: Duration = Duration::from_secs(1);

/// How long the service may be away where the leader is killed, unless the election alone took
/// longer.
pub const KILLED: Duration = Duration::from_secs(6);

/// How long it may be away where a server falls silent without being gone: who is connected to
/// it asks three times, a second apart, perhaps tries it once more for two seconds before it
/// goes elsewhere, and sends again. If it led, the others vote meanwhile.
pub const SILENT: Duration = Duration::from_secs(10);

/// How long a server that goes by itself may be missed.
pub const HANDOVER: Duration = Duration::from_secs(1);

pub struct Rig {
    pub cluster: Cluster,
    pub nodes: Nodes,
    pub load: Load,
}

impl Rig {
    pub async fn new() -> Self {
        Self::on(Cluster::start()).await
    }

    pub async fn on(cluster: Cluster) -> Self {
        let nodes = Nodes::on(cluster.place());
        let load = Load::begin(nodes.three().await);
        load.goes_on(SOME).await;
        Self { cluster, nodes, load }
    }

    /// The server that leads the stream of messages, and one that does not.
    pub fn leader_and_follower(&self) -> (usize, usize) {
        let leader = self.cluster.leader(&self.stream()).unwrap();
        (leader, (leader + 1) % 3)
    }

    /// The stream of all messages.
    pub fn stream(&self) -> String {
        format!("{}-msg-0", self.nodes.prefix())
    }

    /// Looks at what is there before the leader is struck.
    pub fn before(&self) -> Before {
        Before::look(&self.cluster, self.nodes.prefix())
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

    /// Waits until the load goes on, and checks that nobody waited longer than `limit` since.
    pub async fn goes_on_within(&self, limit: Duration, since: Instant) {
        self.load.goes_on(SOME).await;
        let gap = self.load.longest_gap(since);
        eprintln!("gap {gap:?}");
        assert!(gap < limit, "the service was away for {gap:?}");
    }

    /// Holds the ledger against what a node finds that knows nothing yet.
    pub async fn settle(self) {
        self.load.goes_on(SOME).await;
        let fresh = self.nodes.start().await;
        self.load.settle(&fresh).await;
    }
}

/// How things are right before the leader of the messages is struck.
pub struct Before {
    pub at: Instant,
    /// The streams that it leads of those that a message needs, with the elections that each
    /// has had.
    led: Vec<(String, usize)>,
}

impl Before {
    pub fn look(cluster: &Cluster, prefix: &str) -> Self {
        let of = |kind| format!("{prefix}-{kind}");
        let leader = cluster.leader(&of("msg-0")).unwrap();
        let needed = ["msg-0", "rd-0", "profiles"].map(of);
        let led = needed.into_iter().filter(|stream| cluster.leader(stream) == Some(leader));
        let led = led.map(|stream| (stream.clone(), cluster.elections(&stream))).collect();
        Self { at: Instant::now(), led }
    }

    /// Waits until the load goes on, and checks that it does so `within` this time, or soon
    /// after the last of the elections, if that took longer.
    pub async fn survived(self, cluster: &Cluster, load: &Load, within: Duration) {
        while self.led.iter().any(|(stream, before)| cluster.elections(stream) == *before) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let elected = Instant::now();
        load.goes_on(SOME).await;
        let (gap, back) = (load.longest_gap(self.at), load.all_served_after(elected));
        eprintln!("elected after {:?}, gap {gap:?}, back {back:?}", elected - self.at);
        assert!(gap < within || back < BACK, "the service was back {back:?} after the election");
        assert!(gap < ELECTION + BACK, "the service was away for {gap:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_leader_loses_nothing() {
    let mut rig = Rig::new().await;
    let (leader, _) = rig.leader_and_follower();
    let before = rig.before();
    rig.cluster.kill(leader);
    rig.survives(before).await;
    rig.cluster.run(leader);
    rig.cluster.wait();
    rig.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_all_servers_loses_nothing() {
    let mut rig = Rig::new().await;
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
    let before = rig.before();
    rig.cluster.signal(leader, "STOP");
    rig.survives_silence(before).await;
    rig.cluster.signal(leader, "CONT");
    rig.cluster.wait();
    rig.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_go_by_themselves_are_hardly_missed() {
    let mut rig = Rig::new().await;
    for how in [Dismissal::Term, Dismissal::LameDuck] {
        let (leader, _) = rig.leader_and_follower();
        let since = Instant::now();
        rig.cluster.dismiss(leader, how);
        rig.cluster.wait_for_end(leader);
        rig.goes_on_within(HANDOVER, since).await;
        rig.cluster.run(leader);
        rig.cluster.wait();
    }
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
