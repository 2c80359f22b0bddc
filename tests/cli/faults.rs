use crate::program::Folder;

/// Commands that need a valid configuration.
const COMMANDS: [&[&str]; 4] = [&["serve"], &["config", "check"], &["cert", "dev"], &["init"]];

#[test]
fn every_fault_of_the_configuration_is_named_with_its_line_and_exits_2() {
    let folder = Folder::new();
    folder.write(
        "config.toml",
        "[server]\nlisten = \"nowhere\"\norign_allow = []\n\n[limits]\nresend_after = \"6s\"\n",
    );
    for command in COMMANDS {
        let said = folder.run(command);
        assert_eq!(said.code, 2, "{command:?}: {said:?}");
        for expected in [
            "config.toml has 3 faults:",
            "config.toml:2: server.listen: \"nowhere\" is no address with a port; write",
            "config.toml:3: server.orign_allow: [server] has no such key; the nearest is `origins`",
            "config.toml:6: limits.resend_after: 6s would take true resends for new messages",
        ] {
            assert!(said.err.contains(expected), "{command:?}: {}", said.err);
        }
        assert_eq!(said.out, "");
    }
    assert!(!folder.exists("certs"), "nothing is made from a configuration with faults");
}

#[test]
fn a_faulty_variable_is_a_fault_of_the_configuration() {
    let folder = Folder::ready();
    let said = folder.run_with(("IMSERVER_SERVER__LISTN", "127.0.0.1:1"), &["config", "check"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("IMSERVER_SERVER__LISTN: no setting has this variable; the nearest is IMSERVER_SERVER__LISTEN"), "{}", said.err);
    let said = folder.run_with(("IMSERVER_SERVER__LISTEN", "127.0.0.1:7"), &["config", "check"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("wss://127.0.0.1:7"), "{}", said.out);
}

#[test]
fn plain_websockets_on_a_public_address_never_start() {
    let folder = Folder::ready();
    let said = folder.run_with(("IMSERVER_TLS__MODE", "off"), &["serve"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("0.0.0.0:8443"), "{}", said.err);
}

#[test]
fn without_a_configuration_the_way_to_one_is_told() {
    let folder = Folder::new();
    let said = folder.run(&["serve"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("there is no config.toml; run `imserver init`"), "{}", said.err);
    assert!(said.err.contains("`imserver dev`"), "{}", said.err);

    let said = folder.run(&["serve", "--config", "else where.toml"]);
    assert_eq!(said.code, 2);
    let expected = "there is no else where.toml, which --config names; \
                    `imserver init --config 'else where.toml'` makes it";
    assert!(said.err.contains(expected), "{}", said.err);
}

#[test]
fn wrong_usage_exits_2_and_help_teaches() {
    let folder = Folder::new();
    for wrong in [&["serv"][..], &[], &["serve", "--port", "1"], &["dev", "--listen", "8443"]] {
        assert_eq!(folder.run(wrong).code, 2, "{wrong:?}");
    }
    let said = folder.run(&["connection", "close"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("<ID|--user <ID>>"), "{}", said.err);
    let said = folder.run(&["--help"]);
    assert_eq!(said.code, 0);
    for expected in ["imserver dev", "imserver init", "Exit codes", "IMSERVER_SERVER__LISTEN"] {
        assert!(said.out.contains(expected), "{}", said.out);
    }
}
