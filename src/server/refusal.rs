//! A request that is refused: a plain HTTP answer with a JSON body.

use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

/// Why a request is refused, cut by what the client can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400: the request is wrong, in these words.
    Malformed(&'static str),
    /// 401: no token, or one that is not believed. The client never learns why.
    Unauthorized,
    /// 403: the page's origin is not on the list.
    Origin,
    /// 404.
    NotFound,
    /// 405: only `GET`.
    Method,
    /// 426: a WebSocket is spoken here.
    UpgradeRequired,
    /// 429: too much of something.
    TooMany(&'static str),
    /// 503: not now.
    Unavailable(&'static str),
}

/// When to come back after a 429 or a 503.
const RETRY: Duration = Duration::from_secs(5);

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The `code` of the body, and the label of the metric where nothing finer is known.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Malformed(_) => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Origin => "origin_not_allowed",
            Self::NotFound => "not_found",
            Self::Method => "method_not_allowed",
            Self::UpgradeRequired => "upgrade_required",
            Self::TooMany(_) => "too_many",
            Self::Unavailable(_) => "unavailable",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Malformed(what) | Self::TooMany(what) | Self::Unavailable(what) => what,
            Self::Unauthorized => "a valid token is required",
            Self::Origin => "pages of this origin may not connect",
            Self::NotFound => "there is nothing here",
            Self::Method => "only GET is possible here",
            Self::UpgradeRequired => "this address speaks WebSocket, version 13",
        }
    }

    /// The HTTP answer, after which the connection ends.
    pub(super) fn response<B: From<String>>(self) -> Response<B> {
        let body = serde_json::json!({ "code": self.code(), "message": self.message() });
        let mut response = Response::new(B::from(body.to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        for (name, value) in COMMON {
            headers.insert(name, HeaderValue::from_static(value));
        }
        match self {
            Self::Unauthorized => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            Self::UpgradeRequired => {
                headers.insert(CONNECTION, HeaderValue::from_static("close, upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Self::TooMany(_) | Self::Unavailable(_) => {
                // Spread, so that those who were refused together do not return together.
                let seconds = RETRY.as_secs() + fastrand::u64(0..=RETRY.as_secs());
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Malformed(_) | Self::Origin | Self::NotFound => {}
        }
        response
    }
}

/// What every answer carries: nothing of it is kept, guessed at or passed on.
pub(super) const COMMON: [(HeaderName, &str); 3] = [
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];
