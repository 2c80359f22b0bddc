//! What one connection may do: how fast, and how often wrong.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use crate::config;
use crate::ids::UserId;

/// Control frames a second that nobody needs more of, and how many at once.
const CONTROL_RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const CONTROL_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// One clock for all: making one asks the processor what it is, which costs a
/// virtual machine a twentieth of a whole connection.
static CLOCK: LazyLock<DefaultClock> = LazyLock::new(DefaultClock::default);

/// A minute: the stretch in which violations are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// How fast frames may come.
#[derive(Debug)]
pub(super) struct Rates {
    frames: Option<DefaultDirectRateLimiter>,
    control: DefaultDirectRateLimiter,
}

impl Rates {
    pub(super) fn new(limits: &config::Limits) -> Self {
        let frames = NonZeroU32::new(limits.messages_per_second).map(|rate| {
            let burst = NonZeroU32::new(limits.message_burst).unwrap_or(rate);
            RateLimiter::direct_with_clock(
                Quota::per_second(rate).allow_burst(burst),
                CLOCK.clone(),
            )
        });
        let control = Quota::per_second(CONTROL_RATE).allow_burst(CONTROL_BURST);
        Self { frames, control: RateLimiter::direct_with_clock(control, CLOCK.clone()) }
    }

    pub(super) fn allow_frame(&self) -> bool {
        self.frames.as_ref().is_none_or(|frames| frames.check().is_ok())
    }

    pub(super) fn allow_control(&self) -> bool {
        self.control.check().is_ok()
    }
}

/// When the client's last faults were.
#[derive(Debug)]
pub(super) struct Violations {
    max: usize,
    times: VecDeque<Instant>,
}

impl Violations {
    pub(super) fn new(max: usize) -> Self {
        Self { max, times: VecDeque::new() }
    }

    /// Counts a fault; false when there were too many within a minute.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        while self.times.front().is_some_and(|&first| now - first >= MINUTE) {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.times.len() <= self.max
    }
}

/// Who is told how often that the user is typing to them.
#[derive(Debug, Default)]
pub(super) struct Typing {
    last: HashMap<UserId, Instant>,
}

impl Typing {
    /// Once a second and peer.
    const EVERY: Duration = Duration::from_secs(1);

    /// Peers after whom those of long ago are forgotten.
    const TIDY_AT: usize = 16;

    /// Whether `peer` may be told now.
    pub(super) fn allow(&mut self, peer: UserId, now: Instant) -> bool {
        if self.last.len() >= Self::TIDY_AT {
            self.last.retain(|_, last| now - *last < Self::EVERY);
        }
        let recent = self.last.get(&peer).is_some_and(|last| now - *last < Self::EVERY);
        if !recent {
            self.last.insert(peer, now);
        }
        !recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn violations_count_within_a_minute() {
        let start = Instant::now();
        let mut violations = Violations::new(2);
        assert!(violations.count(start));
        assert!(violations.count(at(start, 30.0)));
        assert!(violations.count(at(start, 61.0)));
        assert!(!violations.count(at(start, 62.0)));
    }
}
