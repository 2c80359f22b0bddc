//! An erasure whose node is killed half-way.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::nats;
use crate::support::{Call, Claims, Nodes, Stranger, TestServer, post_message, within};

const WHO: u64 = 2;

/// Who wrote to them: each is a pair to erase, sixteen at a time.
const PEERS: u64 = 400;
const AT_ONCE: u64 = 20;

/// How many messages there are.
async fn stored(stranger: &Stranger) -> u64 {
    let info = stranger.ask("STREAM.INFO", "msg-0", &json!({})).await;
    info["state"]["messages"].as_u64().unwrap()
}

/// What they find who were erased, with a token of later: conversations and name.
async fn of(node: &TestServer) -> [Value; 2] {
    let token = Claims::of(WHO).with("iat", Claims::now() + 2).token();
    let list = Call::get(WHO, "conversations").token(&token).done(node).await;
    let me = Call::get(WHO, "me").token(&token).done(node).await;
    [list["conversations"].clone(), me["userName"].clone()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_is_killed_goes_on_at_the_next_node() {
    let nodes = Nodes::on(&nats::shared());
    let (node, other) = (nodes.start().await, nodes.start().await);
    let token = Claims::of(WHO).with("name", "gone soon").token();
    assert_eq!(Call::get(WHO, "me").token(&token).done(&other).await["userName"], "gone soon");
    for first in (0..PEERS).step_by(AT_ONCE as usize) {
        let peers = (first..first + AT_ONCE).map(|peer| 1000 + peer);
        join_all(peers.map(|peer| post_message(&other, peer, WHO, "for who goes"))).await;
    }
    post_message(&other, 1000, 3, "for who stays").await;
    let stranger = nodes.stranger().await;
    assert_eq!(stored(&stranger).await, PEERS + 1);

    let mut erasing = node.command(&["erase", "--sub", "2", "--yes"]);
    let mut erasing = erasing.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    within("the erasure to begin", async {
        while stored(&stranger).await > PEERS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    node.kill();
    assert!(!erasing.wait().unwrap().success(), "it was not done");
    let left = stored(&stranger).await;
    assert!((2..=PEERS).contains(&left), "{left} were left");

    let next = nodes.start().await;
    within("the rest to go", async {
        while stored(&stranger).await > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while of(&next).await != [json!([]), json!("")] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(of(&other).await, [json!([]), json!("")]);
    let list = Call::get(1000, "conversations").done(&other).await;
    let peers = list["conversations"].as_array().unwrap();
    assert_eq!((peers.len(), &peers[0]["peerId"]), (1, &json!(3)), "{list}");
}
