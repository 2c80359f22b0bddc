//! What the service counts, for `/metrics`: no user, token or content is in any label.

use prometheus_client::metrics::counter::Counter;
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
