//! What the service counts, for `/metrics`: no user, token or content is in any label.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of the store's writer.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Messages made durable.
    pub messages: Counter,
    /// Messages in one commit.
    pub commit_messages: Histogram,
    /// Time a commit took to reach the disk.
    pub commit_seconds: Histogram,
    /// Times the writer stopped for good.
    pub failed: Counter,
}

impl StoreMetrics {
    /// Makes the counters and enters them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            messages: Counter::default(),
            commit_messages: Histogram::new(exponential_buckets(1.0, 2.0, 8)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            failed: Counter::default(),
        };
        registry.register(
            "messages",
            "Messages made durable",
            metrics.messages.clone(),
        );
        registry.register(
            "commit_messages",
            "Messages in one commit",
            metrics.commit_messages.clone(),
        );
        registry.register(
            "commit_seconds",
            "Time from a commit to the disk",
            metrics.commit_seconds.clone(),
        );
        registry.register(
            "store_failed",
            "Writer stopped for good",
            metrics.failed.clone(),
        );
        metrics
    }
}

/// One label: why something was refused, failed or ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// A word from a fixed list, never from a client.
    pub reason: &'static str,
}

/// Counters of the sessions.
#[derive(Clone, Debug)]
pub struct SessionMetrics {
    /// Frames answered with success.
    pub acknowledged: Counter,
    /// Messages written to a connection.
    pub delivered: Counter,
    /// Frames answered with failure, by code.
    failures: Family<Reason, Counter>,
    /// Connections that the server closed, by reason.
    closes: Family<Reason, Counter>,
}

impl SessionMetrics {
    /// Makes the counters and enters them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            acknowledged: Counter::default(),
            delivered: Counter::default(),
            failures: Family::default(),
            closes: Family::default(),
        };
        registry.register(
            "acknowledged",
            "Frames answered with success",
            metrics.acknowledged.clone(),
        );
        registry.register(
            "delivered",
            "Messages written to a connection",
            metrics.delivered.clone(),
        );
        registry.register(
            "failures",
            "Frames answered with failure",
            metrics.failures.clone(),
        );
        registry.register(
            "closes",
            "Connections closed by the server",
            metrics.closes.clone(),
        );
        metrics
    }

    /// Counts a failed frame.
    pub fn failure(&self, code: &'static str) {
        self.failures.get_or_create(&Reason { reason: code }).inc();
    }

    /// Counts a close.
    pub fn close(&self, reason: &'static str) {
        self.closes.get_or_create(&Reason { reason }).inc();
    }
}

/// Counters of the listeners.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    /// Open WebSocket connections.
    pub connections: Gauge,
    /// Upgrades that were refused, by the true reason.
    refused: Family<Reason, Counter>,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: Counter,
    /// Certificates and key sets that were read again and refused.
    pub reloads_failed: Counter,
}

impl ServerMetrics {
    /// Makes the counters and enters them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            connections: Gauge::default(),
            refused: Family::default(),
            handshakes_failed: Counter::default(),
            reloads_failed: Counter::default(),
        };
        registry.register(
            "connections",
            "Open connections",
            metrics.connections.clone(),
        );
        registry.register("refused", "Upgrades refused", metrics.refused.clone());
        registry.register(
            "handshakes_failed",
            "TLS handshakes that failed",
            metrics.handshakes_failed.clone(),
        );
        registry.register(
            "reloads_failed",
            "Certificates and key sets refused when read again",
            metrics.reloads_failed.clone(),
        );
        metrics
    }

    /// Counts a refused upgrade.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}
