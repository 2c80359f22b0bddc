use super::*;
use std::collections::BTreeSet;

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(text, Path::new("config.toml"), [], Vec::new())
}

fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Config::parse(text, Path::new("config.toml"), variables.collect::<Vec<_>>(), Vec::new())
}

fn faults(result: Result<Config, Error>) -> Vec<Fault> {
    match result {
        Err(Error::Faults { faults, .. }) => faults,
        other => panic!("no faults but {other:?}"),
    }
}

/// The only fault in `text`, as it is printed without the name of the file.
fn fault(text: &str) -> String {
    let error = parse(text).unwrap_err();
    assert_eq!(faults(Err(error)).len(), 1, "{:?}", parse(text));
    let shown = parse(text).unwrap_err().to_string();
    shown.strip_prefix("config.toml has 1 fault:\n  config.toml:").unwrap().to_owned()
}

#[test]
fn the_documented_file_says_the_defaults_and_names_every_key() {
    assert_eq!(parse(DOCUMENTED).unwrap(), Config::default());
    assert_eq!(parse("").unwrap(), Config::default());

    let document = toml_edit::Document::parse(DOCUMENTED).unwrap();
    let written: BTreeSet<String> = document
        .iter()
        .flat_map(|(section, item)| {
            let keys = item.as_table().unwrap().iter();
            keys.flat_map(move |(key, item)| match item.as_table() {
                None => vec![format!("{section}.{key}")],
                Some(inner) => {
                    inner.iter().map(|(inner, _)| format!("{section}.{key}.{inner}")).collect()
                }
            })
            .collect::<Vec<_>>()
        })
        .collect();
    let known: BTreeSet<String> =
        reader::read(DOCUMENTED, Path::new("config.toml"), [], Vec::new(), |reader| {
            sections::read(reader);
            reader.known_keys()
        })
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(written, known);
}

#[test]
fn every_key_of_the_documented_file_has_a_comment() {
    let mut explained = false;
    for line in DOCUMENTED.lines() {
        if line.starts_with('#') {
            explained = true;
        } else if line.contains(" = ") {
            assert!(explained, "{line} is not explained");
            explained = false;
        }
    }
}

#[test]
fn every_fault_is_reported_at_once_in_the_order_of_the_file() {
    let text = "
[server]
listen = \"localhost:8443\"
orgins = []
[limits]
violations = 0
[store]
path = 7
[logs]
level = \"info\"
";
    let error = with_variables(text, &[("IMSERVER_LOG__LEVEL", "loud")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.toml has 6 faults:
  config.toml:3: server.listen: \"localhost:8443\" is no address with a port; write \"127.0.0.1:8443\"
  config.toml:4: server.orgins: [server] has no such key; the nearest is `origins`
  config.toml:6: limits.violations: 0 is out of range; write a whole number from 1 to 100000
  config.toml:8: store.path: 7 is no text; write a path in quotes
  config.toml:9: logs: there is no such section; the nearest is [log]
  IMSERVER_LOG__LEVEL: log.level: \"loud\" is no log level; the nearest is \"off\"; write off, error, warn, info, debug or trace"
    );
}

#[test]
fn values_of_the_wrong_kind_say_what_would_be_right() {
    for (text, expected) in [
        ("[server]\nlisten = 8443", "2: server.listen: 8443 is no text; write an IP"),
        (
            "[server]\nlisten = \":8443\"",
            "2: server.listen: \":8443\" is no address with a port; write \"0.0.0.0:8443\"",
        ),
        ("[server]\norigins = \"https://a\"", "2: server.origins: \"https://a\" is no list"),
        ("[server]\norigins = [1]", "2: server.origins: the list holds something that is no text"),
        ("[server]\nchat_page = \"yes\"", "2: server.chat_page: \"yes\" is neither true nor false"),
        (
            "[server]\ntrusted_proxies = [\"10.0.0\"]",
            "2: server.trusted_proxies: \"10.0.0\" is no IP address and no network; write",
        ),
        (
            "[server]\ndrain_timeout = 10",
            "2: server.drain_timeout: 10 has no unit; write a time up to 1h, such as \"10s\", or \"0\"",
        ),
        ("[server]\ndrain_timeout = \"soon\"", "2: server.drain_timeout: \"soon\" is no time"),
        (
            "[limits]\nping_interval = \"0\"",
            "2: limits.ping_interval: \"0\" is too short; write a time from 100ms to 1h, such",
        ),
        ("[limits]\npong_timeout = \"2h\"", "2: limits.pong_timeout: \"2h\" is too long"),
        (
            "[limits]\nconnections = 1.5",
            "2: limits.connections: a number with a fraction is no whole number",
        ),
        ("[limits]\nconnections_per_user = 0", "2: limits.connections_per_user: 0 is out of range"),
        (
            "[limits]\ncontent_bytes = 49153",
            "2: limits.content_bytes: 49153 is out of range; write a whole number from 1 to 49152",
        ),
        (
            "[tls]\nmode = \"maybe\"",
            "2: tls.mode: \"maybe\" is no choice here; write \"on\" or \"off\"",
        ),
        ("[tls]\nkey = \"\"", "2: tls.key: \"\" is no path"),
        ("[auth]\nissuer = \" \"", "2: auth.issuer: \" \" is no usable name"),
        ("[log]\nformat = \"xml\"", "2: log.format: \"xml\" is no choice here"),
        ("server = 1", "1: server: this is a section, not a number; write [server]"),
        (
            "[[server]]\nlisten = \"0.0.0.0:1\"",
            "1: server: this is a section, not a table; write [server]",
        ),
        (
            "listen = \"0.0.0.0:1\"",
            "1: listen: there is no such key outside of a section; it belongs below [server]",
        ),
        (
            "lisen = \"0.0.0.0:1\"",
            "1: lisen: there is no such key outside of a section; the nearest key is `listen` below [server]",
        ),
        (
            "[server]\nlevel = \"info\"",
            "2: server.level: [server] has no such key; a key of this name belongs below [log]",
        ),
        ("[server.tls]\nx = 1", "1: server.tls: [server] has no such key"),
        ("[nonsense.deep]\nx = 1", "1: nonsense: there is no such section"),
        ("[server]\n\nlisten =\n", "3: it is not TOML here"),
        (
            "[server]\nlisten = \"0.0.0.0:1\"\nlisten = \"0.0.0.0:1\"",
            "3: it is not TOML here: duplicate key",
        ),
    ] {
        let found = fault(text);
        assert!(found.starts_with(expected), "{text:?}\n  gives {found}\n   not {expected}");
    }
}

#[test]
fn keys_are_fetched_from_https_addresses_alone() {
    let read = |address: &str| {
        let text = format!("[auth]\njwks_url = {address:?}");
        parse(&text).map(|config| config.auth.jwks_url).map_err(|_| fault(&text))
    };
    for good in [
        "https://id.example/keys",
        "https://id.example",
        "https://id.example:8443/a/b.json?p=policy",
        "https://[::1]:1/keys",
        "https://127.0.0.1/",
    ] {
        assert_eq!(read(good).unwrap().as_deref(), Some(good));
    }
    assert_eq!(read("").unwrap(), None);
    for (bad, expected) in [
        ("http://id.example/keys", "\"http://id.example/keys\" is not https; write https://"),
        ("file:///etc/keys.json", "\"file:///etc/keys.json\" is no "),
        ("https://ming:secret@id.example/", "it has a user's name or password in it; leave"),
        ("https://id.example/keys#new", "it has a fragment, which is never sent; leave"),
        ("https://id.example:99999/keys", "\"https://id.example:99999/keys\" "),
        ("https://id.example:0/keys", "\"https://id.example:0/keys\" has no host, or no valid"),
        ("https://id.example:/keys", "\"https://id.example:/keys\" has no host, or no valid"),
        ("https:///keys", "\"https:///keys\" "),
        ("id.example/keys", "\"id.example/keys\" is no "),
        ("/keys", "\"/keys\" is no whole address"),
        ("https://id example/", "\"https://id example/\" is no address"),
    ] {
        let found = read(bad).unwrap_err();
        assert!(found.starts_with(&format!("2: auth.jwks_url: {expected}")), "{bad}: {found}");
        assert!(!found.contains("secret"), "{found}");
    }
}

#[test]
fn the_servers_of_a_cluster_are_a_section_within_a_section() {
    let text = "[store]\nbackend = \"jetstream\"\n[store.jetstream]\n\
                servers = [\"tls://a.example:4222\", \"nats://127.0.0.1:4222\"]\n\
                ca = \"certs/nats.pem\"\nuser = \"im\"\npassword_file = \"nats.password\"";
    let store = parse(text).unwrap().store;
    assert_eq!(store.backend, Backend::JetStream);
    assert_eq!(store.jetstream.servers, ["tls://a.example:4222", "nats://127.0.0.1:4222"]);
    assert!(store.jetstream.ca.unwrap().ends_with("certs/nats.pem"));
    let variables = [
        ("IMSERVER_STORE__JETSTREAM__PARTITIONS", "16"),
        ("IMSERVER_STORE__JETSTREAM__CREATE", "true"),
    ];
    let jetstream = with_variables(text, &variables).unwrap().store.jetstream;
    assert_eq!((jetstream.partitions, jetstream.create), (16, true));
}

#[test]
fn what_is_wrong_with_a_cluster_is_said() {
    for (text, expected) in [
        ("[store]\nbackend = \"jetstream\"", "2: store.backend: it names no servers"),
        ("[store.jetstream]\nreplica = 3", "2: store.jetstream.replica: "),
        ("[store]\njetstream = 3", "2: store.jetstream: this is a section, not a number"),
        ("[store.jetstream]\nuser = \"a\"", "2: store.jetstream.user: one goes with the other"),
        ("[store.jetstream]\nprefix = \"a.b\"", "2: store.jetstream.prefix: \"a.b\" cannot"),
        ("[store.jetstream]\npartitions = 0", "2: store.jetstream.partitions: 0 is out of range"),
    ] {
        let found = fault(text);
        assert!(found.starts_with(expected), "{found}");
    }
    for bad in [
        "nats://10.0.0.1:4222",
        "nats://a.example:4222",
        "ws://a.example:4222",
        "a.example:4222",
        "tls://a.example",
        "tls://:4222",
        "tls://a b:4222",
        "tls://user:secret@a.example:4222",
    ] {
        let found = fault(&format!("[store.jetstream]\nservers = [\"{bad}\"]"));
        assert!(found.starts_with("2: store.jetstream.servers: "), "{found}");
        assert!(!found.contains("secret"), "{found}");
    }
    let found = faults(with_variables("", &[("IMSERVER_STORE__JETSTREAM__SERVER", "x")]));
    assert_eq!(found.len(), 1, "{found:?}");
    let said = format!("{found:?}");
    assert!(said.contains("IMSERVER_STORE__JETSTREAM__SERVERS"), "{said}");
}

#[test]
fn plain_websockets_stay_on_loopback() {
    let found = fault("[tls]\nmode = \"off\"");
    assert!(found.starts_with(
        "2: tls.mode: \"off\" would send tokens and messages in the clear over 0.0.0.0:8443;"
    ));
    let found = fault(
        "[tls]\nmode = \"off\"\n[server]\nlisten = \"[::1]:80\"\nadmin_listen = \"0.0.0.0:81\"",
    );
    assert!(found.contains("over 0.0.0.0:81"), "{found}");
    let config = parse("[tls]\nmode = \"off\"\n[server]\nlisten = \"127.0.0.1:8080\"").unwrap();
    assert_eq!(config.tls.mode, TlsMode::Off);
    // A faulty address is one fault, not two.
    fault("[server]\nlisten = \"nowhere\"\n[tls]\nmode = \"off\"");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        (
            "[server]\nadmin_listen = \"127.0.0.1:8443\"",
            "2: server.admin_listen: 127.0.0.1:8443 is taken by server.listen",
        ),
        (
            "[limits]\nframe_bytes = 1000",
            "2: limits.frame_bytes: a content of 16384 bytes does not fit a frame of 1000",
        ),
        ("[auth]\naudience = \"imserver-admin\"", "2: auth.audience: it equals"),
        (
            "[store]\nretention = \"9m\"",
            "2: store.retention: a message would be gone after 9m, but store.dedup_window is 10m",
        ),
        (
            "[limits]\nresend_after = \"6s\"",
            "2: limits.resend_after: 6s would take true resends for new messages",
        ),
    ] {
        let found = fault(text);
        assert!(found.starts_with(expected), "{text:?}\n  gives {found}\n   not {expected}");
    }
    parse("[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"").unwrap();
}

#[test]
fn proxies_are_addresses_and_networks_and_never_everybody() {
    let all = r#"["10.0.0.7", "10.1.0.0/16", "::ffff:192.0.2.7", "2001:db8::/32"]"#;
    for key in ["trusted_proxies", "proxy_protocol"] {
        let server = parse(&format!("[server]\n{key} = {all}")).unwrap().server;
        let list =
            if key == "proxy_protocol" { server.proxy_protocol } else { server.trusted_proxies };
        assert_eq!(list.to_string(), "10.0.0.7, 10.1.0.0/16, 192.0.2.7, 2001:db8::/32");
        for (address, listed) in [
            ("10.0.0.7", true),
            ("::ffff:10.0.0.7", true),
            ("10.0.0.8", false),
            ("10.1.255.1", true),
            ("10.2.0.0", false),
            ("192.0.2.7", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(list.contain(address.parse().unwrap()), listed, "{address}");
        }
        for (bad, expected) in [
            ("0.0.0.0/0", "\"0.0.0.0/0\" is everybody, who could then claim to be anybody; write"),
            ("::/0", "\"::/0\" is everybody"),
            ("::ffff:0:0/96", "\"::ffff:0:0/96\" is everybody"),
            ("10.0.0.7/8", "\"10.0.0.7/8\" is an address within a network; write \"10.0.0.7\" or"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" is no IP address and no network; write"),
            ("balancer", "\"balancer\" is no IP address and no network; write"),
            ("10.0.0.7:443", "\"10.0.0.7:443\" is no IP address and no network; write"),
        ] {
            let found = fault(&format!("[server]\n{key} = [\"{bad}\"]"));
            assert!(found.starts_with(&format!("2: server.{key}: {expected}")), "{found}");
        }
    }
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    for good in [
        "https://chat.example.com",
        "https://localhost:8443",
        "http://127.0.0.1:3000",
        "https://[::1]:8443",
        "https://[::1]",
        "capacitor://localhost",
        "chrome-extension://abcdef",
    ] {
        let config = parse(&format!("[server]\norigins = [\"{good}\"]")).unwrap();
        assert_eq!(config.server.origins, [good]);
    }
    for (bad, expected) in [
        ("*", "would let every web page in"),
        ("null", "is no origin"),
        ("chat.example.com", "is no origin"),
        ("https://", "is no origin"),
        ("https://a b", "is no origin"),
        ("https://user@a", "is no origin"),
        ("https://[::1", "is no origin"),
        ("https://a/", "write \"https://a\""),
        ("https://a/chat?x#y", "write \"https://a\""),
        ("https://A.example", "browsers write \"https://a.example\""),
        ("https://münchen.example", "xn--"),
        ("https://a:443", "browsers leave the usual port out: \"https://a\""),
        ("https://a:0", "has no valid port"),
        ("https://a:08443", "has no valid port"),
        ("https://a:", "has no valid port"),
        ("https://a:99999", "has no valid port"),
    ] {
        let found = fault(&format!("[server]\norigins = [\"{bad}\"]"));
        assert!(found.contains(expected), "{bad}: {found}");
    }
}

#[test]
fn every_faulty_entry_of_a_list_is_reported() {
    let text = "[server]\norigins = [\n  \"https://a.example\",\n  \"*\",\n  \"b\",\n]";
    let found = faults(parse(text));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|fault| fault.place == Place::Line(2)));
}

#[test]
fn a_strange_key_cannot_break_the_message() {
    let found = fault("[server]\n\"a\\nb\" = 1");
    assert!(found.starts_with("2: server.\"a\\nb\": [server] has no such key"), "{found}");
}

#[test]
fn variables_override_the_file() {
    let config = with_variables(
        "[server]\nlisten = \"0.0.0.0:1\"",
        &[
            ("IMSERVER_SERVER__LISTEN", "127.0.0.1:2"),
            ("IMSERVER_SERVER__ORIGINS", "https://a.example, https://b.example"),
            ("IMSERVER_SERVER__TRUSTED_PROXIES", "[\"10.0.0.7\", \"::1\"]"),
            ("IMSERVER_SERVER__CHAT_PAGE", "false"),
            ("IMSERVER_LIMITS__VIOLATIONS", "3"),
            ("IMSERVER_LIMITS__WRITE_TIMEOUT", "1m 30s"),
            ("IMSERVER_TLS__CERT", "/etc/ssl/a.pem"),
            ("IMSERVER_ADMIN_TOKEN", "not a setting"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.listen, "127.0.0.1:2".parse().unwrap());
    assert_eq!(config.server.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.server.trusted_proxies.to_string(), "10.0.0.7, ::1");
    assert!(!config.server.chat_page);
    assert_eq!(config.limits.violations, 3);
    assert_eq!(config.limits.write_timeout, Duration::from_secs(90));
    assert_eq!(config.tls.cert, Path::new("/etc/ssl/a.pem"));
    let config = with_variables("", &[("IMSERVER_SERVER__ORIGINS", "")]).unwrap();
    assert!(config.server.origins.is_empty());
}

#[test]
fn a_faulty_variable_is_named() {
    for (name, value, expected) in [
        (
            "IMSERVER_SERVER__LISTN",
            "x",
            "no setting has this variable; the nearest is IMSERVER_SERVER__LISTEN",
        ),
        (
            "IMSERVER_SERVER_LISTEN",
            "x",
            "no setting has this variable; the nearest is IMSERVER_SERVER__LISTEN",
        ),
        ("IMSERVER_server__listen", "127.0.0.1:1", "no setting has this variable; the nearest is"),
        ("IMSERVER_SERVER__LISTEN", "x", "server.listen: \"x\" is no address"),
        ("IMSERVER_SERVER__TRUSTED_PROXIES", "[1", "server.trusted_proxies: it is not TOML"),
        ("IMSERVER_LIMITS__VIOLATIONS", "many", "limits.violations: \"many\" is no whole number"),
        ("IMSERVER_TLS__MODE", "off", "tls.mode: \"off\" would send"),
    ] {
        let shown = with_variables("", &[(name, value)]).unwrap_err().to_string();
        let expected = format!("config.toml has 1 fault:\n  {name}: {expected}");
        assert!(shown.starts_with(&expected), "{shown}");
    }
}

#[test]
fn paths_start_at_the_folder_of_the_file() {
    let file = Path::new("/etc/imserver/config.toml");
    let config =
        Config::parse("[store]\npath = \"/var/lib/imserver\"", file, [], Vec::new()).unwrap();
    assert_eq!(config.tls.key, Path::new("/etc/imserver/certs/server.key"));
    assert_eq!(config.store.path, Path::new("/var/lib/imserver"));
}

#[test]
fn a_missing_file_is_told_from_an_unreadable_one() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("config.toml");
    assert!(matches!(Config::load(&missing), Err(Error::NotFound { .. })));
    assert!(matches!(Config::load(folder.path()), Err(Error::Unreadable { .. })));
    fs::write(&missing, b"[server]\n# \xff\n").unwrap();
    let shown = Config::load(&missing).unwrap_err().to_string();
    assert!(shown.ends_with("config.toml:2: it is not UTF-8 text"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*", value in "\\PC*") {
        let _ = parse(&text);
        let quoted = toml_edit::Value::from(value.as_str()).to_string();
        let _ = parse(&format!("[server]\nlisten = {quoted}\norigins = [{quoted}]\n[limits]\nping_interval = {quoted}"));
        let _ = with_variables("", &[("IMSERVER_SERVER__ORIGINS", value.replace('\0', "").as_str())]);
    }
}
