use crate::program::Folder;

#[test]
fn init_makes_what_a_server_needs_for_its_owner_only() {
    let folder = Folder::new();
    let said = folder.run(&["init"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(folder.mode("certs"), 0o700);
    assert_eq!(folder.mode("certs/keys.json"), 0o600);
    assert_eq!(folder.read("config.toml"), include_str!("../../config.toml"));
    assert!(folder.read("certs/.gitignore").contains("\n*\n"));
    for expected in [
        "made    config.toml",
        "made    certs/keys.json",
        "missing certs/server.pem",
        "1. Put your certificate at certs/server.pem and its private key at certs/server.key",
        "imserver cert dev",
        "5. imserver token issue",
        "server.origins",
        "imserver config check",
        "imserver serve",
        "imserver token issue --sub 1",
    ] {
        assert!(said.out.contains(expected), "{expected:?} is not in {}", said.out);
    }
    assert!(!folder.exists("certs/server.key"), "a development certificate is asked for by name");
}

#[test]
fn init_overwrites_nothing_and_completes_what_is_half_made() {
    let folder = Folder::ready();
    let names = ["config.toml", "certs/keys.json", "certs/server.pem", "certs/server.key"];
    let before = names.map(|name| folder.read(name));
    let said = folder.run(&["init"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.out.contains("made"), "{}", said.out);
    assert_eq!(names.map(|name| folder.read(name)), before);

    folder.remove("certs/keys.json");
    let said = folder.run(&["init"]);
    assert!(said.out.contains("exists  config.toml"), "{}", said.out);
    assert!(said.out.contains("made    certs/keys.json"), "{}", said.out);

    assert_ne!(folder.read("certs/keys.json"), before[1], "a new key is a different key");

    folder.remove("config.toml");
    assert_eq!(folder.run(&["init"]).code, 0);
    assert!(folder.exists("config.toml"));
}

#[test]
fn init_asks_for_what_is_missing_of_the_certificate_and_for_no_more() {
    let folder = Folder::ready();
    let said = folder.run(&["init"]).out;
    assert!(said.contains("exists  certs/server.pem"), "{said}");
    assert!(said.contains("1. In config.toml set server.origins"), "{said}");
    assert!(!said.contains("Put") && !said.contains("cert dev"), "{said}");

    let key = folder.read("certs/server.key");
    folder.remove("certs/server.key");
    let said = folder.run(&["init"]).out;
    let asked = "1. Put the private key of the certificate certs/server.pem at certs/server.key";
    assert!(said.contains(asked) && !said.contains("cert dev"), "{said}");

    folder.write("certs/server.key", &key);
    folder.remove("certs/server.pem");
    let said = folder.run(&["init"]).out;
    let asked = "1. Put the certificate of the private key certs/server.key at certs/server.pem";
    assert!(said.contains(asked) && said.contains("imserver cert dev"), "{said}");
    assert!(said.contains("2. In config.toml"), "{said}");

    // Behind a proxy that has the certificate none is asked for.
    folder.write("config.toml", "[server]\nlisten = \"127.0.0.1:8443\"\n[tls]\nmode = \"off\"\n");
    let said = folder.run(&["init"]).out;
    assert!(said.contains("1. In config.toml") && !said.contains("certs/server"), "{said}");
}

#[test]
fn init_puts_things_where_an_existing_configuration_wants_them() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("etc")).unwrap();
    folder.write("etc/im.toml", "[auth]\nkeys = \"secret/jwks.json\"\n");
    let said = folder.run(&["init", "--config", "etc/im.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(folder.mode("etc/secret/jwks.json"), 0o600);
    assert!(said.out.contains("imserver --config etc/im.toml serve"), "{}", said.out);
    assert!(!folder.exists("certs") && !folder.exists("etc/certs"));
}

#[test]
fn init_does_not_hide_a_project_from_version_control() {
    let folder = Folder::new();
    folder.write("config.toml", "[auth]\nkeys = \"keys.json\"\n");
    assert_eq!(folder.run(&["init"]).code, 0);
    assert!(folder.exists("keys.json") && !folder.exists(".gitignore"));
}

#[test]
fn a_development_certificate_is_made_once() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["init"]).code, 0);
    let said = folder.run(&["cert", "dev", "--name", "chat.test", "--name", "192.168.1.20"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("made certs/server.pem and its key certs/server.key"));
    assert_eq!(folder.mode("certs/server.key"), 0o600);
    let (cert, key) = (folder.read("certs/server.pem"), folder.read("certs/server.key"));
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));

    let said = folder.run(&["cert", "dev"]);
    assert_eq!(said.code, 0);
    assert!(said.out.contains("exist and were left as they are"), "{}", said.out);
    assert_eq!((folder.read("certs/server.pem"), folder.read("certs/server.key")), (cert, key));
}

#[test]
fn half_a_pair_is_completed_where_that_is_safe() {
    let folder = Folder::ready();
    let key = folder.read("certs/server.key");
    folder.remove("certs/server.pem");
    let said = folder.run(&["cert", "dev"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(folder.read("certs/server.key"), key);
    assert_eq!(folder.run(&["config", "check"]).code, 0);

    let cert = folder.read("certs/server.pem");
    folder.remove("certs/server.key");
    let said = folder.run(&["cert", "dev"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("not its key certs/server.key"), "{}", said.err);
    assert!(!folder.exists("certs/server.key"));
    assert_eq!(folder.read("certs/server.pem"), cert);
}

#[test]
fn what_is_no_host_name_gets_no_certificate() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["init"]).code, 0);
    for bad in ["https://chat.test", "chat.test:8443", "a b", "", "小明"] {
        let said = folder.run(&["cert", "dev", "--name", bad]);
        assert_eq!(said.code, 2, "{bad}: {said:?}");
        assert!(said.err.contains("is no host name"), "{}", said.err);
    }
    assert!(!folder.exists("certs/server.key"));
}
