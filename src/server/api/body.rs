//! The body of a call: so long at the most, within its time, and JSON.

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, Stream};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tokio::time::{Instant, timeout_at};

use crate::server::refusal::Refusal;

/// What is still read of the body of a refused request. Closing on top of unread bytes
/// would reset the connection, and the reason with it.
const DISCARD: usize = 1 << 20;

/// A body that has not been read yet.
pub(in crate::server) struct Body {
    /// Ends with `None` where the connection does.
    chunks: BoxStream<'static, Option<Bytes>>,
    max: usize,
    deadline: Instant,
}

impl Body {
    /// A body of `max` bytes at the most that may take so long from now on.
    pub(in crate::server) fn new<B: Buf, E>(
        chunks: impl Stream<Item = Result<B, E>> + Send + 'static,
        (max, time): (usize, Duration),
    ) -> Self {
        let chunks = chunks.map(|chunk| {
            let mut chunk = chunk.ok()?;
            Some(chunk.copy_to_bytes(chunk.remaining()))
        });
        Self { chunks: chunks.boxed(), max, deadline: Instant::now() + time }
    }

    /// Reads a body that says that it is JSON; the text, not looked into yet.
    ///
    /// # Errors
    /// What is wrong with it; not more than the limit was kept meanwhile.
    pub(in crate::server) async fn json(&mut self, headers: &HeaderMap) -> Result<String, Refusal> {
        // What is coded would be undone by nobody here (RFC 9110, section 15.5.16).
        if !is_json(headers) || headers.contains_key(CONTENT_ENCODING) {
            return Err(Refusal::MediaType);
        }
        let mut text = Vec::new();
        loop {
            match timeout_at(self.deadline, self.chunks.next()).await {
                Err(_) => return Err(Refusal::TooSlow),
                Ok(None) => break,
                Ok(Some(None)) => return Err(Refusal::Malformed("the body is not whole")),
                Ok(Some(Some(chunk))) if text.len() + chunk.len() > self.max => {
                    return Err(Refusal::BodyTooLarge);
                }
                Ok(Some(Some(chunk))) => text.extend_from_slice(&chunk),
            }
        }
        String::from_utf8(text).map_err(|_| Refusal::Malformed("the body is not UTF-8"))
    }

    /// Reads what a refused request has still to say, and forgets it.
    pub(in crate::server) async fn discard(&mut self) {
        let mut left = DISCARD;
        while let Ok(Some(Some(chunk))) = timeout_at(self.deadline, self.chunks.next()).await {
            let Some(rest) = left.checked_sub(chunk.len()) else {
                return;
            };
            left = rest;
        }
    }
}

/// `application/json`, in UTF-8 as all JSON is (RFC 8259, section 8.1).
fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return false;
    };
    let Ok(kind) = kind.to_str() else {
        return false;
    };
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let mut charsets = parts.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("charset").then(|| value.trim_matches('"'))
    });
    is_json && charsets.all(|charset| charset.eq_ignore_ascii_case("utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_that_it_is() {
        let is_json = |kinds: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append(CONTENT_TYPE, kind.parse().unwrap());
            }
            is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\";x=y",
        ] {
            assert!(is_json(&[good]), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonp",
            "application/json-patch+json",
            "application/json; charset=gbk",
            "multipart/form-data; boundary=application/json",
        ] {
            assert!(!is_json(&[bad]), "{bad}");
        }
        assert!(!is_json(&[]));
        assert!(!is_json(&["application/json", "application/json"]));
    }
}
