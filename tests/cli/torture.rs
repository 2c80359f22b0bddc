use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::{Folder, Said};

#[test]
fn torture_happens_beside_the_data_of_the_configuration_that_is_named() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("disk/imserver-torture/there")).unwrap();
    let own = "[store]\npath = \"disk/data\"\n";
    folder.write("config.toml", own);
    let said = folder.run(&["torture", "--config", "config.toml"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("disk/imserver-torture is not empty"), "{}", said.err);
    let said = folder.run(&["torture", "--config", "nowhere.toml", "--dir", "new"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("there is no nowhere.toml"), "{}", said.err);
    let nats = "servers = [\"nats://127.0.0.1:4222\"]\nsynced = true\n";
    let streams = format!("[store]\nbackend = \"jetstream\"\n[store.jetstream]\n{nats}");
    folder.write("config.toml", &streams);
    let said = folder.run(&["torture", "--config", "config.toml", "--dir", "new"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("tries the folder of one machine"), "{}", said.err);
    assert!(!folder.exists("new"));

    folder.write("config.toml", own);
    let arguments = ["--rounds", "1", "--seconds-per-round", "0.05"];
    let arguments = [&["torture", "--config", "config.toml", "--dir", "disk/new"], &arguments[..]];
    // It used to go by the variables of the server that runs here: to write into its store, and
    // to add a key to its set.
    let mut command = folder.command(&arguments.concat());
    command.env("IMSERVER_STORE__PATH", folder.path("own"));
    command.env("IMSERVER_AUTH__KEYS", folder.path("keys.json"));
    let said = Said::from(command.output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("directory               disk/new"), "{}", said.out);
    assert!(!folder.exists("disk/data"), "the store of the configuration is left alone");
    assert!(!folder.exists("own") && !folder.exists("keys.json"));
}

#[test]
fn torture_that_is_told_to_stop_takes_its_server_along() {
    let folder = Folder::new();
    let mut command = folder.command(&["torture", "--rounds", "100000"]);
    let mut torture = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let id = torture.id();
    // It has begun with its first line; a server is there but for the moments between two.
    let _ = BufReader::new(torture.stderr.take().unwrap()).read_line(&mut String::new());
    let end = Instant::now() + Duration::from_secs(20);
    let server = loop {
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap().map(Result::unwrap);
        let mut children = threads.filter_map(|thread| {
            let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
            children.split_whitespace().next()?.parse().ok()
        });
        if let Some(server) = children.next() {
            break Pid::from_raw(server);
        }
        assert!(Instant::now() < end, "no server is started");
        std::thread::sleep(Duration::from_millis(2));
    };
    // As when the terminal goes: to the server alone it would be a word to read its files again.
    kill(Pid::from_raw(id.try_into().unwrap()), Signal::SIGHUP).unwrap();
    assert_eq!(torture.wait().unwrap().code(), Some(1));
    assert_eq!(kill(server, None), Err(Errno::ESRCH));
    assert!(folder.exists("imserver-torture"));
}
