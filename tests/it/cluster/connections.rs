//! Who is connected at any node, and sending them away from any other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nats::{self, Cluster};
use crate::support::{Admin, Client, Nodes, TestServer, V2, admin, is_refusal, within};

/// Nodes by these names.
pub(super) async fn named<const N: usize>(nodes: &Nodes, names: [&str; N]) -> [TestServer; N] {
    let mut started = Vec::new();
    for name in names {
        started.push(nodes.setup().env("IMSERVER_STORE__JETSTREAM__NODE", name).start().await);
    }
    started.try_into().unwrap()
}

async fn page(node: &TestServer, query: &str) -> Value {
    Admin::get(&format!("/admin/connections{query}")).done(node).await
}

/// Waits for a page that is as it should be.
async fn page_once(node: &TestServer, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let looking = async {
        loop {
            let page = page(node, "").await;
            if is(&page) {
                return page;
            }
        }
    };
    within(what, looking).await
}

/// Users with their nodes.
fn who_is_where(page: &Value) -> BTreeSet<(u64, String)> {
    let all = page["connections"].as_array().unwrap().iter();
    all.map(|one| (one["userId"].as_u64().unwrap(), one["node"].as_str().unwrap().to_owned()))
        .collect()
}

async fn delete(node: &TestServer, target: &str) -> Value {
    Admin::new("DELETE", &format!("/admin/connections{target}"), "").done(node).await
}

async fn sent_away(connection: &mut Client) {
    let closed = connection.closed().await;
    assert_eq!(closed.code, 1001);
    assert!(closed.reason.starts_with("drain retry_ms="), "{closed:?}");
}

#[tokio::test]
async fn connections_of_all_nodes_are_listed_and_closed_at_any() {
    let nodes = Nodes::on(&nats::shared());
    let [a, b, c] = named(&nodes, ["a", "b", "c"]).await;
    let mut ming = [a.connect(1).await, b.connect(1).await, c.connect(1).await];
    let mut hong = b.connect(2).await;
    let _lan = V2::of(&c, 3).connect().await;

    let all = [(1, "a"), (1, "b"), (1, "c"), (2, "b"), (3, "c")];
    let all = all.map(|(user, node)| (user, node.to_owned())).into();
    for node in [&a, &b, &c] {
        // A busy node may not answer in its second.
        let page = page_once(node, "all nodes", |page| page["unanswered"] == json!([])).await;
        assert_eq!(page["total"], 5, "{page}");
        assert_eq!(who_is_where(&page), all);
    }
    // In pages, by user and by key, and on the command line.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(&a, &format!("?limit=2{cursor}")).await;
        assert_eq!(page["total"], 5);
        let ids = page["connections"].as_array().unwrap().iter();
        seen.extend(ids.map(|one| one["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(seen.len() == 5 && seen.is_sorted(), "{seen:?}");
    let of_hong = page(&a, "?user=2").await;
    assert_eq!(who_is_where(&of_hong), [(2, "b".to_owned())].into());
    assert_eq!(page(&a, "?kid=test").await["total"], 5);
    assert_eq!(page(&a, "?kid=other").await["total"], 0);
    let (code, out, err) = c.run(&["connection", "list", "--user", "1"]).await;
    assert_eq!((code, out.lines().count()), (0, 3), "{err}");

    let id = of_hong["connections"][0]["id"].as_str().unwrap();
    let closed = delete(&a, &format!("/{id}")).await;
    assert_eq!(closed, json!({ "closed": 1, "unanswered": [] }));
    sent_away(&mut hong).await;
    let gone = Admin::new("DELETE", &format!("/admin/connections/{id}"), "");
    is_refusal(&gone.send(&c).await, 404, "not_found", "a connection that is gone");
    let (code, out, err) = c.run(&["connection", "close", "--user", "1"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("3 connections told to go"), "{out}");
    for connection in &mut ming {
        sent_away(connection).await;
    }
    let acts = Admin::get("/admin/audit?act=connection.close").lines(&b).await;
    let counts: Vec<_> = acts.iter().map(|act| &act["details"]["connections"]).collect();
    assert_eq!(counts, [1, 3], "{acts:?}");
    page_once(&b, "one who is left", |page| page["total"] == 1).await;
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named() {
    let nodes = Nodes::on(&nats::shared());
    let [a, b, c] = named(&nodes, ["a", "b", "c"]).await;
    let [_here, mut there] = [a.connect(1).await, b.connect(1).await];
    b.signal("STOP");
    let began = Instant::now();
    let listed = page(&a, "").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((&listed["total"], &listed["unanswered"]), (&json!(1), &json!(["b"])), "{listed}");
    let (code, out, err) = a.run(&["connection", "list"]).await;
    assert_eq!((code, out.lines().count()), (1, 1), "{err}");
    assert!(err.contains("not every node answered (b): theirs are not among these"), "{err}");
    // It may be there that it is.
    let unknown = Admin::new("DELETE", "/admin/connections/0123456789abcdef", "");
    is_refusal(&unknown.send(&a).await, 503, "unavailable", "a connection that nobody knows");
    let (code, out, err) = a.run(&["connection", "close", "--user", "1"]).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("1 connection told to go") && err.contains("answered (b)"), "{out}{err}");

    b.signal("CONT");
    let answered = |page: &Value| page["unanswered"] == json!([]);
    // What it was asked to do waited for it, if it did not end the connection by itself before,
    // having heard nothing of the streams for so long.
    let closed = there.closed().await;
    assert!(matches!(closed.code, 1001 | 1013), "{closed:?}");
    let ready = async { while admin(&b, "/readyz").await.status != 200 {} };
    within("a node that is ready", ready).await;
    let _hong = b.connect(2).await;
    let listed = page_once(&a, "all nodes", answered).await;
    assert!(who_is_where(&listed).contains(&(2, "b".to_owned())), "{listed}");
    // Who takes leave is waited for by nobody; who is killed for a while.
    c.stop().await;
    let listed = page(&a, "").await;
    assert!(answered(&listed), "{listed}");
    b.kill();
    let listed = page_once(&a, "the one that is gone", |page| !answered(page)).await;
    assert_eq!(listed["unanswered"], json!(["b"]));
}

#[tokio::test]
async fn nonsense_between_nodes_closes_nobody() {
    let nodes = Nodes::on(&nats::shared());
    let [a, b] = named(&nodes, ["a", "b"]).await;
    let (mut ming, stranger) = (b.connect(1).await, nodes.stranger().await);
    let spoken = |said: &str| format!(r#"{{"version":1,"node":7,"name":"ghost","said":{said}}}"#);
    let close = r#"{"what":"close","user":null,"kid":null,"id":null,"after":null,"limit":1}"#;
    for nonsense in [
        String::new(),
        "null".to_owned(),
        "{".repeat(10_000),
        spoken("{}"),
        spoken(close),
        spoken("\"elsewhere\""),
        spoken("\"here\"").replace("ghost", "gh\\nost"),
        spoken("\"here\"").replace("\"version\":1", "\"version\":2"),
    ] {
        stranger.publish("nodes.here", nonsense.as_str()).await;
        stranger.publish("nodes.asked", nonsense.as_str()).await;
    }
    let listed = page(&a, "").await;
    assert_eq!((&listed["total"], &listed["unanswered"]), (&json!(1), &json!([])), "{listed}");
    // In the form of a node it is believed, as all that is told by who may write messages.
    stranger.publish("nodes.here", spoken("\"here\"")).await;
    let listed = page_once(&a, "a ghost", |page| page["unanswered"] == json!(["ghost"])).await;
    assert_eq!(listed["total"], 1);
    stranger.publish("nodes.here", spoken("\"bye\"")).await;
    page_once(&a, "the ghost's end", |page| page["unanswered"] == json!([])).await;
    ming.say(1, "still here", "1").await;
}

#[tokio::test]
async fn a_node_that_is_cut_off_does_not_say_that_it_knows_all() {
    let mut cluster = Cluster::start();
    let nodes = Nodes::on(cluster.place());
    let [a, _b] = named(&nodes, ["a", "b"]).await;
    let _ming = a.connect(1).await;
    let listed = page_once(&a, "all nodes", |page| page["unanswered"] == json!([])).await;
    assert_eq!(listed["total"], 1, "{listed}");
    for number in 0..3 {
        cluster.kill(number);
    }
    let listed = page_once(&a, "a doubt", |page| page["unanswered"] == json!(["b"])).await;
    assert_eq!(listed["total"], 1);
}
