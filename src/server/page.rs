//! The client for pages anywhere, the chat page that is built on it, and the
//! administrators' page; compiled in.

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderValue, IF_NONE_MATCH,
};
use http::{Response, StatusCode};
use warp::Filter;

use super::refusal::mark;
use super::routes::{Answer, read};
use crate::digest::digest128;

/// Nothing but our own files and our own sockets; no code in the page itself, and no
/// way for the page to make text into code or markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The JavaScript client. Pages of all origins may load it: it opens nothing without a
/// token, and who may connect is for `server.origins` to say.
pub(super) fn client() -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    let client = File::new(JAVASCRIPT, include_str!("../../client/dist/imserver.js"));
    let path = warp::path!("client" / "imserver.js");
    path.and(served(client)).map(|mut answer: Answer| {
        let anybody = HeaderValue::from_static("*");
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
        answer
    })
}

/// `/` and what it loads beside the client.
pub(super) fn chat() -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    let page = File::new(HTML, include_str!("../web/index.html"));
    let script = File::new(JAVASCRIPT, include_str!("../web/chat.js"));
    let style = File::new(CSS, include_str!("../web/chat.css"));
    let script = warp::path!("chat.js").and(served(script));
    let style = warp::path!("chat.css").and(served(style));
    page_with(page).or(script).unify().or(style).unify()
}

/// The same for administrators, on their listener. It knows nothing: all that it shows and
/// does it asks for with the token that somebody pastes into it.
pub(super) fn admin() -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    let page = File::new(HTML, include_str!("../web/admin/index.html"));
    let script = File::new(JAVASCRIPT, include_str!("../web/admin/admin.js"));
    let style = File::new(CSS, include_str!("../web/admin/admin.css"));
    let script = warp::path!("admin.js").and(served(script));
    let style = warp::path!("admin.css").and(served(style));
    page_with(page).or(script).unify().or(style).unify()
}

/// A page at `/`, and what all pages have.
fn page_with(page: File) -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    let style = File::new(CSS, include_str!("../web/base.css"));
    let icon = File::new("image/svg+xml", include_str!("../web/icon.svg"));
    let page = warp::path::end().and(served(page));
    let style = warp::path!("base.css").and(served(style));
    let icon = warp::path!("icon.svg").and(served(icon));
    page.or(style).unify().or(icon).unify()
}

/// A file, and the name of this very version of it.
#[derive(Clone)]
struct File {
    kind: &'static str,
    text: &'static str,
    version: String,
}

impl File {
    fn new(kind: &'static str, text: &'static str) -> Self {
        let digest = u128::from_be_bytes(digest128(&[text.as_bytes()]));
        Self { kind, text, version: format!("\"{digest:032x}\"") }
    }

    /// The file, or 304 for a browser that has this version (RFC 9110, section 13.1.2).
    fn answer(&self, known: Option<&str>) -> Answer {
        let is_known = known.is_some_and(|known| {
            let mut versions = known.split(',').map(|one| one.trim().trim_start_matches("W/"));
            versions.any(|version| version == "*" || version == self.version)
        });
        let text = if is_known { "" } else { self.text };
        let mut response = Response::new(text.into());
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        mark(headers);
        // Kept, and asked for again each time: a new server brings a new page at once.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        if let Ok(version) = HeaderValue::try_from(&self.version) {
            headers.insert(ETAG, version);
        }
        response
    }
}

fn served(file: File) -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    read()
        .and(warp::header::optional::<String>(IF_NONE_MATCH.as_str()))
        .map(move |known: Option<String>| file.answer(known.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_has_the_file_is_not_sent_it_again() {
        let file = File::new(JAVASCRIPT, "export {}");
        let other = File::new(JAVASCRIPT, "export { }");
        let status = |known: Option<&str>| file.answer(known).status().as_u16();
        assert_eq!(status(None), 200);
        assert_eq!(status(Some(&other.version)), 200);
        assert_eq!(status(Some("*")), 304);
        assert_eq!(status(Some(&file.version)), 304);
        assert_eq!(status(Some(&format!("\"x\", W/{}", file.version))), 304);
    }
}
