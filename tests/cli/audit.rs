use std::fs::{File, OpenOptions};
use std::io::Write as _;

use crate::program::{Folder, Said};

fn issued(folder: &Folder, arguments: &[&str]) -> String {
    let said = folder.run(&[&["token", "issue"], arguments].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said.out.trim_end().to_owned()
}

#[test]
fn the_ledger_knows_every_issued_token_and_holds_none() {
    let folder = Folder::ready();
    let tokens = [issued(&folder, &["--sub", "7"]), issued(&folder, &["--sub", "8", "--admin"])];
    assert_eq!(folder.mode("data"), 0o700);
    assert_eq!(folder.mode("data/audit.jsonl"), 0o600);
    let log = folder.read("data/audit.jsonl");
    for token in &tokens {
        for part in token.split('.') {
            assert!(!log.contains(part), "{log}");
        }
    }
    let said = folder.run(&["audit", "list", "--act", "token.issue", "--since", "1h"]);
    assert_eq!((said.code, &said.out), (0, &log));
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("\"sub\":7") && lines[0].contains("\"admin\":false"), "{log}");
    assert!(lines[1].contains("\"sub\":8") && lines[1].contains("\"admin\":true"), "{log}");
    assert!(log.contains("\"who\":\"shell:"), "{log}");
    for none in [&["--act", "token.revoke"][..], &["--since", "2999-01-01T00:00:00Z"]] {
        let said = folder.run(&[&["audit", "list"], none].concat());
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{none:?}");
    }
}

#[test]
fn a_changed_log_is_told_with_the_number_of_its_line() {
    let folder = Folder::ready();
    let said = folder.run(&["audit", "verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("nothing was done yet"), "{said:?}");
    let said = folder.run(&["audit", "list"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    for command in ["verify", "list"] {
        let said = folder.run(&["audit", command, "--folder", "elsewhere"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("there is no elsewhere/audit.jsonl"), "{said:?}");
    }
    for sub in ["1", "2", "3"] {
        issued(&folder, &["--sub", sub]);
    }
    let said = folder.run(&["audit", "verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("3 lines, all good"), "{said:?}");
    let newest = said.out.trim_end().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(folder.run(&["audit", "verify", "--expect", &newest]).code, 0);

    let good = folder.read("data/audit.jsonl");
    folder.write("data/audit.jsonl", &good.replace("\"sub\":2", "\"sub\":5"));
    let said = folder.run(&["audit", "verify"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("line 2 is broken"), "{said:?}");
    // They used to know of no tokens behind it, without a word, or to call it the last line.
    let said = folder.run(&["token", "list"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("data/audit.jsonl: line 2 is broken"), "{said:?}");
    assert_eq!(folder.run(&["key", "generate"]).code, 0);
    let said = folder.run(&["key", "list"]);
    assert!(said.out.contains("data/audit.jsonl: line 2 is broken"), "{said:?}");
    let new = said.out.lines().nth(1).unwrap().split('\t').next().unwrap();
    let said = folder.run(&["key", "retire", new]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    assert!(said.err.contains("0 tokens of the ledger that have not expired (before line 2 of"));

    let two = good.match_indices('\n').nth(1).unwrap().0 + 1;
    folder.write("data/audit.jsonl", &good[..two]);
    assert_eq!(folder.run(&["audit", "verify"]).code, 0);
    let said = folder.run(&["audit", "verify", "--expect", &newest]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("cut off"), "{said:?}");
    folder.remove("data/audit.jsonl");
    assert_eq!(folder.run(&["audit", "verify", "--expect", &newest]).code, 1);
}

#[test]
fn a_folder_that_cannot_be_looked_into_is_not_one_where_nothing_was_done() {
    let folder = Folder::ready();
    for arguments in
        [["audit", "verify"], ["audit", "list"], ["key", "list"], ["token", "revocations"]]
    {
        // As for a user who may not look into it. They used to say that nothing was done yet, or
        // nothing at all, and to end well.
        let said = folder.run_with(("IMSERVER_STORE__PATH", "config.toml/data"), &arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains("cannot be looked at"), "{said:?}");
    }
}

#[test]
fn a_line_that_a_power_cut_tore_is_told_and_then_named() {
    let folder = Folder::ready();
    issued(&folder, &["--sub", "1"]);
    let path = folder.path("data/audit.jsonl");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"n\":2,\"at").unwrap();
    let said = folder.run(&["audit", "verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("line 2: it was cut off"), "{said:?}");
    assert_eq!(folder.run(&["audit", "list"]).out.lines().count(), 1);
    issued(&folder, &["--sub", "2"]);
    let said = folder.run(&["audit", "verify"]);
    assert!(said.out.contains("3 lines, all good"), "{said:?}");
    assert!(said.out.contains("1 file beside it"), "{said:?}");
    assert_eq!(folder.read("data/audit.torn-2"), "{\"n\":2,\"at");
    assert_eq!(folder.mode("data/audit.torn-2"), 0o600);
}

#[test]
fn no_token_is_issued_that_cannot_be_written_down() {
    let folder = Folder::ready();
    issued(&folder, &["--sub", "1"]);
    folder.set_mode("data/audit.jsonl", 0o644);
    let said = folder.run(&["token", "issue", "--sub", "2"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    assert!(said.err.contains("chmod 600"), "{said:?}");
}

#[test]
fn a_key_that_was_not_made_is_told_as_such() {
    let folder = Folder::ready();
    folder.set_mode("certs/keys.json", 0o644);
    assert_eq!(folder.run(&["key", "generate"]).code, 2);
    let log = folder.run(&["audit", "list"]).out;
    let acts: Vec<&str> =
        log.lines().map(|line| line.split("\"act\":\"").nth(1).unwrap()).collect();
    assert!(acts[0].starts_with("key.generate\"") && acts[1].starts_with("key.generate.failed\""));
    assert!(acts[1].contains("chmod 600"), "{log}");
}

#[test]
fn nor_is_one_where_the_servers_that_keep_the_log_are_away() {
    let folder = Folder::ready();
    // Nobody listens on port 1.
    let tell = |arguments: &[&str]| {
        let mut command = folder.command(arguments);
        command.env("IMSERVER_STORE__BACKEND", "jetstream");
        command.env("IMSERVER_STORE__JETSTREAM__SERVERS", "nats://127.0.0.1:1");
        Said::from(command.output().unwrap())
    };
    for arguments in [&["token", "issue", "--sub", "7"][..], &["audit", "verify"]] {
        let said = tell(arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        let why =
            "the audit log is on the NATS servers, and cannot be opened there: no NATS server";
        assert!(said.err.contains(why), "{said:?}");
        assert!(said.err.contains("nats://127.0.0.1:1"), "{said:?}");
    }
    assert!(!folder.exists("data/audit.jsonl"));
    // What one machine had written down before is still read.
    issued(&folder, &["--sub", "7"]);
    let said = tell(&["audit", "verify", "--folder", "data"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("1 line, all good"), "{said:?}");
}

/// A folder with a log of which a line was torn.
fn with_a_torn_line() -> Folder {
    let folder = Folder::ready();
    for sub in ["1", "2"] {
        issued(&folder, &["--sub", sub]);
    }
    let path = folder.path("data/audit.jsonl");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"n\":3,\"at").unwrap();
    for sub in 3..30 {
        issued(&folder, &["--sub", &sub.to_string()]);
    }
    folder
}

#[test]
fn the_log_is_copied_whole_with_what_belongs_to_it_and_over_nothing() {
    let folder = with_a_torn_line();
    let log = folder.read("data/audit.jsonl");
    let said = folder.run(&["audit", "export", "deep/copy"]);
    assert_eq!(said.code, 0, "{said:?}");
    let newest = folder.run(&["audit", "verify"]).out;
    let newest = newest.trim_end().rsplit(' ').next().unwrap();
    let told = format!("deep/copy/audit.jsonl: 30 lines, all good; newest hash: {newest}\n");
    assert_eq!(said.out, told);
    assert_eq!(folder.read("deep/copy/audit.jsonl"), log);
    assert_eq!(folder.mode("deep/copy/audit.jsonl"), 0o600);
    assert_eq!(folder.read("deep/copy/audit.torn-3"), folder.read("data/audit.torn-3"));
    let verify = ["audit", "verify", "--folder", "deep/copy", "--expect", newest];
    assert_eq!(folder.run(&verify).code, 0);

    folder.write("deep/copy/audit.jsonl", "another one");
    for there in ["deep/copy", "data"] {
        let said = folder.run(&["audit", "export", there]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        assert!(said.err.contains(&format!("{there}/audit.jsonl")), "{said:?}");
    }
    assert_eq!(folder.read("deep/copy/audit.jsonl"), "another one");
    assert_eq!(folder.read("data/audit.jsonl"), log);

    folder.write("data/audit.jsonl", &log.replace("\"sub\":20", "\"sub\":21"));
    let said = folder.run(&["audit", "export", "none"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("line 21 is broken: it does not say"), "{said:?}");
    assert_eq!(std::fs::read_dir(folder.path("none")).unwrap().count(), 0);
    folder.remove("data/audit.jsonl");
    let said = folder.run(&["audit", "export", "none"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("there is no data/audit.jsonl"), "{said:?}");
}

#[test]
fn a_copy_of_the_log_that_is_killed_is_none_and_is_made_by_the_next_run() {
    let folder = with_a_torn_line();
    let exporting = folder.command(&["audit", "export", "copy"]);
    // The system ends it as its file passes 2 KiB or, where sh counts so, 4 KiB.
    let killed = std::process::Command::new("sh")
        .args(["-c", "ulimit -c 0; ulimit -f 4; exec \"$0\" \"$@\""])
        .arg(exporting.get_program())
        .args(exporting.get_args())
        .current_dir(folder.path(""))
        .status()
        .unwrap();
    assert_eq!(killed.code(), None, "{killed}");
    assert!(!folder.exists("copy/audit.jsonl") && folder.exists("copy/partial.audit.jsonl"));
    // No new log is begun beside the half of the old one.
    folder.write("lines", "{\"kind\":\"export\",\"version\":1,\"made\":1,\"lastId\":\"0\"}\n");
    let said = folder.run_with(("IMSERVER_STORE__PATH", "copy"), &["import", "lines"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("it holds partial.audit.jsonl"), "{said:?}");

    // Nor is anything written into a folder that somebody else has.
    let held = File::open(folder.path("copy")).unwrap();
    held.try_lock().unwrap();
    let said = folder.run(&["audit", "export", "copy"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("copy is in use by a server or another command"), "{said:?}");
    drop(held);

    let said = folder.run(&["audit", "export", "copy"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(folder.read("copy/audit.jsonl"), folder.read("data/audit.jsonl"));
    assert!(!folder.exists("copy/partial.audit.jsonl"));
}

#[test]
fn nonsense_about_the_log_is_answered_with_a_sentence() {
    let folder = Folder::ready();
    for wrong in [
        &["audit"][..],
        &["audit", "verify", "--expect", "abc"],
        &["audit", "list", "--since", "yesterday"],
        &["audit", "list", "--act"],
        &["audit", "shred"],
        &["audit", "export"],
    ] {
        let said = folder.run(wrong);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{wrong:?}");
        assert!(!said.err.is_empty());
    }
}
