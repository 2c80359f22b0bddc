//! How all nodes are, asked at any.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::connections::named;
use crate::nats;
use crate::support::{Admin, Nodes, TestServer, within};

/// Asks until all is as it should be: a busy node may not answer in its second.
async fn nodes_once(node: &TestServer, what: &str, are: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let nodes = Admin::get("/admin/nodes").done(node).await;
            if are(&nodes) {
                return nodes;
            }
        }
    };
    within(what, asking).await
}

#[tokio::test]
async fn how_all_nodes_are_is_told_at_any() {
    let nodes = Nodes::on(&nats::shared());
    let [a, b] = named(&nodes, ["a", "b"]).await;
    let _at_a = a.connect(1).await;
    let _at_b = [b.connect(1).await, b.connect(1).await, b.connect(2).await];
    // What one refuses of its files is seen at the other.
    let path = b.setup().path("config.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{good}\nnonsense = 1\n")).unwrap();
    Admin::new("POST", "/admin/reload", "").done(&b).await;

    let expected = [("a", 1, 1, json!([])), ("b", 3, 2, json!(["configuration"]))];
    for node in [&a, &b] {
        let told = nodes_once(node, "all nodes", |nodes| nodes["unanswered"] == json!([])).await;
        let told = told["nodes"].as_array().unwrap();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (one, (name, connections, users, refused)) in told.iter().zip(&expected) {
            assert_eq!(
                (&one["node"], &one["connections"], &one["users"], &one["notInForce"]),
                (&json!(name), &json!(connections), &json!(users), refused)
            );
            assert_eq!(
                (&one["version"], &one["store"]),
                (&json!(env!("CARGO_PKG_VERSION")), &json!({ "health": "ready" }))
            );
            assert!(one["uptimeSeconds"].is_u64(), "{one}");
        }
    }

    let shown = within("all nodes on the command line", async {
        loop {
            let (code, out, err) = a.run(&["status"]).await;
            if code == 0 {
                return out;
            }
            assert!(err.contains("not every node answered (b)"), "{out}{err}");
        }
    })
    .await;
    assert!(shown.starts_with("server ") && shown.contains(", the node a\n"), "{shown}");
    let lines: BTreeMap<&str, &str> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("node ")?.trim_start().split_once(": imserver "))
        .collect();
    assert!(lines["a"].ends_with(", ready, 1 connection of 1 user"), "{shown}");
    let of_b = ", ready, 3 connections of 2 users, the configuration in the file refused";
    assert!(lines["b"].ends_with(of_b), "{shown}");

    b.signal("STOP");
    let (code, out, err) = a.run(&["status", "--json"]).await;
    assert_eq!(code, 1, "{out}");
    assert!(err.contains("not every node answered (b): how they are is not known"), "{err}");
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&status["node"], &status["unanswered"]), (&json!("a"), &json!(["b"])), "{out}");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 1, "{out}");
    b.signal("CONT");
    nodes_once(&a, "one that goes on", |nodes| nodes["unanswered"] == json!([])).await;
}

#[tokio::test]
async fn two_nodes_of_one_name_say_so() {
    let nodes = Nodes::on(&nats::shared());
    let [a, b] = named(&nodes, ["twin", "twin"]).await;
    for node in [&a, &b] {
        node.log_says("another node has this name too").await;
        node.log_says("give each its own, store.jetstream.node").await;
    }
}
