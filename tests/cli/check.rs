use crate::program::Folder;
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
