//! How the service is: for whoever watches it, without a token.

use std::sync::{Arc, OnceLock};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::filters::BoxedFilter;

use crate::server::refusal::mark;
use crate::server::routes::{Answer, read};
use crate::store::{Health, Store};

/// What the answers are made from.
#[derive(Debug)]
pub(in crate::server) struct Probes {
    pub(in crate::server) registry: Registry,
    /// Whether messages can be stored, as of when the metrics are asked for.
    pub(in crate::server) store_ready: Gauge,
    /// Set once the store is open.
    pub(in crate::server) store: OnceLock<Arc<dyn Store>>,
    pub(in crate::server) shutdown: CancellationToken,
}

/// `/metrics`, `/healthz` and `/readyz`.
pub(super) fn routes(probes: Arc<Probes>) -> BoxedFilter<(Answer,)> {
    let metrics = {
        let probes = Arc::clone(&probes);
        warp::path!("metrics").map(move || probes.metrics())
    };
    let alive = warp::path!("healthz").map(|| text(StatusCode::OK, "alive\n".to_owned()));
    let ready = warp::path!("readyz").map(move || probes.ready());
    read().and(metrics.or(alive).unify().or(ready).unify()).boxed()
}

impl Probes {
    fn metrics(&self) -> Answer {
        let store = self.store.get();
        let ready = store.is_some_and(|store| matches!(store.health(), Health::Ready));
        self.store_ready.set(ready.into());
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
    mark(response.headers_mut());
    response
}
