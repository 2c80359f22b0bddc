//! A request that is refused: a plain HTTP answer with a JSON body.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};

use crate::protocol::failure::FailureCode;

/// Why a request is refused, cut by what the client can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400: the request is wrong, in these words.
    Malformed(&'static str),
    /// 400: a cursor that was not given out for this reading.
    BadCursor,
    /// 401: no token, or one that is not believed. The client never learns why.
    Unauthorized,
    /// 403: the page's origin is not on the list.
    Origin,
    /// 404.
    NotFound,
    /// 404: what is asked for by its name is not there, in these words.
    Missing(&'static str),
    /// 404: there is no conversation with this one.
    UnknownPeer,
    /// 405: other methods than this list.
    Method(&'static str),
    /// 408: the body did not come in time.
    TooSlow,
    /// 413: the body is over the limit.
    BodyTooLarge,
    /// 415: the body is no JSON, or coded.
    MediaType,
    /// 426: a WebSocket is spoken here.
    UpgradeRequired,
    /// 431: more than is read of a head.
    HeadTooLarge,
    /// 429: too much of something.
    TooMany(&'static str),
    /// 429: no token that is believed, as others before it from there.
    Guessed(&'static str),
    /// 503: not now.
    Unavailable(&'static str),
    /// What a frame would have failed with too.
    Failed(FailureCode, Cow<'static, str>),
}

/// When to come back after a 429 or a 503.
const RETRY: Duration = Duration::from_secs(5);

impl Refusal {
    /// 400 in words that are made for the case.
    pub(super) fn bad_request(message: String) -> Self {
        Self::Failed(FailureCode::BadFrame, message.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::BadCursor => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::NotFound | Self::Missing(_) | Self::UnknownPeer => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooMany(_) | Self::Guessed(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(code, _) => match code {
                FailureCode::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                FailureCode::IdReused => StatusCode::CONFLICT,
                FailureCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
                FailureCode::InboxFull | FailureCode::StoreUnavailable => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                _ => StatusCode::BAD_REQUEST,
            },
        }
    }

    /// The `code` of the body, and the label of the metric where nothing finer is known.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Failed(FailureCode::BadFrame, _) => "bad_request",
            Self::BadCursor => "bad_cursor",
            Self::Unauthorized => "unauthorized",
            Self::Origin => "origin_not_allowed",
            Self::NotFound | Self::Missing(_) => "not_found",
            Self::UnknownPeer => "unknown_peer",
            Self::Method(_) => "method_not_allowed",
            Self::TooSlow => "too_slow",
            Self::BodyTooLarge => "body_too_large",
            Self::MediaType => "unsupported_media_type",
            Self::UpgradeRequired => "upgrade_required",
            Self::HeadTooLarge => "head_too_large",
            Self::TooMany(_) | Self::Guessed(_) => "too_many",
            Self::Unavailable(_) => "unavailable",
            Self::Failed(code, _) => code.as_str(),
        }
    }

    /// Whether it stands in the metric already, by what is wrong with the token.
    pub(super) fn is_counted(&self) -> bool {
        matches!(self, Self::Unauthorized | Self::Guessed(_))
    }

    fn message(&self) -> &str {
        match self {
            Self::Malformed(what)
            | Self::Missing(what)
            | Self::TooMany(what)
            | Self::Guessed(what)
            | Self::Unavailable(what) => what,
            Self::BadCursor => "the cursor is not valid here; begin again without one",
            Self::Unauthorized => "a valid token is required",
            Self::Origin => "pages of this origin may not connect",
            Self::NotFound => "there is nothing here",
            Self::UnknownPeer => "there is no conversation with this user",
            Self::Method(_) => "another method is needed here; `Allow` names it",
            Self::TooSlow => "the body did not come in time",
            Self::BodyTooLarge => "the body is too large",
            Self::MediaType => {
                "the body must be JSON, and not coded: `Content-Type: application/json`, no \
                 `Content-Encoding`"
            }
            Self::HeadTooLarge => "the request's address and headers are too large, or too many",
            Self::UpgradeRequired => "this address speaks WebSocket, version 13",
            Self::Failed(_, message) => message,
        }
    }

    /// The HTTP answer, after which the connection ends: what is left of the request is
    /// then nobody's next one.
    pub(super) fn response<B: From<String>>(&self) -> Response<B> {
        let status = self.status();
        let body = serde_json::json!({ "code": self.code(), "message": self.message() });
        let mut response = Response::new(B::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        mark(headers);
        match self {
            Self::Unauthorized => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::Method(allowed) => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::UpgradeRequired => {
                headers.insert(CONNECTION, HeaderValue::from_static("close, upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        if let StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE = status {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after()));
        }
        response
    }

    /// In seconds.
    fn retry_after(&self) -> u64 {
        match self {
            // A second's worth of requests is there again.
            Self::Failed(FailureCode::RateLimited, _) => 1,
            // Spread, so that those who were refused together do not return together.
            _ => RETRY.as_secs() + fastrand::u64(0..=RETRY.as_secs()),
        }
    }
}

/// Adds what every answer carries: nothing of it is kept, guessed at or passed on.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
