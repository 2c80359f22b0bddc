//! What lies in a stream, as it comes.

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

/// Something in a stream, not yet understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) subject: String,
    pub(super) seq: u64,
    pub(super) payload: Bytes,
}

impl Raw {
    /// Reads what a direct get or a republish gives.
    pub(super) fn from_message(message: async_nats::Message) -> Option<Self> {
        let headers = message.headers?;
        let subject = header(&headers, "Nats-Subject")?.to_owned();
        let seq = header(&headers, "Nats-Sequence")?.parse().ok()?;
        Some(Self { subject, seq, payload: message.payload })
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_last(name).map(async_nats::HeaderValue::as_str)
}

/// What a stream's leader says when it is asked for a message.
#[derive(Deserialize)]
pub(super) struct FromLeader {
    message: Encoded,
}

#[derive(Deserialize)]
struct Encoded {
    subject: String,
    seq: u64,
    #[serde(default)]
    data: String,
}

impl FromLeader {
    pub(super) fn raw(self) -> Option<Raw> {
        let Encoded { subject, seq, data } = self.message;
        let payload = STANDARD.decode(data).ok()?.into();
        Some(Raw { subject, seq, payload })
    }
}
