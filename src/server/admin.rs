//! The administrators' listener: how the service is, never on the public one.

use std::sync::{Arc, OnceLock};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::filters::BoxedFilter;

use super::routes::{Answer, nothing};
use crate::store::{Health, Store};

/// What the answers are made from.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) registry: Registry,
    /// Set once the store is open.
    pub(super) store: OnceLock<Arc<dyn Store>>,
    pub(super) shutdown: CancellationToken,
}

/// `/metrics`, `/healthz` and `/readyz`.
pub(super) fn routes(status: Arc<Status>) -> BoxedFilter<(Answer,)> {
    let metrics = {
        let status = Arc::clone(&status);
        warp::path!("metrics").map(move || status.metrics())
    };
    let alive = warp::path!("healthz").map(|| text(StatusCode::OK, "alive\n".to_owned()));
    let ready = warp::path!("readyz").map(move || status.ready());
    let found = warp::get().and(metrics.or(alive).unify().or(ready).unify());
    found.or(nothing()).unify().boxed()
}

impl Status {
    fn metrics(&self) -> Answer {
        let mut page = String::new();
        match encode(&mut page, &self.registry) {
            Ok(()) => {
                let mut response = text(StatusCode::OK, page);
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no metrics\n".to_owned()),
        }
    }

    /// Ready is who takes connections and stores messages.
    fn ready(&self) -> Answer {
        let not = |why: &str| text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"));
        if self.shutdown.is_cancelled() {
            return not("the server is stopping");
        }
        let Some(store) = self.store.get() else {
            return not("the store is being opened");
        };
        match store.health() {
            Health::Ready => text(StatusCode::OK, "ready\n".to_owned()),
            Health::ReadOnly { why } => not(&why),
            Health::Closed => not("the store is closed"),
        }
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
