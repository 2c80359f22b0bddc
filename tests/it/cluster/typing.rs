//! Who is typing is told at every node, and kept at none.

use serde_json::json;

use crate::nats;
use crate::support::{Nodes, V2, frame, named};

#[tokio::test]
async fn typing_is_told_at_every_node_once_and_to_nobody_else() {
    let nodes = Nodes::on(&nats::shared()).three().await;
    let (mut hong, mut devices, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
    for (at, node) in nodes.iter().enumerate() {
        hong.push(V2::of(node, 2).quiet().await);
        devices.push(V2::of(node, 1).quiet().await);
        strangers.push(V2::of(node, 3 + at as u64).quiet().await);
    }
    let mut plain = nodes[1].connect(2).await;
    let mut typing = frame(1, 2, "", "t");
    typing["type"] = json!(4);
    let told = json!({
        "fromId": 1, "toId": 2, "type": 4, "content": "", "timestamp": "", "Describe": "",
    });
    for (at, device) in devices.iter_mut().enumerate() {
        // One a second is enough, as on one machine.
        for _ in 0..3 {
            device.send(&typing).await;
        }
        for (node, connection) in hong.iter_mut().enumerate() {
            assert_eq!(connection.next().await, told, "from {at} to {node}");
        }
    }
    // Whatever else was told would come before what is stored after it.
    let mut typing = devices.swap_remove(0);
    typing.send(&named(1, 2, "typed", "n-1", false)).await;
    assert_eq!(typing.next().await["type"], 0, "no echo");
    for connection in &mut hong {
        assert_eq!(connection.message().await.1, "typed");
    }
    assert_eq!(plain.message().await.1, "typed", "a plain client hears of messages alone");
    for device in &mut devices {
        assert_eq!(device.next().await["content"], "typed", "nor an echo to other devices");
    }
    for stranger in &mut strangers {
        stranger.nothing_came().await;
    }
}
