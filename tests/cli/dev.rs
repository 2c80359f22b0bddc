use crate::program::Folder;
use std::net::TcpListener;

#[test]
fn dev_has_a_configuration_of_its_own() {
    let folder = Folder::new();
    let said = folder.run(&["dev", "--config", "config.toml"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("takes no --config"), "{}", said.err);
}

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = folder.run(&["dev", "--listen", &address]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("another program listens on port"),
        "{}",
        said.err
    );
    assert!(said.err.contains("--listen"), "{}", said.err);
    assert_eq!(folder.mode("imserver-dev"), 0o700);
    assert_eq!(folder.read("imserver-dev/.gitignore"), "*\n");
}

#[test]
fn a_public_address_for_this_run_is_checked_like_any_setting() {
    let folder = Folder::new();
    let said = folder.run(&["dev", "--listen", "127.0.0.1:9443"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err
            .contains("--listen: server.listen: 127.0.0.1:9443 is taken by"),
        "{}",
        said.err
    );
}
