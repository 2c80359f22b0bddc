//! One line of the log: an act, and its place in the chain.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::read::Fault;
use super::{Act, Who};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// A text that is no SHA-256 in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 hexadecimal digits, as `imserver audit verify` prints them")]
pub struct NoHash;

impl Hash {
    /// What the first line holds as the hash of the one before it.
    pub const START: Self = Self([0; 32]);

    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
            *to = *from;
        }
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(NoHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'));
            *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(NoHash)?;
        }
        Ok(Self(hash))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The how-manieth it is, from 1.
    pub number: u64,
    /// When, as RFC 3339 has it, in UTC with milliseconds.
    pub at: String,
    /// The node at which it was done, where there are several.
    pub node: Option<String>,
    /// `admin:` with the subject of a token, or `shell:` with the name of a user of the host.
    pub who: String,
    /// The `jti` of the administrator's token.
    pub token: Option<String>,
    /// What was done.
    pub act: String,
    /// What matters about it.
    pub details: Map<String, Value>,
    /// The hash of the line before.
    pub previous: Hash,
    /// Its own.
    pub hash: Hash,
    /// The line as it is written, without its end.
    pub text: String,
}

/// What the hash of a line is made of, in this order.
#[derive(Serialize)]
struct Body<'a> {
    n: u64,
    at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    who: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    act: &'a str,
    details: &'a Map<String, Value>,
    prev: Hash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    n: u64,
    at: String,
    node: Option<String>,
    who: String,
    token: Option<String>,
    act: String,
    details: Map<String, Value>,
    prev: String,
    hash: String,
}

/// What stands between what is hashed and the hash.
const BEFORE_HASH: &str = ",\"hash\":\"";

impl Line {
    pub(super) fn new(
        number: u64,
        at: SystemTime,
        node: Option<&str>,
        who: &Who,
        act: &Act,
        previous: Hash,
    ) -> Self {
        let at = humantime::format_rfc3339_millis(at).to_string();
        let name = who.name();
        let token = who.token();
        let body = Body {
            n: number,
            at: &at,
            node,
            who: &name,
            token,
            act: &act.name,
            details: &act.details,
            prev: previous,
        };
        // Texts, numbers and lists always have a JSON form.
        let body = serde_json::to_string(&body).unwrap_or_default();
        let body = body.strip_suffix('}').unwrap_or_default();
        let hash = Hash::of(body.as_bytes());
        let text = format!("{body}{BEFORE_HASH}{hash}\"}}");
        let (token, details) = (token.map(str::to_owned), act.details.clone());
        let (node, act) = (node.map(str::to_owned), act.name.clone());
        Self { number, at, node, who: name, token, act, details, previous, hash, text }
    }

    /// Reads a line and checks its own hash.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let text = str::from_utf8(bytes).map_err(|_| Fault::NoLine)?;
        let (body, hash) = text
            .strip_suffix("\"}")
            .and_then(|text| text.rsplit_once(BEFORE_HASH))
            .ok_or(Fault::NoLine)?;
        let hash = hash.parse::<Hash>().map_err(|_| Fault::NoLine)?;
        let found = Hash::of(body.as_bytes());
        // In its one spelling: capitals would be a change that nobody notices.
        if found != hash || !text.ends_with(&format!("{found}\"}}")) {
            return Err(Fault::Changed);
        }
        let wire: Wire = serde_json::from_str(text).map_err(|_| Fault::NoLine)?;
        let previous = wire.prev.parse().map_err(|_| Fault::NoLine)?;
        if wire.hash.parse() != Ok(hash) {
            return Err(Fault::NoLine);
        }
        let Wire { n: number, at, node, who, token, act, details, .. } = wire;
        let text = text.to_owned();
        Ok(Self { number, at, node, who, token, act, details, previous, hash, text })
    }
}
