//! What stands where on the public listener.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Response};
use hyper::upgrade::OnUpgrade;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;

use super::accept::Arrival;
use super::api::{Api, Body};
use super::page;
use super::refusal::Refusal;
use super::terms::CurrentTerms;
use super::upgrade::Upgrades;

/// An answer, whoever made it.
pub(super) type Answer = warp::reply::Response;

/// A request as it came in, without its body.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) arrival: Arrival,
}

/// The routes: WebSockets, the API, the client, the page where it is switched on, and
/// nothing else.
pub(super) fn public(
    upgrades: Arc<Upgrades>,
    api: Arc<Api>,
    terms: CurrentTerms,
) -> BoxedFilter<(Answer,)> {
    let limits = Arc::clone(&api);
    let calls = call(
        move || limits.body_limits(),
        move |request, body| Arc::clone(&api).answer(request, body),
    );
    let calls = warp::path("teaching").and(warp::path("api")).and(calls);
    let sockets = warp::path("teaching").and(warp::path("imserver")).and(upgrade(upgrades));
    let pages = warp::any()
        .and_then(move || {
            let open = terms.get().chat_page;
            async move { if open { Ok(()) } else { Err(warp::reject()) } }
        })
        .untuple_one()
        .and(page::chat());
    sockets
        .or(calls)
        .unify()
        .or(page::client())
        .unify()
        .or(pages)
        .unify()
        .or(nothing())
        .unify()
        .boxed()
}

/// The WebSocket's own route.
fn upgrade(
    upgrades: Arc<Upgrades>,
) -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    request().and(warp::ext::optional::<OnUpgrade>()).then(
        move |request: Request, switch: Option<OnUpgrade>| {
            Arc::clone(&upgrades).answer(request, switch)
        },
    )
}

/// Calls with a body of such a size and time at the most.
pub(super) fn call<W, F>(
    body_limits: impl Fn() -> (usize, Duration) + Clone + Send + Sync + 'static,
    work: W,
) -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone
where
    W: Fn(Request, Body) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send,
{
    request()
        .and(warp::body::stream())
        .then(move |request, body| work(request, Body::new(body, body_limits())))
}

/// The request with its raw path: `warp::path` would take several spellings for one.
fn request() -> impl Filter<Extract = (Request,), Error = warp::Rejection> + Clone {
    warp::method()
        .and(warp::path::full())
        .and(query())
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Arrival>())
        .map(|method, path: FullPath, query, headers, arrival| {
            let path = path.as_str().to_owned();
            Request { method, path, query, headers, arrival }
        })
}

/// What stands behind the `?`, if there is one.
fn query() -> impl Filter<Extract = (Option<String>,), Error = Infallible> + Clone {
    warp::query::raw().map(Some).or(warp::any().map(|| None)).unify()
}

/// What is read without a body, or without the body of its answer: whoever looks whether all is
/// well may not want it (RFC 9110, section 9.3.2).
pub(super) fn read() -> impl Filter<Extract = (), Error = warp::Rejection> + Copy {
    warp::get().or(warp::head()).unify()
}

/// 404, whatever was asked for.
pub(super) fn nothing() -> impl Filter<Extract = (Answer,), Error = Infallible> + Clone {
    warp::any().map(|| -> Response<_> { Refusal::NotFound.response() })
}
