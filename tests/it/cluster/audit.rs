//! The audit log and the ledger of tokens are one for all nodes.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::nats;
use crate::support::{Admin, Claims, Nodes, TestServer, Upgrade, refused};

/// Three nodes that go by their names.
async fn three() -> [TestServer; 3] {
    let nodes = Nodes::on(&nats::shared());
    let named = |name: &str| {
        let setup = nodes.setup().set("store.jetstream.node", &format!("\"{name}\""));
        setup.start()
    };
    [named("a").await, named("b").await, named("c").await]
}

async fn log(node: &TestServer) -> Vec<Value> {
    Admin::get("/admin/audit").lines(node).await
}

async fn issue(node: &TestServer, sub: u64) -> Value {
    Admin::post("/admin/tokens", &json!({ "sub": sub })).done(node).await
}

/// Runs a command on the host of a node: what it prints.
async fn run(node: &TestServer, arguments: &[&str]) -> String {
    let (code, out, err) = node.run(arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out
}

#[tokio::test]
async fn acts_at_all_nodes_at_once_are_one_chain_that_every_node_shows() {
    const EACH: u64 = 8;
    let nodes = three().await;
    let issued = join_all((0..3 * EACH).map(|number| {
        let node = &nodes[(number % 3) as usize];
        issue(node, 1 + number)
    }));
    assert_eq!(issued.await.len(), 3 * EACH as usize);
    let lines = log(&nodes[0]).await;
    for node in &nodes[1..] {
        assert_eq!(log(node).await, lines);
    }
    assert_eq!(lines.len(), 3 * EACH as usize);
    let mut previous = json!("0".repeat(64));
    for (at, line) in lines.iter().enumerate() {
        assert_eq!((&line["n"], &line["prev"]), (&json!(at + 1), &previous));
        previous = line["hash"].clone();
        let name = ["a", "b", "c"][(line["details"]["sub"].as_u64().unwrap() - 1) as usize % 3];
        assert_eq!(line["node"], name, "{line}");
        assert_eq!(line["who"], format!("admin:{}", Admin::USER));
    }
    let subs: BTreeSet<u64> =
        lines.iter().map(|line| line["details"]["sub"].as_u64().unwrap()).collect();
    assert_eq!(subs, (1..=3 * EACH).collect());
    // The command line reads the same log, on whichever host, and adds to it.
    let said = run(&nodes[2], &["audit", "verify", "--expect", previous.as_str().unwrap()]).await;
    assert!(said.contains(&format!("{} lines, all good", 3 * EACH)), "{said}");
    assert!(said.contains("-audit: "), "{said}");
    let token = run(&nodes[1], &["token", "issue", "--sub", "77"]).await;
    assert_eq!(Upgrade::token(token.trim()).send(&nodes[0]).await.status, 101);
    let lines = log(&nodes[0]).await;
    let last = lines.last().unwrap();
    assert_eq!((&last["prev"], &last["node"]), (&previous, &json!("b")), "{last}");
    assert!(last["who"].as_str().unwrap().starts_with("shell:"), "{last}");
    let listed = run(&nodes[0], &["audit", "list"]).await;
    let listed: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed, lines);

    // There is no such copy here, and the log used to say that one was made.
    assert_eq!(Admin::get("/admin/backup").send(&nodes[1]).await.status, 503);
    let lines = log(&nodes[0]).await;
    let newest: Vec<&Value> = lines.iter().rev().take(2).map(|line| &line["act"]).collect();
    assert_eq!(newest, [&json!("backup.failed"), &json!("backup")]);
}

#[tokio::test]
async fn a_token_that_one_node_issued_is_known_and_taken_back_at_another() {
    let [a, b, c] = three().await;
    let made = issue(&a, 7).await;
    let (token, jti) = (made["token"].as_str().unwrap(), made["jti"].as_str().unwrap());
    let other = issue(&b, 8).await;
    for node in [&a, &b, &c] {
        let all = Admin::get("/admin/tokens").lines(node).await;
        let known: Vec<&str> = all.iter().map(|entry| entry["jti"].as_str().unwrap()).collect();
        assert_eq!(known, [jti, other["jti"].as_str().unwrap()]);
        let of_one = Admin::get("/admin/tokens?sub=7").lines(node).await;
        assert_eq!(of_one, all[..1]);
    }
    assert_eq!(Upgrade::token(token).send(&b).await.status, 101);
    let done = Admin::post("/admin/revocations", &json!({ "jti": jti })).done(&c).await;
    assert_eq!(done["remark"], Value::Null, "its end is known from the ledger: {done}");
    let entry = &Admin::get("/admin/tokens?sub=7").lines(&c).await[0];
    let until = done["revoked"]["until"].as_str().unwrap();
    assert!(until > entry["until"].as_str().unwrap() && until < "2999", "{done} {entry}");
    refused(&Upgrade::token(token).send(&a).await, "taken back elsewhere");
    // Whose tokens go all at once, whichever node issued them.
    let later = other["token"].as_str().unwrap();
    Admin::post("/admin/revocations", &json!({ "sub": 8 })).done(&a).await;
    refused(&Upgrade::token(later).send(&c).await, "all of its user's");
    // What came to be known of it is in the log, with the node where it was done.
    let acts: Vec<(Value, Value)> =
        log(&b).await.iter().map(|line| (line["act"].clone(), line["node"].clone())).collect();
    let expected =
        [("token.issue", "a"), ("token.issue", "b"), ("token.revoke", "c"), ("token.revoke", "a")];
    assert_eq!(acts, expected.map(|(act, node)| (json!(act), json!(node))));
    let own = Claims::of(7).token();
    assert_eq!(Upgrade::token(&own).send(&b).await.status, 101, "another token of theirs");
}
