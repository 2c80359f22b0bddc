use std::fs::OpenOptions;
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
        assert!(said.err.contains("the audit log is on the NATS servers"), "{said:?}");
        assert!(said.err.contains("nats://127.0.0.1:1"), "{said:?}");
    }
    assert!(!folder.exists("data/audit.jsonl"));
    // What one machine had written down before is still read.
    issued(&folder, &["--sub", "7"]);
    let said = tell(&["audit", "verify", "--folder", "data"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("1 line, all good"), "{said:?}");
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
    ] {
        let said = folder.run(wrong);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{wrong:?}");
        assert!(!said.err.is_empty());
    }
}
