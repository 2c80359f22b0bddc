//! A door for fuzzers to what reads requests. Nothing else uses it.

use std::net::SocketAddr;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use super::admin::fuzzing::{Notification, notification, revocation, token};
pub use super::api::fuzzing::{cursor, query};
use super::handshake::{self, Token};
use super::proxy_header;
use crate::protocol::Dialect;

/// A request for an upgrade that is in good form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The token that it gave.
    pub token: Option<String>,
    /// Whether that stood in the URL.
    pub in_url: bool,
    /// Whether `im.v2` is to be spoken.
    pub v2: bool,
    /// From where it wants to go on.
    pub after: Option<u64>,
}

/// Checks a request with these headers; nothing where it is refused, or HTTP forbids one.
pub fn handshake(path: &str, query: Option<&str>, headers: &[(&str, &str)]) -> Option<Accepted> {
    let origins = ["https://app.example".to_owned()];
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    let handshake = handshake::check(&Method::GET, path, query, &map, &origins).ok()?;
    let (token, in_url) = match handshake.token {
        Some(Token::InUrl(token)) => (Some(token.to_owned()), true),
        Some(Token::InHeader(token)) => (Some(token.to_owned()), false),
        None => (None, false),
    };
    let after = handshake.after.map(|cursor| cursor.get());
    Some(Accepted { token, in_url, v2: handshake.dialect == Dialect::V2, after })
}

/// Reads the PROXY header at the start of a stream: what it says, and how many bytes it has.
pub fn proxy_header(stream: &[u8]) -> Option<(Option<SocketAddr>, usize)> {
    let mut rest = stream;
    let said = proxy_header::read(&mut rest).now_or_never()?.ok()?;
    Some((said, stream.len() - rest.len()))
}
