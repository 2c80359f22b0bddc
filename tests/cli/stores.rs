use crate::program::{Folder, Said};

/// A folder with an empty store.
fn stored() -> Folder {
    let folder = Folder::ready();
    for act in ["disable", "enable"] {
        let said = folder.run(&["user", act, "1"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    folder
}

/// Runs a command where the messages are on NATS servers, none of which is on port 1.
fn on_streams(folder: &Folder, arguments: &[&str]) -> Said {
    let mut command = folder.command(arguments);
    command.env("IMSERVER_STORE__BACKEND", "jetstream");
    command.env("IMSERVER_STORE__JETSTREAM__SERVERS", "nats://127.0.0.1:1");
    Said::from(command.output().unwrap())
}

#[test]
fn what_is_for_a_folder_says_so_where_there_are_streams() {
    let folder = stored();
    // They used to ask for a node that runs, and to end so also where one did.
    for (arguments, instead) in [
        (&["backup", "b"][..], "nats account backup"),
        (&["restore", "b"], "nats account restore"),
        (&["verify"], "imserver cluster status"),
        (&["compact"], "make room by themselves"),
        (&["import", "x.jsonl"], "imserver migrate"),
    ] {
        let said = on_streams(&folder, arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
        let sentence = format!("`imserver {}` is for a folder of one machine", arguments[0]);
        assert!(said.err.contains(&sentence) && said.err.contains(instead), "{said:?}");
    }
    assert!(!folder.exists("b"), "nothing is made");
    let said = on_streams(&folder, &["user", "disable", "1"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("none answers at 127.0.0.1:1 (server.admin_listen)"), "{said:?}");
    // A folder that is named is verified all the same.
    let said = on_streams(&folder, &["verify", "data"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_copy_of_nothing_is_refused_and_not_written_down() {
    let folder = Folder::ready();
    for command in [["backup", "b"], ["export", "e"]] {
        let said = folder.run(&command);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        assert!(said.err.contains("there is no data in data (store.path)"), "{said:?}");
        // The audit log used to say that one was made.
        assert!(!folder.exists("data"), "{command:?}");
    }
    assert!(!folder.exists("e") && !folder.exists("e.partial"));
}

#[test]
fn a_verification_that_was_cut_short_leaves_nothing_for_ever() {
    let folder = stored();
    assert_eq!(folder.run(&["backup", "b"]).code, 0);
    std::fs::create_dir_all(folder.path("b/.imserver-verify/data")).unwrap();
    folder.write("b/.imserver-verify/data/db", "all messages");
    let said = folder.run(&["verify", "b"]);
    assert_eq!(said.code, 0, "{said:?}");
    // Each used to have a place of its own, and what was left in it stayed.
    assert_eq!(std::fs::read_dir(folder.path("b")).unwrap().count(), 1);
}

#[test]
fn what_is_no_store_and_no_backup_is_not_called_damaged() {
    let folder = Folder::ready();
    for dir in ["nowhere", "certs"] {
        let said = folder.run(&["verify", dir]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        assert!(said.err.contains(&format!("{dir}: neither a backup nor the data")), "{said:?}");
    }
    let said = folder.run(&["verify"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("there is no store in data (store.path)"), "{said:?}");
}

#[test]
fn an_export_into_a_file_says_what_is_in_it() {
    let folder = stored();
    let said = folder.run(&["export", "all.jsonl"]);
    assert_eq!(said.code, 0, "{said:?}");
    let digest = said.out.trim_end().strip_prefix("all.jsonl: 0 messages; digest ");
    let digest = digest.unwrap_or_else(|| panic!("{said:?}"));
    assert!(folder.read("all.jsonl").trim_end().ends_with(&format!("\"digest\":\"{digest}\"}}")));
    let said = folder.run(&["verify"]);
    assert!(said.out.contains(digest), "{said:?}");
    // What goes to standard output stays lines.
    let said = folder.run(&["export"]);
    assert!(said.out.lines().all(|line| line.starts_with('{')), "{said:?}");
}

#[test]
fn another_file_is_no_export() {
    let folder = Folder::ready();
    folder.write("backup", "IMSB\u{0}\u{1}\n");
    for other in ["config.toml", "certs/server.pem", "certs/keys.json", "backup"] {
        let said = folder.run(&["import", other]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(&format!("{other}, line 1: ")), "{said:?}");
    }
    let said = folder.run(&["import", "config.toml"]);
    assert!(said.err.contains("this is no export of imserver"), "{said:?}");
    assert!(!folder.exists("data"));
}
