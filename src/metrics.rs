//! What the service counts, for `/metrics`: no user, token or content is in any label.

mod cluster;
mod latency;
mod reasons;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

pub use self::cluster::{ClusterMetrics, write_given_up, write_retried};
pub use self::latency::{Counts, Latency};
use self::reasons::Reasons;
use crate::epoch;

/// Enters a metric and gives a handle on it.
fn enter<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// One label: what was read again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    /// A word from a fixed list.
    what: &'static str,
}

/// One label: what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// A word from a fixed list.
    outcome: &'static str,
}

/// Two labels: what was called, and how it answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    /// The name of the call, never a path.
    call: &'static str,
    /// The HTTP status.
    status: u32,
}

/// Faults of our own, wherever they were met.
static PANICS: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Counts a fault of our own.
pub fn panicked() {
    PANICS.inc();
}

/// Counters of the store's writer.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    messages: Counter,
    /// Messages that went, by age or with a user.
    pub removed: Counter,
    commit_messages: Histogram,
    newest_id: Gauge,
    /// Time a commit took to reach the disk.
    pub commit_seconds: Histogram,
    /// Times the writer stopped for good.
    pub failed: Counter,
    /// Times the disk was full.
    pub full: Counter,
    /// What happens between nodes.
    pub cluster: ClusterMetrics,
}

impl StoreMetrics {
    /// Counters that nobody looks at, for a store that a command opens.
    pub fn unseen() -> Self {
        Self::register(&mut Registry::default())
    }

    /// Makes the counters and enters them.
    pub fn register(registry: &mut Registry) -> Self {
        // 1 to 512 messages; 0.1 ms to 3 s.
        let sizes = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        let times = Histogram::new(exponential_buckets(0.000_1, 2.0, 16));
        Self {
            messages: enter(registry, "messages", "Messages made durable", Counter::default()),
            removed: enter(registry, "removed", "Messages aged out or erased", Counter::default()),
            commit_messages: enter(registry, "commit_messages", "Messages in one commit", sizes),
            commit_seconds: enter(registry, "commit_seconds", "Commit to disk, seconds", times),
            newest_id: enter(registry, "newest_message_id", "Largest id given", Gauge::default()),
            failed: enter(registry, "store_failed", "Writer stopped for good", Counter::default()),
            full: enter(registry, "store_full", "Times the disk was full", Counter::default()),
            cluster: ClusterMetrics::register(registry),
        }
    }

    /// Counts so many messages of one commit, of which the newest has this id.
    pub fn stored(&self, messages: u64, newest: u64) {
        self.messages.inc_by(messages);
        self.commit_messages.observe(messages as f64);
        self.given(newest);
    }

    /// Takes note that the ids up to this one are given, now or at an earlier time. There are
    /// none from 2^53 on: whoever comes near must hear of it long before.
    pub fn given(&self, id: u64) {
        self.newest_id.inner().fetch_max(id.try_into().unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// How many messages were made durable.
    pub fn messages(&self) -> u64 {
        self.messages.get()
    }
}

/// Counters of the sessions.
#[derive(Clone, Debug)]
pub struct SessionMetrics {
    /// Messages that were acknowledged on connections.
    pub acknowledged: Counter,
    /// From a message's coming in to its success's going out.
    pub acknowledged_seconds: Latency,
    /// Messages written to a connection.
    pub delivered: Counter,
    failures: Reasons,
    closes: Reasons,
}

impl SessionMetrics {
    /// Makes the counters and enters them.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            acknowledged: enter(registry, "acknowledged", "Successes sent", Counter::default()),
            acknowledged_seconds: enter(
                registry,
                "acknowledged_seconds",
                "From a message received to its success, seconds",
                Latency::default(),
            ),
            delivered: enter(registry, "delivered", "Messages sent", Counter::default()),
            failures: enter(registry, "failures", "Failures sent", Reasons::default()),
            closes: enter(registry, "closes", "Closes by the server", Reasons::default()),
        }
    }

    /// Counts a message that is acknowledged so long after it came.
    pub fn acknowledged(&self, waited: Duration) {
        self.acknowledged.inc();
        self.acknowledged_seconds.observe(waited);
    }

    /// Counts a failed frame.
    pub fn failure(&self, code: &'static str) {
        self.failures.count(code);
    }

    /// Failed frames by their code.
    pub fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.failures.counts()
    }

    /// Closes by their reason.
    pub fn closes(&self) -> BTreeMap<&'static str, u64> {
        self.closes.counts()
    }

    /// Counts a close.
    pub fn close(&self, reason: &'static str) {
        self.closes.count(reason);
    }
}

/// The outcome of a fetch that gave keys.
const GOOD: &str = "good";

/// Counters of the fetching of an identity provider's keys.
#[derive(Clone, Debug)]
pub struct ProviderMetrics {
    fetches: Family<Outcome, Counter>,
    last_good: Gauge,
    keys: Gauge,
}

impl ProviderMetrics {
    /// Makes the counters and enters them.
    pub fn register(registry: &mut Registry) -> Self {
        let last_good = "Unix time of the last good fetch, 0 if there was none";
        let fetches: Family<Outcome, Counter> = Family::default();
        // There from the start, also where there is no provider: rules may name it.
        drop(fetches.get_or_create(&Outcome { outcome: GOOD }));
        Self {
            fetches: enter(registry, "jwks_fetches", "Fetches of keys", fetches),
            last_good: enter(registry, "jwks_last_good_seconds", last_good, Gauge::default()),
            keys: enter(registry, "jwks_keys", "Keys of the provider in use", Gauge::default()),
        }
    }

    /// Counts a fetch that gave so many keys.
    pub fn fetched(&self, keys: usize, at: SystemTime) {
        self.fetches.get_or_create(&Outcome { outcome: GOOD }).inc();
        let at = epoch::seconds(at);
        self.last_good.set(at.try_into().unwrap_or(i64::MAX));
        self.keys.set(keys.try_into().unwrap_or(i64::MAX));
    }

    /// Counts one that gave none, by a word for why.
    pub fn failed(&self, why: &'static str) {
        self.fetches.get_or_create(&Outcome { outcome: why }).inc();
    }
}

/// Counters of the listeners.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    /// Open WebSocket connections.
    pub connections: Gauge,
    /// Whether messages can be stored.
    pub store_ready: Gauge,
    refused: Reasons,
    calls: Family<Call, Counter>,
    admin_calls: Family<Call, Counter>,
    /// Faults of our own: each ended one task and should be reported.
    pub panics: Counter,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: Counter,
    reloads_failed: Counter,
    last_reload_successful: Family<What, Gauge>,
}

impl ServerMetrics {
    /// Makes the counters and enters them.
    pub fn register(registry: &mut Registry) -> Self {
        let counter = Counter::default;
        Self {
            connections: enter(registry, "connections", "Open connections", Gauge::default()),
            store_ready: enter(
                registry,
                "store_ready",
                "Whether messages can be stored",
                Gauge::default(),
            ),
            refused: enter(registry, "refused", "Requests refused", Reasons::default()),
            calls: enter(registry, "api_calls", "Calls of the API", Family::default()),
            admin_calls: enter(registry, "admin_calls", "Administrators' calls", Family::default()),
            handshakes_failed: enter(registry, "handshakes_failed", "TLS handshakes", counter()),
            panics: enter(registry, "panics", "Faults of our own", PANICS.clone()),
            reloads_failed: enter(registry, "reloads_failed", "Refused reloads", counter()),
            last_reload_successful: enter(
                registry,
                "last_reload_successful",
                "Whether what was read last is in force",
                Family::default(),
            ),
        }
    }

    /// Counts a call of the API.
    pub fn called(&self, call: &'static str, status: u16) {
        self.calls.get_or_create(&Call { call, status: status.into() }).inc();
    }

    /// Counts an administrator's call, or the attempt at one.
    pub fn administered(&self, call: &'static str, status: u16) {
        self.admin_calls.get_or_create(&Call { call, status: status.into() }).inc();
    }

    /// Counts what was read, by a word for it, and whether it is in force now.
    pub fn reloaded(&self, what: &'static str, in_force: bool) {
        self.last_reload_successful.get_or_create(&What { what }).set(in_force.into());
        if !in_force {
            self.reloads_failed.inc();
        }
    }

    /// Whether what was read last, by a word for it, is in force.
    pub fn is_in_force(&self, what: &'static str) -> bool {
        self.last_reload_successful.get(&What { what }).is_none_or(|gauge| gauge.get() != 0)
    }

    /// Refused requests by their reason.
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.refused.counts()
    }

    /// How often something was read again and refused.
    pub fn reloads_refused(&self) -> u64 {
        self.reloads_failed.get()
    }

    /// Counts a refused request, by the true reason.
    pub fn refused(&self, reason: &'static str) {
        self.refused.count(reason);
    }
}
