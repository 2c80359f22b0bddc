//! What those who look after a cluster do, and what they see.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clock::ahead_of_time;
use crate::nats::{self, Cluster};
use crate::support::{Nodes, Setup, TestServer, V2, admin, within};

/// The lines of `/metrics` that begin so.
async fn metrics(server: &TestServer, name: &str) -> Vec<(String, f64)> {
    let page = admin(server, "/metrics").await.body;
    let lines = page.lines().filter(|line| line.starts_with(&format!("imserver_{name}")));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Looks until the metrics of this name are as wanted.
pub(super) async fn until(
    server: &TestServer,
    name: &str,
    wanted: impl Fn(&[(String, f64)]) -> bool,
) {
    let looking = async {
        while !wanted(&metrics(server, name).await) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(&format!("{name} as wanted"), looking).await;
}

/// Runs a command that needs no node: exit code, output, complaints.
pub(super) async fn run(setup: &Setup, arguments: &[&str]) -> (i32, String, String) {
    within(&format!("{arguments:?}"), run_to_its_end(setup, arguments)).await
}

/// The same for as long as it takes.
pub(super) async fn run_to_its_end(setup: &Setup, arguments: &[&str]) -> (i32, String, String) {
    let mut command = setup.command(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Asks how the streams are until any server can be lost: what is said then. Each server catches
/// up with one stream after another, and may be behind once more.
async fn whole(node: &TestServer, arguments: &[&str]) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (code, text, why) = node.run(arguments).await;
        if code == 0 {
            return text;
        }
        assert!(Instant::now() < end, "{text}{why}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn streams_are_made_once_and_by_a_command_of_their_own() {
    let nodes = Nodes::on(&nats::shared());
    let setup = nodes.setup().set("store.jetstream.create", "false");
    let (code, _, why) = run(&setup, &["cluster", "check"]).await;
    assert!(code == 1 && why.contains("`imserver cluster create` makes them"), "{code} {why}");
    let (code, _, why) = run(&setup, &["cluster", "status"]).await;
    assert!(code == 1 && why.contains("`imserver cluster create` makes it"), "{code} {why}");
    let (code, made, why) = run(&setup, &["cluster", "create", "--wait", "30s"]).await;
    let prefix = nodes.prefix();
    assert_eq!(code, 0, "{why}");
    let all = ["msg-0", "rd-0", "profiles", "revoked", "tickets", "audit"]
        .map(|name| format!("{prefix}-{name}"));
    assert_eq!(made.trim(), format!("made {}", all.join(", ")));
    let (code, again, _) = run(&setup, &["cluster", "create"]).await;
    assert!(code == 0 && again.contains("nothing was changed"), "{again}");
    let (code, can, _) = run(&setup, &["cluster", "check"]).await;
    assert!(code == 0 && can.contains("a node can serve"), "{can}");

    // Two nodes without `create` serve what the command made, and the command sees it.
    let a = setup.start().await;
    let b = nodes.setup().set("store.jetstream.create", "false").start().await;
    let mut hong = V2::of(&b, 2).quiet().await;
    let mut ming = a.connect(1).await;
    ming.say(2, "hello", "1").await;
    assert_eq!(hong.message().await.1, "hello");
    let text = whole(&a, &["cluster", "status", "--json"]).await;
    let status: Value = serde_json::from_str(&text).unwrap();
    let streams = status["streams"].as_array().unwrap();
    assert_eq!(streams.len(), all.len());
    for (stream, name) in streams.iter().zip(&all) {
        assert_eq!(
            (stream["stream"].as_str(), &stream["whole"]),
            (Some(name.as_str()), &true.into())
        );
        assert_eq!(stream["replicas"].as_array().unwrap().len(), 2, "{stream}");
    }
    assert_eq!(streams[0]["entries"], 1);
    // What a node sees: three copies of each stream, and nothing that it has not taken of those that
    // it follows, which are all but the tickets and the audit log.
    for (name, streams, wanted) in [
        ("stream_copies{", all.len(), 3.0),
        ("stream_copies_wanted{", all.len(), 3.0),
        ("stream_behind{", all.len() - 2, 0.0),
    ] {
        until(&b, name, |found| {
            found.len() == streams && found.iter().all(|(_, value)| *value == wanted)
        })
        .await;
    }
    until(&b, "store_ready", |found| found[0].1 == 1.0).await;
    assert_eq!(metrics(&b, "nats_events_total{reason=\"connected\"}").await[0].1, 1.0);
}

#[tokio::test]
async fn a_longer_window_for_resends_is_brought_to_the_streams_while_nodes_serve() {
    let nodes = Nodes::on(&nats::shared());
    let node = nodes.start().await;
    let setup = nodes.setup().set("store.jetstream.create", "false");
    let setup = setup.set("store.dedup_window", "\"20m\"");
    let (code, _, why) = run(&setup, &["cluster", "check"]).await;
    assert!(code == 1 && why.contains("for 10m, and with store.dedup_window"), "{code} {why}");
    let (code, said, why) = run(&setup, &["cluster", "create"]).await;
    let longer =
        format!("knows for 20m what is written again, from now on: {}-msg-0", nodes.prefix());
    assert!(code == 0 && said.trim() == longer, "{said}{why}");
    let (code, again, _) = run(&setup, &["cluster", "create"]).await;
    assert!(code == 0 && again.contains("nothing was changed"), "{again}");
    // Beside a node with the time of before.
    let longer = setup.start().await;
    let mut hong = V2::of(&longer, 2).quiet().await;
    node.connect(1).await.say(2, "hello", "1").await;
    assert_eq!(hong.message().await.1, "hello");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_a_wrong_configuration() {
    let setup = Nodes::on(&nats::shared()).setup().set("store.jetstream.ca", "\"nobody.pem\"");
    for command in [
        &["cluster", "check"][..],
        &["cluster", "create", "--wait", "30s"],
        &["cluster", "status"],
        &["migrate", "--abandon"],
        &["audit", "verify"],
        &["token", "issue", "--sub", "1"],
        &["export"],
    ] {
        let (code, _, why) = run(&setup, command).await;
        assert_eq!(code, 2, "{command:?}: {why}");
        assert!(why.contains("store.jetstream.ca: ") && why.contains("nobody.pem"), "{why}");
    }
    let (code, _, why) = run(&setup, &["cluster", "check", "--wait", "soon"]).await;
    assert!(code == 2 && why.contains("a number and a unit"), "{code} {why}");
}

#[tokio::test]
async fn a_folder_of_one_machine_is_no_cluster() {
    let (code, _, why) = run(&Setup::new(), &["cluster", "status"]).await;
    assert!(code == 2 && why.contains("there is no cluster"), "{code} {why}");
}

#[tokio::test]
async fn how_far_the_clock_of_a_node_is_ahead_is_in_its_metrics() {
    let nodes = Nodes::on(&nats::shared());
    let node = ahead_of_time(nodes.setup(), "+3s").start().await;
    let is_three = |(_, seconds): &(String, f64)| (2.5..3.5).contains(seconds);
    until(&node, "clock_ahead_seconds", |found| found.iter().any(is_three)).await;
}

#[tokio::test]
async fn a_lost_server_is_seen_in_the_metrics_and_by_the_command() {
    let mut cluster = Cluster::start();
    let nodes = Nodes::on(cluster.place());
    let node = nodes.start().await;
    let mut ming = node.connect(1).await;
    ming.say(2, "first", "0").await;
    let stream = format!("{}-msg-0", nodes.prefix());
    let led = cluster.leader(&stream).unwrap();
    whole(&node, &["cluster", "status"]).await;
    let lost = (led + 1) % 3;
    cluster.kill(lost);
    // The others do not know yet; who asks it does.
    let (code, text, why) = node.run(&["cluster", "status"]).await;
    let address = &cluster.place().urls()[lost];
    assert_eq!(code, 1, "{text}{why}");
    assert!(text.contains(&format!("{address}: NOT REACHED: ")), "{text}");
    // Where one address alone is known, the leaders tell, long before they call it away.
    let urls = cluster.place().urls();
    let known = nodes.setup_at(&urls[led]);
    let silent = async {
        loop {
            let (code, text, _) = run(&known, &["cluster", "status"]).await;
            if code == 1 && text.contains("(SILENT for ") {
                return text;
            }
        }
    };
    let text = within("a silent server", silent).await;
    assert!(text.contains(&format!("n{lost} (SILENT for ")), "{text}");
    // A copy of each stream is lost, whoever led it.
    let all_but_one = |found: &[(String, f64)]| found.iter().all(|(_, copies)| *copies == 2.0);
    until(&node, "stream_copies{", |found| found.len() == 6 && all_but_one(found)).await;
    let (code, text, why) = node.run(&["cluster", "status", "--json"]).await;
    assert_eq!(code, 1, "{text}{why}");
    assert!(why.contains("6 of 6 streams cannot lose a server now"), "{why}");
    let status: Value = serde_json::from_str(&text).unwrap();
    let servers = status["servers"].as_array().unwrap();
    let away: Vec<_> = servers.iter().filter(|it| it["why"].is_string()).collect();
    assert!(away.len() == 1 && away[0]["address"] == **address, "{text}");
    // With a majority gone nothing can be stored, and a write is tried again.
    cluster.kill((led + 2) % 3);
    until(&node, "store_ready", |found| found[0].1 == 0.0).await;
    node.log_says("nothing can be stored at present").await;
    ming.send(&crate::support::frame(1, 2, "wait", "1")).await;
    until(&node, "write_retries_total", |found| found[0].1 > 0.0).await;
    for server in [1, 2] {
        cluster.run((led + server) % 3);
    }
    until(&node, "stream_copies{", |found| found.iter().all(|(_, copies)| *copies == 3.0)).await;
    until(&node, "store_ready", |found| found[0].1 == 1.0).await;
    node.log_says("all streams are led again").await;
    whole(&node, &["cluster", "status"]).await;
    node.connect(3).await.say(2, "goes on", "2").await;
}
