//! The documented file, and how faults are told.

mod settings;
mod sources;

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

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*", value in "\\PC*") {
        let _ = parse(&text);
        let quoted = toml_edit::Value::from(value.as_str()).to_string();
        let _ = parse(&format!("[server]\nlisten = {quoted}\norigins = [{quoted}]\n[limits]\nping_interval = {quoted}"));
        let _ = with_variables("", &[("IMSERVER_SERVER__ORIGINS", value.replace('\0', "").as_str())]);
    }
}
