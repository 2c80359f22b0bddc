//! The fixed schedule of the open loop.
//!
//! A thread of its own, because the runtime's timer counts in milliseconds and
//! a schedule rounded to that would be measured as the server's latency.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Says which messages are due. Message `k` belongs to pair `k % pairs`.
#[derive(Debug)]
pub struct Pacer {
    start: Instant,
    rate: u64,
    pairs: u64,
    due: AtomicU64,
    ended: AtomicBool,
    wake: Vec<Notify>,
}

impl Pacer {
    /// Starts a schedule of `rate` messages a second that lasts `length`.
    ///
    /// `start` is the time that [`scheduled`](Self::scheduled) counts from.
    #[must_use]
    pub fn start(
        start: Instant,
        rate: u64,
        pairs: u64,
        length: Duration,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let pacer = Arc::new(Self {
            start,
            rate,
            pairs,
            due: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            wake: (0..pairs).map(|_| Notify::new()).collect(),
        });
        let thread = std::thread::spawn({
            let pacer = Arc::clone(&pacer);
            move || pacer.run(length)
        });
        (pacer, thread)
    }

    /// Messages of `pair` that are due by now.
    #[must_use]
    pub fn due(&self, pair: u64) -> u64 {
        (self.due.load(Ordering::Acquire) + self.pairs - 1 - pair) / self.pairs
    }

    /// When message `sequence` of `pair` is due, in nanoseconds from the start.
    #[must_use]
    pub fn scheduled(&self, pair: u64, sequence: u64) -> u64 {
        self.due_at(sequence * self.pairs + pair)
    }

    /// Whether nothing more will become due.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until something changes for `pair`.
    pub async fn changed(&self, pair: u64) {
        match usize::try_from(pair).ok().and_then(|pair| self.wake.get(pair)) {
            Some(wake) => wake.notified().await,
            None => std::future::pending().await,
        }
    }

    fn due_at(&self, k: u64) -> u64 {
        let nanos = u128::from(k) * 1_000_000_000 / u128::from(self.rate);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    fn run(&self, length: Duration) {
        for (k, wake) in (0..).zip(self.wake.iter().cycle()) {
            let due_at = Duration::from_nanos(self.due_at(k));
            if due_at >= length {
                break;
            }
            if let Some(early) = due_at.checked_sub(self.start.elapsed()) {
                std::thread::sleep(early);
            }
            self.due.store(k + 1, Ordering::Release);
            wake.notify_one();
        }
        self.ended.store(true, Ordering::Release);
        self.wake.iter().for_each(Notify::notify_one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_becomes_due_once_spread_over_the_pairs() {
        let length = Duration::from_millis(10);
        let (pacer, thread) = Pacer::start(Instant::now(), 10_000, 3, length);
        thread.join().unwrap();
        assert!(pacer.ended());
        let due: Vec<u64> = (0..3).map(|pair| pacer.due(pair)).collect();
        assert_eq!(due, [34, 33, 33]);
        assert_eq!(pacer.scheduled(1, 2), 700_000);
        assert!(pacer.start.elapsed() >= length - Duration::from_micros(100));
    }
}
