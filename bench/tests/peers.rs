//! The generator against the real servers of other products, where those are installed.
//!
//! With `IMSERVER_BENCH_PEERS=required` a missing one is a failure; else the test says so,
//! and the machines that check every change need not have them.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]
#![expect(clippy::print_stderr, reason = "what is not tested has to be said")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the generator against a peer and reads what it found; nothing where it is missing.
fn found(peer: &str, arguments: &[&str]) -> Option<Value> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let json = directory.path().join("found.json");
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let output = Command::new(env!("CARGO_BIN_EXE_imserver-bench"))
        .args(arguments)
        .args(["--peer", peer])
        .args([Path::new("--peers"), &peers, Path::new("--json"), &json])
        .output()
        .unwrap();
    if is_missing(&output) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_ne!(std::env::var("IMSERVER_BENCH_PEERS").as_deref(), Ok("required"), "{said}");
        eprintln!("NOT TESTED against {peer}: {said}");
        return None;
    }
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let found: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    found.pointer("/reports/0").cloned()
}

fn is_missing(output: &Output) -> bool {
    !output.status.success()
        && String::from_utf8_lossy(&output.stderr).contains("is not installed; install it with:")
}

/// Messages in a closed loop, messages that waited, connections: all that the table needs.
fn carries_messages(peer: &str) {
    let traffic = ["pairs", "--pairs=4", "--window=8", "--warmup=0", "--seconds=1"];
    let Some(report) = found(peer, &traffic) else {
        return;
    };
    assert_all_arrived(&report);
    assert!(report.pointer("/server_cpu_us").and_then(Value::as_f64).unwrap() > 0.0);

    let report = found(peer, &["backlog", "--messages=100", "--rounds=2"]).unwrap();
    assert_all_arrived(&report);
    assert_eq!(report.pointer("/tally/sent").unwrap(), 200);

    let report = found(peer, &["connect", "--count=20"]).unwrap();
    assert_eq!(report.pointer("/latency/count").unwrap(), 20);
}

fn assert_all_arrived(report: &Value) {
    let count = |name: &str| report.pointer(&format!("/tally/{name}")).unwrap().as_u64().unwrap();
    assert!(count("sent") > 0, "{report:#}");
    assert_eq!(count("acknowledged"), count("sent"), "{report:#}");
    assert_eq!(count("delivered"), count("sent"), "{report:#}");
    for broken in ["lost", "duplicated", "out_of_order", "corrupted", "unanswered"] {
        assert_eq!(count(broken), 0, "{report:#}");
    }
}

#[test]
fn mosquitto_carries_messages() {
    carries_messages("mosquitto");
}

#[test]
fn nats_carries_messages() {
    carries_messages("nats");
}

#[test]
fn nats_carries_messages_synced_before_every_answer() {
    carries_messages("nats-always");
}

#[test]
fn ejabberd_carries_messages() {
    carries_messages("ejabberd");
}
