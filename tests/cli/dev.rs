use crate::program::Folder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

#[test]
fn dev_takes_the_configuration_that_is_named() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    folder.write("chat.toml", &format!("[server]\nlisten = \"{listen}\"\n"));
    let said = folder.run(&["dev", "--config", "chat.toml"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(&format!("{listen} cannot be listened on")), "{}", said.err);
    // The folder is somebody's: nothing in it is hidden from their repository.
    assert!(!folder.exists(".gitignore") && !folder.exists("imserver-dev"));

    let listen = listen.to_string();
    let said = folder.run(&["dev", "--config", "new/chat.toml", "--listen", &listen]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(folder.read("new/chat.toml").contains("Made by `imserver dev`"));
    assert_eq!(folder.mode("new"), 0o700);
    assert_eq!(folder.read("new/.gitignore"), "*\n");

    let said = folder.run(&["dev", "--config", "chat.toml", "--dir", "new"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("either --config or --dir"), "{}", said.err);
}

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = folder.run(&["dev", "--listen", &address]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("another program listens on port"), "{}", said.err);
    assert!(said.err.contains("--listen"), "{}", said.err);
    assert_eq!(folder.mode("imserver-dev"), 0o700);
    assert_eq!(folder.read("imserver-dev/.gitignore"), "*\n");

    // Other commands go by no configuration that was not named, and tell how to name this one.
    let said = folder.run(&["token", "list"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("add --config imserver-dev/config.toml"), "{}", said.err);
}

#[test]
fn a_public_address_for_this_run_is_checked_like_any_setting() {
    let folder = Folder::new();
    let said = folder.run(&["dev", "--listen", "127.0.0.1:9443"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("--listen: server.listen: 127.0.0.1:9443 is taken by"),
        "{}",
        said.err
    );
}

#[test]
fn dev_serves_prints_links_for_two_users_and_stops_when_told() {
    let folder = Folder::new();
    // Given back, for `dev` to take.
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut dev = folder
        .command(&["dev", "--listen", "127.0.0.1:0"])
        .env("IMSERVER_SERVER__ADMIN_LISTEN", admin.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let mut banner = Vec::new();
    for line in lines.by_ref().map(Result::unwrap) {
        let last = line.ends_with("Ctrl-C stops.");
        banner.push(line);
        if last {
            break;
        }
    }
    let banner = banner.join("\n");

    let (pages, wscat) =
        (banner.matches("/#token=ey"), banner.matches("wscat -n -c 'wss://localhost:"));
    assert_eq!((pages.count(), wscat.count()), (3, 2), "{banner}");
    assert!(banner.contains(&format!("https://localhost:{}/#token=ey", admin.port())), "{banner}");
    for expected in ["小明 (user 1)", "小红 (user 2)", "FOR DEVELOPMENT ONLY", "Advanced"] {
        assert!(banner.contains(expected), "{expected:?} is not in {banner}");
    }
    let port = banner.split("https://localhost:").nth(1).unwrap();
    let port: u16 = port.split('/').next().unwrap().parse().unwrap();
    TcpStream::connect(("127.0.0.1", port)).unwrap();

    // The printed command works, beside the running server.
    let command = banner.lines().find(|line| line.contains("token issue")).unwrap();
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    assert_eq!(folder.run(&arguments).code, 0, "{command}");
    for (name, mode) in [
        ("imserver-dev", 0o700),
        ("imserver-dev/certs/server.key", 0o600),
        ("imserver-dev/certs/keys.json", 0o600),
        ("imserver-dev/data", 0o700),
    ] {
        assert_eq!(folder.mode(name), mode, "{name}");
    }

    let id = Pid::from_raw(dev.id().try_into().unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    assert_eq!(dev.wait().unwrap().code(), Some(0));
}
