//! Requests for an upgrade, before any token is looked at.
//!
//! The first line is the path with its query, each line below it one header. Those that
//! make an upgrade are there already: a line replaces them, one without a value removes
//! them, and one with a `+` before its name stands beside them.

use imserver::ids::ID_END;
use imserver::server::fuzzing::handshake;

/// Reads a request; one that is let in has one token at the most, as it stood there.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let target = lines.next().unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let mut headers = vec![
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.strip_prefix('+') {
            Some(name) => headers.push((name, value)),
            None => {
                headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                if !value.is_empty() {
                    headers.push((name, value));
                }
            }
        }
    }
    let Some(accepted) = handshake(path, query, &headers) else { return };
    let given = |name: &str| {
        let values = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    assert_eq!(given("sec-websocket-version").len(), 1);
    assert_eq!(given("sec-websocket-key").len(), 1);
    assert!(given("transfer-encoding").is_empty());
    for origin in given("origin") {
        assert_eq!(origin.trim(), "https://app.example");
    }
    let offers = given("sec-websocket-protocol");
    assert_eq!(
        accepted.v2,
        offers.iter().any(|offer| offer.split(',').any(|o| o.trim() == "im.v2"))
    );
    assert!(
        accepted.v2 || offers.iter().all(|offer| offer.split(',').all(|o| o.trim().is_empty()))
    );
    assert!(accepted.after.is_none_or(|after| after < ID_END));
    let Some(token) = &accepted.token else { return };
    let in_url = path.strip_prefix("/teaching/imserver/");
    assert_eq!(accepted.in_url, in_url.is_some());
    if let Some(in_url) = in_url {
        assert_eq!(token, in_url);
    } else {
        let stands = |value: &&str| value.contains(token.as_str());
        let places = given("authorization").into_iter().chain(offers);
        assert!(places.into_iter().any(|value| stands(&value)), "{token:?} stands nowhere");
    }
}
