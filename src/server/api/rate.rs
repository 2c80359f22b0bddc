//! How many calls a user may make: as many as a connection may send frames.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config;
use crate::ids::UserId;

/// Calls after which users who have been silent are forgotten.
const TIDY_EVERY: usize = 1024;

/// One limit per user over all their calls.
#[derive(Debug, Default)]
pub(crate) struct Rate(ArcSwap<Counts>);

/// What was called under one limit.
#[derive(Debug, Default)]
struct Counts {
    limit: Limit,
    /// None where there is no limit.
    users: Option<DefaultKeyedRateLimiter<UserId>>,
    calls: AtomicUsize,
}

/// Calls a second and at once: what frames have too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Limit {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// Counts a call; false when it is one too many by `limits`.
    ///
    /// When those have changed, everybody begins anew.
    pub(super) fn allow(&self, user: UserId, limits: &config::Limits) -> bool {
        let limit = Limit { per_second: limits.messages_per_second, burst: limits.message_burst };
        let counts = self.0.load();
        if counts.limit == limit {
            return counts.allow(user);
        }
        let counts = Arc::new(Counts::new(limit));
        self.0.store(Arc::clone(&counts));
        counts.allow(user)
    }
}

impl Counts {
    fn new(limit: Limit) -> Self {
        let users = NonZeroU32::new(limit.per_second).map(|rate| {
            let burst = NonZeroU32::new(limit.burst).unwrap_or(rate);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Self { limit, users, calls: AtomicUsize::new(1) }
    }

    fn allow(&self, user: UserId) -> bool {
        let Some(users) = &self.users else {
            return true;
        };
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIDY_EVERY) {
            users.retain_recent();
            users.shrink_to_fit();
        }
        users.check_key(&user).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(messages_per_second: u32, message_burst: u32) -> config::Limits {
        config::Limits { messages_per_second, message_burst, ..Default::default() }
    }

    #[test]
    fn each_user_has_a_limit_of_their_own_and_a_new_one_holds_at_once() {
        let [ming, hong] = [1, 2].map(|id| UserId::new(id).unwrap());
        let (rate, slow) = (Rate::default(), limits(1, 2));
        assert!(rate.allow(ming, &slow) && rate.allow(ming, &slow) && !rate.allow(ming, &slow));
        assert!(rate.allow(hong, &slow));
        let free = limits(0, 1);
        assert!((0..1000).all(|_| rate.allow(ming, &free)));
        assert!(rate.allow(ming, &slow) && rate.allow(ming, &slow) && !rate.allow(ming, &slow));
    }

    #[test]
    fn who_is_silent_is_forgotten() {
        let (rate, fast) = (Rate::default(), limits(1_000_000, 1_000_000));
        for id in 1..=3 * TIDY_EVERY as u64 {
            assert!(rate.allow(UserId::new(id).unwrap(), &fast));
        }
        let kept = rate.0.load().users.as_ref().unwrap().len();
        assert!(kept <= 2 * TIDY_EVERY, "{kept}");
    }
}
