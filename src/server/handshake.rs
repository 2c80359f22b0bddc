//! The opening handshake, checked to the letter before any token is looked at
//! (RFC 6455, section 4.2.1), and where the token may stand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method};

use super::refusal::Refusal;
use crate::ids::MessageId;
use crate::protocol::Dialect;
use crate::store::Cursor;

/// Where WebSockets are.
pub(super) const PATH: &str = "/teaching/imserver";

/// The subprotocol that adds to the document's frames.
pub(super) const V2: &str = "im.v2";

/// What a browser puts before its token to offer it as a subprotocol.
const BEARER_PROTOCOL: &str = "im.bearer.";

/// An upgrade request in good form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handshake<'a> {
    /// The client's key, to be answered.
    pub(super) key: &'a str,
    /// The token, wherever it stood; not believed yet.
    pub(super) token: Option<Token<'a>>,
    /// What was asked for: `im.v2` is answered.
    pub(super) dialect: Dialect,
    /// Up to where the client has everything.
    pub(super) after: Option<Cursor>,
}

/// A token by where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// In the URL, where a ticket may stand in its stead.
    InUrl(&'a str),
    /// Where no proxy writes it down.
    InHeader(&'a str),
}

/// Checks an upgrade request to `path`, whose `query` is what stood behind the `?`.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn check<'a>(
    method: &Method,
    path: &'a str,
    query: Option<&str>,
    headers: &'a HeaderMap,
    origins: &[String],
) -> Result<Handshake<'a>, Refusal> {
    let in_path = token_in_path(path)?;
    if method != Method::GET {
        return Err(Refusal::Method("GET"));
    }
    let key = websocket_key(headers)?;
    listed_origin(headers, origins)?;
    let (in_protocol, dialect) = protocols(headers)?;
    let after = if dialect == Dialect::V2 { after(query)? } else { None };
    let in_headers = [in_protocol, bearer(headers)?].map(|token| token.map(Token::InHeader));
    let mut tokens = in_headers.into_iter().chain([in_path.map(Token::InUrl)]).flatten();
    let token = tokens.next();
    if tokens.next().is_some() {
        return Err(Refusal::Malformed("more than one token was given; give one"));
    }
    Ok(Handshake { key, token, dialect, after })
}

/// The path has one spelling: the token's alphabet needs no escapes.
fn token_in_path(path: &str) -> Result<Option<&str>, Refusal> {
    let rest = path.strip_prefix(PATH).ok_or(Refusal::NotFound)?;
    if rest.is_empty() {
        return Ok(None);
    }
    let token = rest.strip_prefix('/').ok_or(Refusal::NotFound)?;
    if token.is_empty() || token.contains('/') {
        return Err(Refusal::NotFound);
    }
    for (at, _) in token.match_indices('%') {
        let escaped = token.get(at + 1..at + 3);
        if !escaped.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Err(Refusal::Malformed("the path holds a malformed percent-encoding"));
        }
    }
    Ok(Some(token))
}

/// The only value of a header, which must not stand there twice.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::Malformed("a header stands there twice"));
    }
    value.to_str().map(Some).map_err(|_| Refusal::Malformed("a header is not plain text"))
}

/// The items of a comma-separated header, over all its lines.
fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<impl Iterator<Item = &'a str>, Refusal> {
    let mut items = Vec::new();
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| Refusal::Malformed("a header is not plain text"))?;
        items.extend(value.split(',').map(str::trim).filter(|item| !item.is_empty()));
    }
    Ok(items.into_iter())
}

fn websocket_key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let key = single(headers, &SEC_WEBSOCKET_KEY)?;
    let upgrade = list(headers, &UPGRADE)?.any(|item| item.eq_ignore_ascii_case("websocket"));
    if !upgrade && key.is_none() {
        return Err(Refusal::UpgradeRequired);
    }
    let connection = list(headers, &CONNECTION)?.any(|item| item.eq_ignore_ascii_case("upgrade"));
    if !upgrade || !connection {
        return Err(Refusal::Malformed(
            "`Upgrade: websocket` and `Connection: Upgrade` are needed",
        ));
    }
    match single(headers, &SEC_WEBSOCKET_VERSION)? {
        Some("13") => {}
        Some(_) => return Err(Refusal::UpgradeRequired),
        None => return Err(Refusal::Malformed("`Sec-WebSocket-Version: 13` is needed")),
    }
    if has_body(headers) {
        return Err(Refusal::Malformed("an upgrade has no body"));
    }
    let is_key = |key: &&str| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16);
    key.filter(is_key).ok_or(Refusal::Malformed("`Sec-WebSocket-Key` must be 16 bytes in base64"))
}

/// Whether a body follows.
pub(super) fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// The origin of the page that asks. Pages name theirs and must be on the list; programs
/// name none.
pub(super) fn listed_origin<'a>(
    headers: &'a HeaderMap,
    origins: &[String],
) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut named = headers.get_all(ORIGIN).iter();
    let Some(origin) = named.next() else {
        return Ok(None);
    };
    let listed = origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
    if listed && named.next().is_none() { Ok(Some(origin)) } else { Err(Refusal::Origin) }
}

/// `after`, where it is given, is a message id or 0; other parameters are not ours, and to a
/// plain connection this one is no more than those.
fn after(query: Option<&str>) -> Result<Option<Cursor>, Refusal> {
    let mut given = query
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter_map(|(name, value)| (name == "after").then_some(value));
    let Some(digits) = given.next() else {
        return Ok(None);
    };
    let zeros = !digits.is_empty() && digits.bytes().all(|byte| byte == b'0');
    let after =
        if zeros { Some(Cursor::START) } else { MessageId::parse(digits).map(Cursor::from) };
    if after.is_some() && given.next().is_none() {
        Ok(after)
    } else {
        Err(Refusal::Malformed("`after` must be one message id, in digits"))
    }
}

/// The token among the offered subprotocols, and what is to be spoken.
fn protocols(headers: &HeaderMap) -> Result<(Option<&str>, Dialect), Refusal> {
    let (mut token, mut v2, mut any) = (None, false, false);
    for offered in list(headers, &SEC_WEBSOCKET_PROTOCOL)? {
        any = true;
        if offered == V2 {
            v2 = true;
        } else if let Some(bearer) = offered.strip_prefix(BEARER_PROTOCOL)
            && token.replace(bearer).is_some()
        {
            return Err(Refusal::Malformed("more than one token was given; give one"));
        }
    }
    if any && !v2 {
        // The browser would fail without an answer; the token is no protocol to answer.
        return Err(Refusal::Malformed("of all subprotocols only im.v2 is spoken here; offer it"));
    }
    Ok((token, if v2 { Dialect::V2 } else { Dialect::Document }))
}

/// The token of `Authorization: Bearer`; other schemes, a proxy's say, are not ours.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = single(headers, &AUTHORIZATION)? else {
        return Ok(None);
    };
    Ok(value
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade(changes: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let good = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in good {
            headers.insert(name, value.parse().unwrap());
        }
        for &(name, value) in changes {
            if value.is_empty() {
                headers.remove(name);
            } else if headers.contains_key(name) {
                headers.insert(name, value.parse().unwrap());
            } else {
                for value in value.split('|') {
                    headers.append(name, value.parse().unwrap());
                }
            }
        }
        headers
    }

    fn outcome(path: &str, query: Option<&str>, changes: &[(&'static str, &str)]) -> &'static str {
        let origins = ["https://app.example".to_owned()];
        match check(&Method::GET, path, query, &upgrade(changes), &origins) {
            Ok(_) => "101",
            Err(refusal) => refusal.code(),
        }
    }

    #[test]
    fn the_path_has_one_spelling() {
        for (path, expected) in [
            ("/teaching/imserver", "101"),
            ("/teaching/imserver/a.b.c", "101"),
            ("/teaching/imserver/", "not_found"),
            ("/teaching/imserver//a.b.c", "not_found"),
            ("/teaching/imserver/a.b.c/", "not_found"),
            ("/teaching/imserverx", "not_found"),
            ("/teaching//imserver/a.b.c", "not_found"),
            ("/teaching/imserver/%zz", "bad_request"),
            ("/teaching/imserver/a%2", "bad_request"),
            ("/teaching/imserver/a%2eb", "101"),
        ] {
            assert_eq!(outcome(path, None, &[]), expected, "{path}");
        }
    }

    #[test]
    fn a_handshake_is_checked_to_the_letter() {
        for (changes, expected) in [
            (&[("upgrade", ""), ("sec-websocket-key", "")][..], "upgrade_required"),
            (&[("upgrade", "")], "bad_request"),
            (&[("upgrade", "h2c")], "bad_request"),
            (&[("connection", "")], "bad_request"),
            (&[("connection", "close")], "bad_request"),
            (&[("sec-websocket-key", "")], "bad_request"),
            (&[("sec-websocket-key", "AAAA")], "bad_request"),
            (&[("sec-websocket-version", "8")], "upgrade_required"),
            (&[("sec-websocket-version", "")], "bad_request"),
            (&[("content-length", "1")], "bad_request"),
            (&[("content-length", "0")], "101"),
            (&[("transfer-encoding", "chunked")], "bad_request"),
            (&[("origin", "https://app.example")], "101"),
            (&[("origin", "https://app.example.evil.com")], "origin_not_allowed"),
            (&[("origin", "https://app.example:444")], "origin_not_allowed"),
            (&[("origin", "null")], "origin_not_allowed"),
            (&[("origin", "https://app.example|https://app.example")], "origin_not_allowed"),
        ] {
            assert_eq!(outcome("/teaching/imserver", None, changes), expected, "{changes:?}");
        }
    }

    #[test]
    fn a_token_stands_in_one_place() {
        let path = "/teaching/imserver/a.b.c";
        let bare = "/teaching/imserver";
        for (path, changes, expected) in [
            (path, &[("authorization", "Bearer a.b.c")][..], "bad_request"),
            (path, &[("sec-websocket-protocol", "im.v2, im.bearer.a.b.c")], "bad_request"),
            (path, &[("sec-websocket-protocol", "im.v2")], "101"),
            (path, &[("authorization", "Basic eDp5")], "101"),
            (bare, &[("sec-websocket-protocol", "im.v2, im.bearer.a.b.c")], "101"),
            (bare, &[("sec-websocket-protocol", "im.v2|im.bearer.a.b.c")], "101"),
            (bare, &[("sec-websocket-protocol", "im.bearer.a.b.c")], "bad_request"),
            (bare, &[("sec-websocket-protocol", "im.v2, im.bearer.a, im.bearer.b")], "bad_request"),
            (bare, &[("sec-websocket-protocol", "chat")], "bad_request"),
            (bare, &[("authorization", "Bearer a|Bearer a")], "bad_request"),
        ] {
            assert_eq!(outcome(path, None, changes), expected, "{path} {changes:?}");
        }
    }

    #[test]
    fn after_is_a_message_id() {
        let path = "/teaching/imserver";
        for (query, expected) in [
            ("after=0", "101"),
            ("after=12&x=y", "101"),
            ("afterwards=x", "101"),
            ("after=", "bad_request"),
            ("after", "bad_request"),
            ("after=-1", "bad_request"),
            ("after=1&after=1", "bad_request"),
            ("after=9007199254740992", "bad_request"),
        ] {
            let v2 = [("sec-websocket-protocol", "im.v2")];
            assert_eq!(outcome(path, Some(query), &v2), expected, "{query}");
            assert_eq!(outcome(path, Some(query), &[]), "101", "{query}, plain");
        }
    }
}
