//! Networks that are cut: who is on the side of the few acknowledges nothing, the others go
//! on, and healed they agree.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::faults::{Before, ELECTION, REST, SILENT, SOME};
use super::load::Load;
use super::replicas;
use crate::nats::{Cluster, Network};
use crate::support::{
    Client, Nodes, Setup, TestServer, V2, admin, described, named, or_not_tested,
};

/// The machines: three servers, and a node on each of the others.
const NODES: [usize; 3] = [3, 4, 5];

/// Who sends over the node that is cut off, and to whom.
const ALONE: u64 = 11;
const FRIEND: u64 = 12;

struct Rig {
    nodes: Nodes,
    load: Load,
    /// A node without load, whose side of the network is the test's matter.
    alone: TestServer,
    // Goes after what runs on it.
    cluster: Cluster,
}

impl Rig {
    async fn new() -> Option<Self> {
        let network = or_not_tested(Network::of(3 + NODES.len()))?;
        let cluster = Cluster::start_on(network);
        let nodes = Nodes::on(cluster.place());
        let setup = || nodes.setup();
        let [alone, one, other] = NODES.map(|machine| start(setup(), &cluster, machine));
        let (alone, one, other) = (alone.await, one.await, other.await);
        let load = Load::begin_with([one, other], REST);
        load.goes_on(SOME).await;
        Some(Self { nodes, load, alone, cluster })
    }

    fn network(&self) -> &Network {
        self.cluster.network().unwrap()
    }

    /// Waits until the node alone is ready.
    async fn ready(&self) {
        self.says(200, "").await;
    }

    /// Waits until it is not ready for this reason; on the way there may be another.
    async fn unready(&self, why: &str) {
        self.says(503, why).await;
    }

    async fn says(&self, status: u16, words: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = admin(&self.alone, "/readyz").await;
            if answer.status == status && answer.body.contains(words) {
                return;
            }
            assert!(Instant::now() < end, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn settle(self) {
        self.load.goes_on(SOME).await;
        // What was sent over the node alone is there once.
        let (_, messages, _) = V2::of(self.load.node(0), FRIEND).after(0).replayed().await;
        let texts: Vec<&Value> = messages.iter().map(|message| &message["content"]).collect();
        assert_eq!(texts, ["before", "while it was cut"]);
        // A node that knows nothing yet at each server, and one that was cut off.
        let mut nodes = vec![self.alone];
        for (server, url) in self.cluster.place().urls().iter().enumerate() {
            let setup = self.nodes.setup_at(url);
            nodes.push(start(setup, &self.cluster, NODES[server]).await);
        }
        self.load.settle(&nodes).await;
        let streams = ["msg-0", "rd-0"].map(str::to_owned);
        replicas::agree(&self.cluster, &self.nodes, &streams).await;
    }
}

async fn start(setup: Setup, cluster: &Cluster, machine: usize) -> TestServer {
    let network = cluster.network().unwrap();
    let listen = format!("\"{}:0\"", network.address(machine));
    let setup = setup.set("server.listen", &listen).set("server.admin_listen", &listen);
    let command = network.on_machine(machine, &setup.command(&["serve"]));
    setup.start_by(command).await
}

/// Sends a packet and waits for the answer: its type, with the code of a failure.
async fn put(client: &mut Client, content: &str, again: bool) -> (u64, Option<String>) {
    client.send(&named(ALONE, FRIEND, content, content, again)).await;
    loop {
        let frame = client.answer_at_last().await.unwrap();
        let code = || described(&frame)["code"].as_str().unwrap().to_owned();
        match frame["type"].as_u64() {
            Some(0) => return (0, None),
            Some(1) => return (1, Some(code())),
            _ => {}
        }
    }
}

/// Sends a packet again until it is acknowledged: where leaders of two terms meet, a third one
/// is chosen.
async fn insist(client: &mut Client, content: &str) {
    let insisting = async { while put(client, content, true).await != (0, None) {} };
    assert!(tokio::time::timeout(ELECTION, insisting).await.is_ok(), "not acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_acknowledges_nothing() {
    let Some(rig) = Rig::new().await else { return };
    let stream = format!("{}-msg-0", rig.nodes.prefix());
    let leader = rig.cluster.leader(&stream).unwrap();
    let mut client = V2::of(&rig.alone, ALONE).quiet().await;
    assert_eq!(put(&mut client, "before", false).await, (0, None));

    let others: Vec<usize> = (0..3).filter(|server| *server != leader).collect();
    let [alone, majority @ ..] = NODES;
    let (struck, before) = (Instant::now(), Before::look(&rig.cluster, leader, rig.nodes.prefix()));
    rig.network().cut(&[leader, alone], &[&others[..], &majority[..]].concat());
    let refused = put(&mut client, "while it was cut", false);
    let goes_on = before.survived(&rig.cluster, &rig.load, SILENT);
    let (answer, ()) = tokio::join!(refused, goes_on);
    assert_eq!(answer, (1, Some("store_unavailable".to_owned())));
    eprintln!("refused after {:?}", struck.elapsed());
    rig.unready("no leader with a majority").await;
    eprintln!("not ready after {:?}", struck.elapsed());

    rig.network().heal();
    rig.ready().await;
    insist(&mut client, "while it was cut").await;
    rig.cluster.wait();
    rig.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_says_so_and_the_others_go_on() {
    let Some(rig) = Rig::new().await else { return };
    let stream = format!("{}-msg-0", rig.nodes.prefix());
    let mut client = V2::of(&rig.alone, ALONE).quiet().await;
    assert_eq!(put(&mut client, "before", false).await, (0, None));

    // A follower: only who is connected to it notices, as with one that hangs.
    let leader = rig.cluster.leader(&stream).unwrap();
    let follower = (leader + 1) % 3;
    let rest: Vec<usize> = (0..6).filter(|machine| *machine != follower).collect();
    let struck = Instant::now();
    rig.network().cut(&[follower], &rest);
    rig.load.goes_on(SOME).await;
    let gap = rig.load.longest_gap(struck);
    eprintln!("gap {gap:?}");
    assert!(gap < SILENT, "the service was away for {gap:?}");
    rig.network().heal();
    rig.cluster.wait();

    // A node: it says so, and takes nothing.
    let struck = Instant::now();
    rig.network().cut(&NODES[..1], &[0, 1, 2]);
    rig.unready("no NATS server can be reached").await;
    eprintln!("not ready after {:?}", struck.elapsed());
    let answer = put(&mut client, "while it was cut", false).await;
    assert_eq!(answer, (1, Some("store_unavailable".to_owned())));
    rig.load.goes_on(SOME).await;
    rig.network().heal();
    let healed = Instant::now();
    rig.ready().await;
    eprintln!("ready again after {:?}", healed.elapsed());
    insist(&mut client, "while it was cut").await;
    rig.settle().await;
}
