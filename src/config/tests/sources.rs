//! Where settings come from: the file, variables, and the folder that paths begin at.

use super::*;

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
