//! Servers and nodes that die and hang under load. Nothing acknowledged is lost, nothing is
//! stored twice, and every sender's order is kept.

use super::ledger::Load;
use crate::nats::Cluster;
use crate::support::Nodes;

/// Messages that show that everything works.
const SOME: usize = 150;

struct Rig {
    cluster: Cluster,
    nodes: Nodes,
    load: Load,
}

impl Rig {
    async fn new() -> Self {
        let cluster = Cluster::start();
        let nodes = Nodes::on(cluster.place());
        let load = Load::begin(nodes.three().await);
        load.goes_on(SOME).await;
        Self { cluster, nodes, load }
    }

    /// The server that leads the stream of messages, and one that does not.
    fn leader_and_follower(&self) -> (usize, usize) {
        let stream = format!("{}-msg-0", self.nodes.prefix());
        let leader = self.cluster.leader(&stream).unwrap();
        (leader, (leader + 1) % 3)
    }

    /// Holds the ledger against what a node finds that knows nothing yet.
    async fn settle(self) {
        self.load.goes_on(SOME).await;
        let fresh = self.nodes.start().await;
        self.load.settle(&fresh).await;
    }
}

#[tokio::test]
async fn killing_the_leader_loses_nothing() {
    let mut rig = Rig::new().await;
    for _ in 0..2 {
        let (leader, _) = rig.leader_and_follower();
        rig.cluster.kill(leader);
        rig.load.goes_on(SOME).await;
        rig.cluster.run(leader);
        rig.cluster.wait();
    }
    rig.settle().await;
}

#[tokio::test]
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

#[tokio::test]
async fn servers_that_hang_lose_nothing() {
    let rig = Rig::new().await;
    let (leader, follower) = rig.leader_and_follower();
    rig.cluster.signal(follower, "STOP");
    rig.load.goes_on(SOME).await;
    rig.cluster.signal(follower, "CONT");
    rig.cluster.wait();
    rig.cluster.signal(leader, "STOP");
    rig.load.goes_on(SOME).await;
    rig.cluster.signal(leader, "CONT");
    rig.cluster.wait();
    rig.settle().await;
}

#[tokio::test]
async fn killing_a_node_loses_nothing() {
    let rig = Rig::new().await;
    for node in 0..2 {
        rig.load.node(node).signal("KILL");
        rig.load.goes_on(SOME).await;
    }
    rig.settle().await;
}
