//! What a node counts of the NATS servers that it shares with others.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::enter;
use super::reasons::Reasons;

/// Writes that were tried again, wherever in the store.
static RETRIES: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Writes of which nobody could say in time what came of them.
static GIVEN_UP: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Counts a write that is tried again, because no answer came or no leader was there.
pub fn write_retried() {
    RETRIES.inc();
}

/// Counts a write that had no outcome in its time: its sender is told so.
pub fn write_given_up() {
    GIVEN_UP.inc();
}

/// One label: which stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stream {
    /// Its name, of which a deployment has two for each partition and four more.
    stream: String,
}

/// Counters of a node among others. They stay at 0 where the store is this machine's own.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    /// Messages of which another node's came first, so that they were written behind it.
    pub overtaken: Counter,
    gaps: Counter,
    missed: Counter,
    behind: Family<Stream, Gauge>,
    copies: Family<Stream, Gauge>,
    copies_wanted: Family<Stream, Gauge>,
    clock_ahead: Gauge<f64, AtomicU64>,
    events: Reasons,
}

impl ClusterMetrics {
    /// Makes the counters and enters them.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counter = Counter::default;
        let retries = "Writes to a stream tried again";
        let given_up = "Writes to a stream without an outcome in time";
        let missed = "Entries of streams that were read because their announcement was missed";
        enter(registry, "write_retries", retries, RETRIES.clone());
        enter(registry, "writes_given_up", given_up, GIVEN_UP.clone());
        Self {
            overtaken: enter(registry, "writes_overtaken", "Writes behind another's", counter()),
            gaps: enter(registry, "announcement_gaps", "Gaps met in a stream", counter()),
            missed: enter(registry, "announcements_missed", missed, counter()),
            behind: enter(
                registry,
                "stream_behind",
                "Entries of a stream that this node has not taken yet",
                Family::default(),
            ),
            copies: enter(
                registry,
                "stream_copies",
                "Servers that have all of a stream, 0 while it has no leader",
                Family::default(),
            ),
            copies_wanted: enter(
                registry,
                "stream_copies_wanted",
                "Servers that should have all of a stream, as it was made or changed",
                Family::default(),
            ),
            clock_ahead: enter(
                registry,
                "clock_ahead_seconds",
                "By how much the clock of this machine is ahead of the NATS servers'",
                Gauge::default(),
            ),
            events: enter(
                registry,
                "nats_events",
                "What befell the connection to the NATS servers",
                Reasons::default(),
            ),
        }
    }

    /// Counts a gap of so many entries.
    pub fn gap(&self, entries: u64) {
        self.gaps.inc();
        self.missed.inc_by(entries);
    }

    /// Notes by how many entries this node was found behind a stream.
    pub fn behind(&self, stream: &str, entries: u64) {
        let label = Stream { stream: stream.to_owned() };
        self.behind.get_or_create(&label).set(entries.try_into().unwrap_or(i64::MAX));
    }

    /// Notes how many servers have all of a stream; 0: none says so.
    pub fn copies(&self, stream: &str, servers: u64) {
        let label = Stream { stream: stream.to_owned() };
        self.copies.get_or_create(&label).set(servers.try_into().unwrap_or(i64::MAX));
    }

    /// Notes how many servers should have all of a stream.
    pub fn copies_wanted(&self, stream: &str, servers: u64) {
        let label = Stream { stream: stream.to_owned() };
        self.copies_wanted.get_or_create(&label).set(servers.try_into().unwrap_or(i64::MAX));
    }

    /// Notes by how many seconds the clock of this machine is ahead of the servers'.
    pub fn clock_ahead(&self, seconds: f64) {
        self.clock_ahead.set(seconds);
    }

    /// Counts what befell the connection, by a word for it.
    pub fn event(&self, what: &'static str) {
        self.events.count(what);
    }
}
