//! `GET /admin/status`: how the service is, in one answer, for people and for plots.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Admin, Call, Service, answer};
use crate::epoch::milliseconds;
use crate::metrics::Counts;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;
use crate::store::Health;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: &'static str,
    /// The name of the node that was asked, where there can be others.
    node: Option<String>,
    /// Milliseconds since the Unix epoch, by the server's clock.
    now: u64,
    uptime_seconds: u64,
    connections: usize,
    users: usize,
    messages: Messages,
    per_second: PerSecond,
    ack_latency: Latency,
    /// Requests that were refused, frames that failed and connections that the server closed,
    /// by reason, since the start.
    refused: BTreeMap<&'static str, u64>,
    failures: BTreeMap<&'static str, u64>,
    closes: BTreeMap<&'static str, u64>,
    handshakes_failed: u64,
    reloads_failed: u64,
    /// What stands in the files and was refused.
    not_in_force: Vec<&'static str>,
    store: Store,
    certificate: Option<Certificate>,
}

/// Since the start.
#[derive(Debug, Serialize)]
struct Messages {
    stored: u64,
    acknowledged: u64,
    delivered: u64,
}

/// Over the last seconds.
#[derive(Debug, Serialize)]
struct PerSecond {
    stored: f64,
    acknowledged: f64,
    delivered: f64,
}

/// From a frame's coming in to its success's going out. The quantiles are of the last
/// minute, in seconds, and none where there was nothing; the classes are since the start.
#[derive(Debug, Serialize)]
struct Latency {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    count: u64,
    classes: Vec<Class>,
}

#[derive(Debug, Serialize)]
struct Class {
    /// In seconds; none for what lies above all others.
    #[serde(rename = "upTo")]
    up_to: Option<f64>,
    count: u64,
}

/// Whether the store takes messages, and why not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Store {
    health: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Word {
    Ready,
    ReadOnly,
    Closed,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    until: String,
    seconds_left: i64,
}

impl From<Health> for Store {
    fn from(health: Health) -> Self {
        match health {
            Health::Ready => Self { health: Word::Ready, why: None },
            Health::ReadOnly { why } => Self { health: Word::ReadOnly, why: Some(why) },
            Health::Closed => Self { health: Word::Closed, why: None },
        }
    }
}

impl Latency {
    fn of(all: &Counts, recent: &Counts) -> Self {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|part| recent.quantile(part));
        let classes = all.classes().map(|(up_to, count)| Class { up_to, count }).collect();
        Self { p50, p90, p99, count: all.total(), classes }
    }
}

impl Certificate {
    fn until(end: SystemTime) -> Self {
        let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let seconds_left = match end.duration_since(SystemTime::now()) {
            Ok(left) => seconds(left),
            Err(over) => -seconds(over.duration()),
        };
        Self { until: humantime::format_rfc3339_seconds(end).to_string(), seconds_left }
    }
}

impl Admin {
    pub(super) fn status(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let service = self.service()?;
        let Service { context, hub, recent, .. } = service;
        let now = recent.look();
        let sessions = &context.metrics;
        Ok(answer::json(&Status {
            version: env!("CARGO_PKG_VERSION"),
            node: service.node(),
            now: milliseconds(SystemTime::now()),
            uptime_seconds: self.started.elapsed().as_secs(),
            connections: hub.connections(),
            users: hub.users(),
            messages: Messages {
                stored: now.stored,
                acknowledged: now.acknowledged,
                delivered: now.delivered,
            },
            per_second: {
                let [stored, acknowledged, delivered] = recent.per_second(&now);
                PerSecond { stored, acknowledged, delivered }
            },
            ack_latency: Latency::of(&now.latency, &recent.of_last_minute(&now)),
            refused: self.metrics.refusals(),
            failures: sessions.failures(),
            closes: sessions.closes(),
            handshakes_failed: self.metrics.handshakes_failed.get(),
            reloads_failed: self.metrics.reloads_refused(),
            not_in_force: self.reload.not_in_force(),
            store: context.store.health().into(),
            certificate: self.reload.certificate_end().map(Certificate::until),
        }))
    }
}
