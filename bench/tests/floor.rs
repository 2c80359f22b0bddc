//! The generator against the floor relay, both as their users start them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs the generator with these arguments and reads what it found.
fn found(arguments: &[&str]) -> Value {
    // Beside the build, not in the system's temporary directory: that one may
    // be in memory, and the generator refuses to measure durability there.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let json = directory.path().join("found.json");
    let data = directory.path().join("data");
    let output = Command::new(env!("CARGO_BIN_EXE_imserver-bench"))
        .args(arguments)
        .args([Path::new("--floor"), Path::new("--json"), &json, Path::new("--data"), &data])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let found: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    found["reports"][0].clone()
}

fn assert_all_arrived(report: &Value) {
    let tally = &report["tally"];
    assert!(tally["acknowledged"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(tally["acknowledged"], tally["sent"], "{report:#}");
    assert_eq!(tally["delivered"], tally["sent"], "{report:#}");
    for broken in ["lost", "duplicated", "out_of_order", "corrupted", "unanswered"] {
        assert_eq!(tally[broken], 0, "{report:#}");
    }
}

#[test]
fn a_closed_loop_loses_nothing_and_measures_both_sides() {
    let report = found(&["pairs", "--pairs=4", "--window=8", "--warmup=0", "--seconds=1"]);
    assert_all_arrived(&report);
    assert!(report["acknowledged_per_s"].as_f64().unwrap() > 0.0);
    assert!(report["server_cpu_us"].as_f64().unwrap() > 0.0);
    assert!(report["client_cpu_us"].as_f64().unwrap() > 0.0);
    assert!(report["to_delivery"]["count"].as_u64().unwrap() > 0);
}

#[test]
fn an_open_loop_sends_what_its_schedule_says() {
    let report = found(&["open", "--pairs=4", "--rate=500", "--warmup=0", "--seconds=1"]);
    assert_all_arrived(&report);
    // One second that is measured and one behind it.
    assert_eq!(report["tally"]["sent"], 1000);
}

#[test]
fn a_backlog_comes_whole() {
    let report = found(&["backlog", "--messages=500", "--rounds=2"]);
    assert_all_arrived(&report);
    assert_eq!(report["tally"]["sent"], 1000);
    assert!(report["first_ms"].as_f64() <= report["all_ms"].as_f64());
}

#[test]
fn connections_are_counted_and_weighed() {
    assert_eq!(found(&["connect", "--count=50"])["latency"]["count"], 50);
    assert!(found(&["idle", "--connections=100"])["kib_per_connection"].as_f64().unwrap() > 0.0);
}
