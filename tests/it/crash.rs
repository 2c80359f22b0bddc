//! `kill -9` under load, again and again: the report that every operator can have.

use std::process::Command;

/// What stands behind a name in a report.
fn count(report: &str, name: &str) -> u64 {
    let line = report.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name:?} in\n{report}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_minus_nine() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("torture");
    let mut command = Command::new(env!("CARGO_BIN_EXE_imserver"));
    command.args(["torture", "--rounds", "20", "--dir"]).arg(&dir);
    let output = command.output().unwrap();
    let (report, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    // With the seed, to run it again.
    assert!(output.status.success(), "{report}\n{errors}");
    assert_eq!(count(&report, "rounds"), 20);
    for name in ["acknowledged and lost", "stored twice", "order breaks", "read flags lost"] {
        assert_eq!(count(&report, name), 0, "{report}");
    }
    for name in ["messages acknowledged", "sent again", "marked as read"] {
        assert!(count(&report, name) > 20, "too little was put to the proof:\n{report}");
    }
    assert!(errors.contains("20/20 rounds"), "{errors}");
    assert!(!dir.exists(), "what was made is removed");
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_imserver"));
    let output = command.args(["torture", "--dir"]).arg(folder.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("is not empty; name a folder that does not exist yet"), "{errors}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
