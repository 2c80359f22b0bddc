use crate::program::{Folder, Said};
use std::fs;

#[test]
fn a_complete_set_up_is_in_order() {
    let folder = Folder::ready();
    let said = folder.run(&["config", "check"]);
    assert_eq!(said.code, 0, "{said:?}");
    for expected in [
        "ok  config.toml: every setting is valid",
        "ok  certs/server.pem: fits its key certs/server.key; valid until 20",
        "ok  certs/keys.json: ",
        "ok  data: will be made at the first start",
        "wss://0.0.0.0:8443",
    ] {
        assert!(said.out.contains(expected), "{expected:?} is not in {}", said.out);
    }
}

#[test]
fn everything_that_is_wrong_with_the_files_is_told_at_once() {
    let folder = Folder::ready();
    folder.set_mode("certs/server.key", 0o644);
    folder.set_mode("certs/keys.json", 0o640);
    fs::create_dir(folder.path("data")).unwrap();
    folder.set_mode("data", 0o755);
    let said = folder.run(&["config", "check"]);
    assert_eq!(said.code, 2, "{said:?}");
    for expected in [
        "3 faults found:",
        "certs/server.key has mode 0644",
        "chmod 600 certs/server.key",
        "certs/keys.json",
        "chmod 700 data",
    ] {
        assert!(said.err.contains(expected), "{expected:?} is not in {}", said.err);
    }
    let secret = folder.read("certs/server.key");
    let body = secret.lines().nth(1).unwrap();
    assert!(!said.err.contains(body) && !said.out.contains(body));
}

#[test]
fn a_missing_certificate_is_told_with_the_way_to_one() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["init"]).code, 0);
    let said = folder.run(&["config", "check"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("there is no certificate certs/server.pem"), "{}", said.err);
    assert!(said.err.contains("imserver cert dev"), "{}", said.err);
}

#[test]
fn a_key_of_another_certificate_is_noticed() {
    let (folder, other) = (Folder::ready(), Folder::ready());
    folder.write("certs/server.pem", &other.read("certs/server.pem"));
    let said = folder.run(&["config", "check"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("the key is not the one"), "{}", said.err);
}

#[test]
fn what_a_connection_to_nats_servers_needs_is_looked_at() {
    let folder = Folder::ready();
    folder.write("password", "secret");
    folder.set_mode("password", 0o600);
    let set = |name: &str, value: &str| (format!("IMSERVER_STORE__{name}"), value.to_owned());
    let mut settings = vec![
        set("BACKEND", "jetstream"),
        set("JETSTREAM__SERVERS", "nats://127.0.0.1:1"),
        set("JETSTREAM__CA", "certs/server.pem"),
        set("JETSTREAM__USER", "im"),
        set("JETSTREAM__PASSWORD_FILE", "password"),
        set("JETSTREAM__SYNCED", "true"),
    ];
    let check = |settings: &[(String, String)]| {
        let mut command = folder.command(&["config", "check"]);
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        Said::from(command.output().unwrap())
    };
    let said = check(&settings);
    assert_eq!(said.code, 0, "{said:?}");
    folder.set_mode("password", 0o644);
    let said = check(&settings);
    assert!(said.code == 2 && said.err.contains("password has mode 0644"), "{said:?}");
    folder.set_mode("password", 0o600);
    settings[2].1 = "certs/keys.json".to_owned();
    let said = check(&settings);
    assert!(said.code == 2 && said.err.contains("it holds no certificate in PEM"), "{said:?}");
    settings[2].1 = "certs/server.pem".to_owned();
    settings[5].1 = "false".to_owned();
    let said = check(&settings);
    assert!(said.code == 2 && said.err.contains("sync_interval: always"), "{said:?}");
}

#[test]
fn a_start_that_the_path_of_the_store_forbids_is_a_fault_of_the_configuration() {
    let folder = Folder::ready();
    folder.write("data", "a file");
    // Whatever else serves on this machine, such as `imserver dev` beside the tests.
    let free = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n";
    folder.write("config.toml", free);
    let said = folder.run(&["serve"]);
    assert!(said.code == 2 && said.err.contains("`store.path`"), "{said:?}");
    folder.remove("data");
    fs::create_dir(folder.path("data")).unwrap();
    folder.set_mode("data", 0o755);
    let said = folder.run(&["serve"]);
    assert!(said.code == 2 && said.err.contains("chmod 700"), "{said:?}");
}
