//! A bit changes on the disk of a NATS server, which then says of that message that there is none.

use std::fs;

use serde_json::{Value, json};

use super::replicas;
use crate::nats::{Cluster, Dismissal};
use crate::support::{Call, Nodes, Stranger, TestServer, V2, described, is_refusal, post_message};

/// More than one page of the chain by which a conversation is read.
const SENT: usize = 40;

/// One that nothing hangs on, one that knows of all before it, and the newest.
const ROTTEN: [usize; 3] = [5, 31, SENT - 1];

/// How often each thing is read: by chance another replica is asked each time.
const READS: usize = 8;

fn text(number: usize) -> String {
    format!("message {number} of {SENT}")
}

/// A cluster in whose first stream are messages that one user wrote to another.
struct Rig {
    cluster: Cluster,
    nodes: Nodes,
    stranger: Stranger,
    ids: Vec<u64>,
}

impl Rig {
    async fn new() -> Self {
        let cluster = Cluster::start();
        let nodes = Nodes::on(cluster.place());
        let node = nodes.start().await;
        let mut ids = Vec::new();
        for number in 0..SENT {
            ids.push(post_message(&node, 1, 2, &text(number)).await);
        }
        let stranger = nodes.stranger().await;
        Self { cluster, nodes, stranger, ids }
    }

    fn stream(&self) -> String {
        format!("{}-msg-0", self.nodes.prefix())
    }

    /// Stops a server, changes what is on its disk, and starts it again.
    fn while_stopped(&mut self, server: usize, change: impl FnOnce(&std::path::Path)) {
        self.cluster.dismiss(server, Dismissal::Term);
        self.cluster.wait_for_end(server);
        let folder = self.cluster.place().store(server);
        change(&folder.join("jetstream/$G/streams").join(self.stream()).join("msgs"));
        self.cluster.run(server);
        self.cluster.wait();
    }

    /// Has a bit of these messages change on a server's disk.
    fn rot(&mut self, server: usize, numbers: &[usize]) {
        self.while_stopped(server, |folder| {
            let block = folder.join("1.blk");
            let mut bytes = fs::read(&block).unwrap();
            for number in numbers {
                let text = text(*number);
                let found = bytes.windows(text.len()).rposition(|it| it == text.as_bytes());
                bytes[found.unwrap()] ^= 1;
            }
            fs::write(block, bytes).unwrap();
        });
    }

    /// Has a server lead the stream.
    async fn lead(&self, server: usize) {
        replicas::lead(&self.cluster, &self.nodes, &self.stranger, "msg-0", server).await;
    }

    /// Whether the stream's leader finds a message.
    async fn leader_has(&self, number: usize) -> bool {
        let ask = json!({ "seq": self.ids[number] });
        let answer = self.stranger.ask("STREAM.MSG.GET", "msg-0", &ask).await;
        answer["error"].is_null()
    }
}

fn texts(messages: &Value) -> Vec<String> {
    let text = |message: &Value| message["content"].as_str().unwrap().to_owned();
    messages.as_array().unwrap().iter().map(text).collect()
}

/// Reads everything in every way, which must be there; of all at once it may be told that it is not.
async fn all_is_there(node: &TestServer, may_fail: bool) {
    let all: Vec<String> = (0..SENT).map(text).collect();
    for _ in 0..READS {
        let page = Call::get(2, "conversations/1/messages?limit=100").done(node).await;
        assert_eq!(texts(&page["messages"]), all);
        for after in [Some(0), None] {
            let client = V2::of(node, 2);
            let client = if let Some(after) = after { client.after(after) } else { client };
            let (_, messages, report) = client.replayed().await;
            assert_eq!(texts(&Value::from(messages)), all);
            assert_eq!(described(&report)["complete"], true);
        }
        let list = Call::get(2, "conversations").done(node).await;
        assert_eq!(list["unreadTotal"], SENT, "{list}");
        assert_eq!(list["conversations"][0]["lastMessage"]["content"], text(SENT - 1), "{list}");
        assert_eq!(export(node, &["--sub", "2"]).await, Ok(all.clone()));
        // Where everything is read in one go, a hole is found at the end.
        match export(node, &[]).await {
            Ok(found) => assert_eq!(found, all),
            Err(why) => assert!(may_fail && why.contains("a server cannot read"), "{why}"),
        }
    }
}

/// The contents of all messages that a node gives out, or why it does not.
async fn export(node: &TestServer, of: &[&str]) -> Result<Vec<String>, String> {
    let file = node.setup().path("export.jsonl");
    let _ = fs::remove_file(&file);
    let (code, _, why) = node.run(&[&["export", file.to_str().unwrap()], of].concat()).await;
    if code != 0 {
        return Err(why + &node.log());
    }
    let lines = fs::read_to_string(file).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    Ok(lines.filter_map(|line| line["content"].as_str().map(str::to_owned)).collect())
}

/// A history used to leave such a message out, and ended where it was the first of a page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_leader_cannot_read_is_read_from_another_server() {
    let mut rig = Rig::new().await;
    let server = rig.cluster.leader(&rig.stream()).unwrap();
    rig.rot(server, &ROTTEN);
    rig.lead(server).await;
    for number in ROTTEN {
        assert!(!rig.leader_has(number).await, "{number}: nothing is amiss");
    }
    all_is_there(&rig.nodes.start().await, true).await;
    // What the runbook says: without its index a server reads all that it has, and has what it
    // cannot read brought by the others.
    rig.while_stopped(server, |folder| fs::remove_file(folder.join("index.db")).unwrap());
    rig.lead(server).await;
    for number in 0..SENT {
        assert!(rig.leader_has(number).await, "{number} was not brought again");
    }
    all_is_there(&rig.nodes.start().await, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_server_can_read_is_not_left_out_in_silence() {
    let mut rig = Rig::new().await;
    for server in 0..3 {
        rig.rot(server, &ROTTEN[..1]);
    }
    let node = rig.nodes.start().await;
    let answer = Call::get(2, "conversations/1/messages?limit=100").send(&node).await;
    is_refusal(&answer, 503, "store_unavailable", "a history with a hole");
    let closed = V2::of(&node, 2).after(0).connect().await.closed().await;
    assert_eq!(closed.code, 1013, "{closed:?}");
    node.log_says("no server can read").await;
    // What does not need it is served.
    let page = Call::get(2, "conversations/1/messages?limit=10").done(&node).await;
    assert_eq!(texts(&page["messages"]), (SENT - 10..SENT).map(text).collect::<Vec<_>>());
}
