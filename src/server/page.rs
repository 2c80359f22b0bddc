//! The chat page and the client that it imports, compiled in.

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use warp::Filter;

use super::refusal::COMMON;
use super::routes::Answer;

/// Nothing but our own files and our own sockets; no code in the page itself, and no
/// way for the page to make text into code or markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

/// `/` and what it loads.
pub(super) fn routes() -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    let html = warp::path::end()
        .map(|| file("text/html; charset=utf-8", include_str!("../web/index.html")));
    let script = warp::path!("chat.js")
        .map(|| file("text/javascript; charset=utf-8", include_str!("../web/chat.js")));
    let client = warp::path!("client" / "imserver.js").map(|| {
        file("text/javascript; charset=utf-8", include_str!("../../client/dist/imserver.js"))
    });
    let style = warp::path!("chat.css")
        .map(|| file("text/css; charset=utf-8", include_str!("../web/chat.css")));
    let icon =
        warp::path!("icon.svg").map(|| file("image/svg+xml", include_str!("../web/icon.svg")));
    warp::get().and(html.or(script).unify().or(client).unify().or(style).unify().or(icon).unify())
}

fn file(kind: &'static str, text: &'static str) -> Answer {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    for (name, value) in COMMON {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}
