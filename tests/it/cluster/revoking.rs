//! What an administrator takes back at one node is worth nothing at any, within a second.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::nats::{self, Cluster};
use crate::support::{Admin, Call, Claims, Client, Closed, Nodes, TestServer, Upgrade, refused};

/// The contract's second, once the act is acknowledged.
const SOON: Duration = Duration::from_secs(1);

fn gone() -> Closed {
    Closed { code: 4403, reason: "token_revoked".to_owned() }
}

/// How long leaders may take to be where a test wants them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does what needs no body.
async fn act_of(node: &TestServer, target: &str) {
    let answer = Admin::new("POST", target, "").send(node).await;
    assert!(matches!(answer.status, 200..300), "{target}: {answer:?}");
}

/// Connections of a token at every node.
async fn everywhere(nodes: &[TestServer], user: u64, token: &str) -> Vec<Client> {
    let mut connections = Vec::new();
    for node in nodes {
        connections.push(Client::with_token(node, user, token).await);
    }
    connections
}

/// All connections end within a second after `done`, and the token opens none.
async fn over_within_a_second(
    done: Instant,
    nodes: &[TestServer],
    token: &str,
    connections: &mut [Client],
) {
    for (node, connection) in connections.iter_mut().enumerate() {
        assert_eq!(connection.closed().await, gone(), "node {node}");
    }
    let took = done.elapsed();
    assert!(took <= SOON, "{took:?}");
    for node in nodes {
        refused(&Upgrade::token(token).send(node).await, "taken back");
    }
}

#[tokio::test]
async fn each_way_to_take_tokens_back_holds_at_every_node_within_a_second() {
    let nodes = Nodes::on(&nats::shared()).three().await;
    for (at, act) in ["jti", "sub", "disable"].into_iter().enumerate() {
        let (node, user) = (&nodes[at], 1 + at as u64);
        let token = Claims::of(user).with("jti", format!("leaked-{user}")).token();
        let mut connections = everywhere(&nodes, user, &token).await;
        match act {
            "jti" => {
                let body = json!({ "jti": format!("leaked-{user}") });
                Admin::post("/admin/revocations", &body).done(node).await;
            }
            "sub" => {
                Admin::post("/admin/revocations", &json!({ "sub": user })).done(node).await;
            }
            _ => {
                act_of(node, &format!("/admin/users/{user}/disable")).await;
            }
        }
        over_within_a_second(Instant::now(), &nodes, &token, &mut connections).await;
    }
    // Who is disabled at one node is let in again at another, and comes in at the third.
    let token = Claims::of(3).with("jti", "leaked-3").token();
    act_of(&nodes[0], "/admin/users/3/enable").await;
    let done = Instant::now();
    while Upgrade::token(&token).send(&nodes[1]).await.status != 101 {
        assert!(done.elapsed() <= SOON, "still out");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_erasure_at_one_node_ends_the_users_connections_at_all_and_takes_what_they_sent() {
    let nodes = Nodes::on(&nats::shared()).three().await;
    let token = Claims::of(1).token();
    let mut connections = everywhere(&nodes, 1, &token).await;
    for (at, connection) in connections.iter_mut().enumerate() {
        connection.say(2, &format!("from {at}"), &at.to_string()).await;
    }
    let erased = Admin::new("DELETE", "/admin/users/1", "").done(&nodes[0]).await;
    assert_eq!(erased["messages"], 3, "{erased}");
    // What any of them had under way came before.
    over_within_a_second(Instant::now(), &nodes, &token, &mut connections).await;
    for node in &nodes {
        let list = Call::get(2, "conversations").done(node).await;
        assert_eq!(list["conversations"], json!([]), "{list}");
    }
}

#[tokio::test]
async fn a_node_that_was_away_learns_at_once_what_was_taken_back_meanwhile() {
    let nodes = Nodes::on(&nats::shared());
    let [a, b] = [nodes.start().await, nodes.start().await];
    let token = Claims::of(1).with("jti", "leaked").token();
    let mut connection = Client::with_token(&b, 1, &token).await;
    // Its process does nothing, as when its machine is frozen.
    b.signal("STOP");
    Admin::post("/admin/revocations", &json!({ "jti": "leaked" })).done(&a).await;
    b.signal("CONT");
    let back = Instant::now();
    assert_eq!(connection.closed().await, gone());
    let took = back.elapsed();
    assert!(took <= SOON, "{took:?}");
    refused(&Upgrade::token(&token).send(&b).await, "taken back");
}

/// Sees to it that one server leads the profiles, and another one whatever else is written here.
async fn only_the_profiles_are_led_by(server: usize, cluster: &Cluster, nodes: &Nodes) {
    let stranger = nodes.stranger().await;
    let end = Instant::now() + PATIENCE;
    for stream in ["profiles", "msg-0", "rd-0", "revoked", "audit"] {
        let name = format!("{}-{stream}", nodes.prefix());
        let is_so = || {
            let leader = cluster.leader(&name);
            leader.is_some_and(|leader| (leader == server) == (stream == "profiles"))
        };
        let wanted = if stream == "profiles" { server } else { (server + 1) % 3 };
        while !is_so() {
            let body = json!({ "placement": { "preferred": format!("n{wanted}") } });
            let answer = stranger.ask("STREAM.LEADER.STEPDOWN", stream, &body).await;
            // Perhaps it has no leader at this moment, who could step down.
            assert!(Instant::now() < end, "{stream}: {answer}");
            let asked = Instant::now();
            while !is_so() && asked.elapsed() < SOON {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_revocation_waits_for_nothing_else_that_a_node_has_to_read() {
    let cluster = Cluster::start();
    let others = &cluster.place().urls()[1..];
    let nodes =
        Nodes::on(cluster.place()).set("store.jetstream.servers", &json!(others).to_string());
    let [a, b] = [nodes.start().await, nodes.start().await];
    let token = Claims::of(1).with("jti", "leaked").token();
    let mut connection = Client::with_token(&b, 1, &token).await;
    let (mut stranger, mut reader) = (Client::connect(&a, 7).await, Client::connect(&b, 8).await);
    // What comes next is told as it was heard: the inbox need not be read for it.
    Client::connect(&a, 1).await.say(8, "the first", "1").await;
    assert_eq!(reader.message().await.1, "the first");
    only_the_profiles_are_led_by(0, &cluster, &nodes).await;
    cluster.signal(0, "STOP");
    // Nobody can say what they are called.
    stranger.say(8, "who am I?", "1").await;
    let said = Instant::now();
    Admin::post("/admin/revocations", &json!({ "jti": "leaked" })).done(&a).await;
    let done = Instant::now();
    assert_eq!(connection.closed().await, gone());
    let took = done.elapsed();
    assert!(took <= SOON, "{took:?}");
    refused(&Upgrade::token(&token).send(&b).await, "taken back");
    // What they say does not wait for it either.
    assert_eq!(reader.message().await.1, "who am I?");
    let took = said.elapsed();
    assert!(took <= 2 * SOON, "{took:?}");
}
