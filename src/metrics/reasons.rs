//! Counts by reason, which can be read back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;

/// One label: why something was refused, failed or ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    /// A word from a fixed list, never from a client.
    reason: &'static str,
}

/// Counts by reason.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons(Arc<RwLock<BTreeMap<&'static str, Counter>>>);

impl Reasons {
    /// Counts one more for `reason`, a word from a fixed list.
    pub(super) fn count(&self, reason: &'static str) {
        if let Some(counter) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(reason) {
            counter.inc();
            return;
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default().inc();
    }

    /// What was counted until now.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(reason, counter)| (*reason, counter.get())).collect()
    }
}

impl EncodeMetric for Reasons {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for (reason, counter) in counters.iter() {
            counter.encode(encoder.encode_family(&Reason { reason })?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }

    fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
