//! What `deploy/` says of the server is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::nats;
use crate::support::{Admin, Call, Nodes, TestServer, Upgrade, admin, within};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let word = |at: usize| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    };
    let found = text.match_indices("imserver_").map(|(at, _)| word(at));
    // A package's file has a version there.
    found.filter(|word| word["imserver_".len()..].starts_with(char::is_lowercase)).collect()
}

/// The names of the series that a page of metrics has or will have.
fn exported(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .flat_map(|(name, kind)| {
            let endings: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            endings.iter().map(move |ending| format!("{name}{ending}"))
        })
        .collect()
}

fn each_watches_what_is_there(files: &[&str], exported: &BTreeSet<String>) {
    for file in files {
        let text = read(file);
        let named = named(&text);
        assert!(!named.is_empty(), "{file} names no metric");
        for metric in named {
            assert!(exported.contains(metric), "{file} watches {metric}, which nobody exports");
        }
    }
}

#[tokio::test]
async fn every_metric_that_is_watched_is_there() {
    let server = TestServer::new().await;
    // What has reasons is there from the first of them on.
    let mut ming = server.connect(1).await;
    ming.send_text("no frame").await;
    assert_eq!(ming.failure().await, "bad_frame");
    ming.send_message(Message::Binary("x".into())).await;
    assert_eq!(ming.closed().await.code, 1003);
    assert_eq!(Upgrade::token("nonsense").send(&server).await.status, 401);
    assert_eq!(Call::get(1, "me").send(&server).await.status, 200);
    assert_eq!(Admin::get("/admin/status").send(&server).await.status, 200);
    let exported = exported(&admin(&server, "/metrics").await.body);
    let files = [
        "deploy/prometheus/imserver.rules.yml",
        "deploy/prometheus/imserver.rules.test.yml",
        "deploy/grafana/imserver.json",
        "docs/operations.md",
        "SECURITY.md",
    ];
    each_watches_what_is_there(&files, &exported);
}

#[tokio::test]
async fn every_metric_of_a_cluster_that_is_watched_is_there() {
    let node = Nodes::on(&nats::shared()).start().await;
    // What is counted by stream is there from the first look on.
    let looking = async {
        loop {
            let page = admin(&node, "/metrics").await.body;
            if page.contains("imserver_stream_behind{") && page.contains("imserver_stream_copies{")
            {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let page = within("the first look", looking).await;
    let mut exported = exported(&page);
    // There from the first failure on, on either kind of server.
    exported.insert("imserver_failures_total".to_owned());
    let files = [
        "deploy/prometheus/cluster.rules.yml",
        "deploy/prometheus/cluster.rules.test.yml",
        "deploy/grafana/cluster.json",
        "docs/runbook.md",
    ];
    each_watches_what_is_there(&files, &exported);
}

#[test]
fn the_runbook_says_what_to_do_about_every_alert() {
    for (rules, runbook) in [
        ("deploy/prometheus/imserver.rules.yml", "docs/operations.md"),
        ("deploy/prometheus/cluster.rules.yml", "docs/runbook.md"),
    ] {
        let (rules, runbook) = (read(rules), read(runbook));
        let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        for alert in alerts {
            assert!(runbook.contains(&format!("`{alert}`")), "what to do about {alert}?");
        }
    }
}

#[test]
fn the_dashboards_are_whole() {
    for file in ["deploy/grafana/imserver.json", "deploy/grafana/cluster.json"] {
        let dashboard: Value = serde_json::from_str(&read(file)).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let mut ids = BTreeSet::new();
        for panel in panels {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels with one id: {panel}");
            assert!(!panel["title"].as_str().unwrap().is_empty());
            if panel["type"] == "row" {
                continue;
            }
            let targets = panel["targets"].as_array().unwrap();
            let asks = |target: &Value| !target["expr"].as_str().unwrap().is_empty();
            assert!(!targets.is_empty() && targets.iter().all(asks), "{panel}");
        }
    }
}

#[test]
fn the_image_is_built_with_the_toolchain_that_is_tested() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
    let dockerfile = read("deploy/Dockerfile");
    let version = channel.trim_matches('"');
    for line in [format!("FROM rust:{version}-"), format!("RUSTUP_TOOLCHAIN={version} ")] {
        assert!(dockerfile.contains(&line), "{line}");
    }
}

#[test]
fn what_is_installed_is_a_valid_configuration() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_imserver"))
        .args(["config", "check", "--config"])
        .arg(repository("deploy/config.toml"))
        .output()
        .unwrap();
    // Certificate and keys are not there yet, which is said; every setting is valid.
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("every setting is valid"), "{said}");
}
