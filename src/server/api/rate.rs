//! How many calls a user may make: as many as a connection may send frames.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config;
use crate::ids::UserId;

/// Calls after which users who have been silent are forgotten.
const TIDY_EVERY: usize = 1024;

/// One limit per user over all their calls.
#[derive(Debug)]
pub(crate) struct Rate {
    /// None where there is no limit.
    users: Option<DefaultKeyedRateLimiter<UserId>>,
    calls: AtomicUsize,
}

impl Rate {
    /// The limit that frames have too.
    pub(crate) fn new(limits: &config::Limits) -> Self {
        let users = NonZeroU32::new(limits.messages_per_second).map(|rate| {
            let burst = NonZeroU32::new(limits.message_burst).unwrap_or(rate);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Self { users, calls: AtomicUsize::new(1) }
    }

    /// Counts a call; false when it is one too many.
    pub(super) fn allow(&self, user: UserId) -> bool {
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

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate::new(&config::Limits {
            messages_per_second: per_second,
            message_burst: burst,
            ..Default::default()
        })
    }

    #[test]
    fn each_user_has_a_limit_of_their_own() {
        let [ming, hong] = [1, 2].map(|id| UserId::new(id).unwrap());
        let slow = rate(1, 2);
        assert!(slow.allow(ming) && slow.allow(ming) && !slow.allow(ming));
        assert!(slow.allow(hong));
        let free = rate(0, 1);
        assert!((0..1000).all(|_| free.allow(ming)));
    }

    #[test]
    fn who_is_silent_is_forgotten() {
        let rate = rate(1_000_000, 1_000_000);
        for id in 1..=3 * TIDY_EVERY as u64 {
            assert!(rate.allow(UserId::new(id).unwrap()));
        }
        let kept = rate.users.unwrap().len();
        assert!(kept <= 2 * TIDY_EVERY, "{kept}");
    }
}
