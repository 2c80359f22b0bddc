//! How long something takes, counted so that it can be read back here as well as by
//! whoever scrapes the metrics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The bounds in microseconds: each half as much again as the one before, up to 6.3 s, past
/// which a client is told that its message failed.
const BOUNDS: [u64; 26] = [
    250, 375, 562, 843, 1_264, 1_896, 2_844, 4_266, 6_399, 9_598, 14_397, 21_595, 32_392, 48_588,
    72_882, 109_323, 163_984, 245_976, 368_964, 553_446, 830_169, 1_245_253, 1_867_879, 2_801_818,
    4_202_727, 6_304_090,
];
const CLASSES: usize = BOUNDS.len() + 1;

/// Counts of durations, by size. Counting one is two additions.
#[derive(Clone, Debug, Default)]
pub struct Latency(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By bound; the last is for what lies above all of them.
    counts: [AtomicU64; CLASSES],
    micros: AtomicU64,
}

/// What was counted up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; CLASSES]);

impl Latency {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (to, from) in counts.0.iter_mut().zip(&self.0.counts) {
            *to = from.load(Ordering::Relaxed);
        }
        counts
    }
}

impl Counts {
    /// What came after `before`.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        for (now, before) in since.0.iter_mut().zip(before.0) {
            *now = now.saturating_sub(before);
        }
        since
    }

    /// How many they are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every class: its upper bound in seconds, none for the last, and how many are in it.
    pub fn classes(&self) -> impl Iterator<Item = (Option<f64>, u64)> + '_ {
        let bounds = BOUNDS.iter().map(|bound| Some(seconds(*bound))).chain([None]);
        bounds.zip(self.0)
    }

    /// The duration in seconds that a part of them does not exceed, such as 0.99 of them;
    /// between two bounds it is reckoned as if they lay there evenly.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of frames is far below 2^53")]
        let wanted = part * total as f64;
        let (mut below, mut from) = (0.0, 0.0);
        for (to, count) in self.classes() {
            #[expect(clippy::cast_precision_loss, reason = "a count of frames is far below 2^53")]
            let count = count as f64;
            // Above the last bound nothing is known but that.
            let to = to.unwrap_or(from);
            if count > 0.0 && below + count >= wanted {
                return Some(from + (to - from) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            (below, from) = (below + count, to);
        }
        None
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.counts();
        let classes =
            counts.classes().map(|(bound, count)| (bound.unwrap_or(f64::INFINITY), count));
        let buckets: Vec<(f64, u64)> = classes.collect();
        let sum = Duration::from_micros(self.0.micros.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, counts.total(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_where_the_durations_do() {
        let latency = Latency::default();
        assert_eq!(latency.counts().quantile(0.5), None);
        let before = latency.counts();
        for millis in 1..=1000 {
            latency.observe(Duration::from_millis(millis));
        }
        let counts = latency.counts();
        for (part, about) in [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99)] {
            let found = counts.quantile(part).unwrap();
            assert!((0.7 * about..1.7 * about).contains(&found), "{part}: {found}");
        }
        assert_eq!(counts.since(&before).total(), 1000);
        assert_eq!(counts.since(&counts).quantile(0.5), None);
    }

    #[test]
    fn the_shortest_and_the_longest_are_counted_too() {
        let latency = Latency::default();
        latency.observe(Duration::ZERO);
        latency.observe(Duration::MAX);
        let counts = latency.counts();
        assert_eq!(counts.total(), 2);
        assert_eq!(counts.classes().last(), Some((None, 1)));
        assert!(counts.quantile(0.25).unwrap() <= 0.000_25);
        assert!(counts.quantile(1.0).unwrap() > 6.0);
    }
}
