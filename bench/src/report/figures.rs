//! Figures: what is made of counts, times and bytes.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A distribution of latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half were faster.
    pub p50_ms: f64,
    /// One in a hundred was slower.
    pub p99_ms: f64,
    /// One in a thousand was slower.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Latency {
    /// Reads off a histogram in microseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |micros: u64| ratio(micros, 1000);
        Self {
            count: histogram.len(),
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            p999_ms: ms(histogram.value_at_quantile(0.999)),
            max_ms: ms(histogram.max()),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_ms, p99_ms, p999_ms, max_ms, .. } = self;
        write!(f, "p50 {p50_ms:.2}  p99 {p99_ms:.2}  p99.9 {p999_ms:.2}  max {max_ms:.2} ms")
    }
}

/// `part / whole` for counts.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts and bytes stay far below 2^53")]
pub fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Items a second.
#[must_use]
pub fn per_second(items: u64, time: Duration) -> f64 {
    ratio(items, 1) / time.as_secs_f64().max(1e-9)
}

/// Bytes as MiB.
#[must_use]
pub fn mib(bytes: u64) -> f64 {
    ratio(bytes, 1 << 20)
}

/// Time in microseconds.
#[must_use]
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Time by item, in microseconds.
#[must_use]
pub fn micros_each(time: Duration, items: u64) -> f64 {
    micros(time) / ratio(items, 1).max(1.0)
}

/// The median; the mean of the middle two where there are two.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().saturating_sub(1) / 2;
    let middle = values.get(lower).zip(values.get(upper));
    middle.map_or(f64::NAN, |(lower, upper)| f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_distribution_are_right() {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
        (1..=1000).for_each(|ms| histogram.record(ms * 1000).unwrap());
        let latency = Latency::of(&histogram);
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.002;
        assert_eq!(latency.count, 1000);
        assert!(near(latency.p50_ms, 500.0), "{latency}");
        assert!(near(latency.p99_ms, 990.0), "{latency}");
        assert!(near(latency.p999_ms, 999.0), "{latency}");
        assert!(near(latency.max_ms, 1000.0), "{latency}");
    }

    #[test]
    fn a_median_needs_no_odd_count() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }
}
