//! Pages of other origins: those on `server.origins` may use the API from a browser
//! (Fetch, section 3.2), and no others.
//!
//! There are no cookies here, so no `Allow-Credentials`: a page needs a token of its own.

use http::HeaderMap;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderValue, VARY,
};

use super::answer;
use super::route::Route;
use crate::server::handshake::listed_origin;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;

/// How long a browser may remember what it was told: ten minutes, so that a changed list
/// is in force soon.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The page that asks, if one does.
#[derive(Debug)]
pub(super) struct Page<'a>(Option<&'a HeaderValue>);

impl<'a> Page<'a> {
    /// Finds out which page asks.
    ///
    /// # Errors
    /// One that is not on the list; it is told nothing that its browser would let it read.
    pub(super) fn check(headers: &'a HeaderMap, origins: &[String]) -> Result<Self, Refusal> {
        listed_origin(headers, origins).map(Self)
    }

    /// What may be asked at this address: all that a browser wants to know beforehand.
    pub(super) fn preflight(&self, route: &Route<'_>) -> Answer {
        let mut response = answer::empty();
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(route.allow()));
        if self.0.is_some() {
            let asked = HeaderValue::from_static("authorization, content-type");
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(route.allow()));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        response
    }

    /// Lets the page read the answer.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        let Some(origin) = self.0 else { return };
        let exposed = HeaderValue::from_static("Retry-After, WWW-Authenticate");
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
}
