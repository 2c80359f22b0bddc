//! What was counted in the last minute, looked at once a second, for rates and quantiles.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::{Counts, SessionMetrics, StoreMetrics};
use crate::ticks::every;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// How many looks are kept: a minute.
const KEPT: usize = 60;

/// Over how many of them a rate is reckoned: short enough to follow, long enough not to jump.
const RATE: usize = 5;

/// What was counted up to a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    at: Instant,
    pub(super) stored: u64,
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
    pub(super) latency: Counts,
}

/// The looks of the last minute.
#[derive(Debug)]
pub(in crate::server) struct Recent {
    store: StoreMetrics,
    sessions: SessionMetrics,
    looks: Mutex<VecDeque<Look>>,
}

impl Recent {
    pub(in crate::server) fn new(store: StoreMetrics, sessions: SessionMetrics) -> Self {
        Self { store, sessions, looks: Mutex::default() }
    }

    /// Looks for ever.
    pub(in crate::server) async fn keep_looking(&self) {
        let mut tick = every(EVERY);
        loop {
            tick.tick().await;
            let look = self.look();
            let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            looks.push_front(look);
            looks.truncate(KEPT);
        }
    }

    /// What is counted now.
    pub(super) fn look(&self) -> Look {
        Look {
            at: Instant::now(),
            stored: self.store.messages(),
            acknowledged: self.sessions.acknowledged.get(),
            delivered: self.sessions.delivered.get(),
            latency: self.sessions.acknowledged_seconds.counts(),
        }
    }

    /// Stored, acknowledged and delivered in a second, over the last few.
    pub(super) fn per_second(&self, now: &Look) -> [f64; 3] {
        let Some(then) = self.before(RATE) else {
            return [0.0; 3];
        };
        let seconds = now.at.saturating_duration_since(then.at).as_secs_f64();
        let pairs = [
            (now.stored, then.stored),
            (now.acknowledged, then.acknowledged),
            (now.delivered, then.delivered),
        ];
        pairs.map(|(now, then)| {
            let more = u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX);
            if seconds > 0.0 { f64::from(more) / seconds } else { 0.0 }
        })
    }

    /// The latencies of the last minute.
    pub(super) fn of_last_minute(&self, now: &Look) -> Counts {
        self.before(KEPT).map_or(now.latency, |then| now.latency.since(&then.latency))
    }

    /// The look so many ago, or the oldest there is.
    fn before(&self, looks: usize) -> Option<Look> {
        let kept = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(looks.saturating_sub(1)).or(kept.back()).copied()
    }
}
