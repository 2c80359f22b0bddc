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
