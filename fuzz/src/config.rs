//! `config.toml` and the variables that override it.
//!
//! Text above a line `---` is the file; each line below is `NAME=value` of the
//! environment.

use std::path::Path;

use imserver::config::{Config, Error, Place};

/// Reads a configuration, twice.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (file, environment) = text.split_once("\n---\n").unwrap_or((text, ""));
    let read = || {
        let variables = environment.lines().filter_map(|line| line.split_once('='));
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        Config::parse(file, Path::new("folder/config.toml"), variables, Vec::new())
    };
    match read() {
        Ok(config) => {
            is_within_bounds(&config);
            assert!(read().is_ok_and(|again| again == config));
        }
        Err(Error::Faults { faults, .. }) => {
            assert!(!faults.is_empty());
            let lines = 1 + file.matches('\n').count();
            for fault in &faults {
                assert!(!fault.wrong.is_empty());
                assert!(!matches!(fault.place, Place::Line(line) if line == 0 || line > lines));
            }
            let again = read().err().map(|error| error.to_string());
            let said = Error::Faults { file: "folder/config.toml".into(), faults }.to_string();
            assert_eq!(again, Some(said));
        }
        Err(error) => panic!("no file was opened, and yet: {error}"),
    }
}

/// What other rooms rely on.
fn is_within_bounds(config: &Config) {
    let Config { server, auth, limits, .. } = config;
    assert!(server.origins.iter().all(|origin| origin.is_ascii() && origin.contains("://")));
    assert!(!auth.issuer.trim().is_empty() && !auth.audience.trim().is_empty());
    assert_ne!(auth.audience, auth.admin_audience, "an administrator's token opens no session");
    assert!(auth.max_lifetime.as_secs() > 0);
    assert!((1..=imserver::config::CONTENT_BYTES_MAX).contains(&limits.content_bytes));
    assert!(limits.content_bytes <= limits.frame_bytes);
    assert!(limits.connections_per_user > 0 && limits.connections > 0);
    assert!(limits.resend_after < imserver::config::CLIENT_RESENDS_AFTER);
    assert!(!limits.write_timeout.is_zero() && !limits.ping_interval.is_zero());
}
