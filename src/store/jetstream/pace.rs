//! When the next group goes: a round costs the servers about as much for a small one as for a
//! large one, and who was answered in the last one mostly sends again.

use std::time::Duration;

use tokio::time::Instant;

/// How long after one group the next one waits for those who were just answered: for as many
/// times as long as that one took, by which machines and network are known, and within bounds.
/// It goes as soon as all of them are there.
const ROUNDS: u32 = 2;
const HOLD_MIN: Duration = Duration::from_millis(4);
const HOLD_MAX: Duration = Duration::from_millis(20);

/// Fewer messages are not waited for: they cost less than a round does, and come where
/// somebody looks at how long each takes.
const FEW: usize = 8;

/// Groups that wait for nobody after one that waited in vain: who sends at times of their own
/// does not send sooner for it.
const VAIN: u8 = 16;

/// What a line knows of its last groups.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How large the group is that is on its way, and since when.
    under_way: Option<(usize, Instant)>,
    /// How many messages the next one should have, and until when it waits for them.
    wanted: Option<(usize, Instant)>,
    /// Groups that wait for nobody, this one and those behind it.
    hurried: u8,
}

impl Pace {
    /// A group of this size goes.
    pub(super) fn went(&mut self, size: usize, now: Instant) {
        (self.under_way, self.wanted) = (Some((size, now)), None);
        self.hurried = self.hurried.saturating_sub(1);
    }

    /// No group is on its way. Where the last one has just come back, the next one should have
    /// as many as were in it, who send again, beside those that had gathered `behind` it until
    /// they were answered, and at the `most` so many. Alone these would be half of all, and the
    /// others the other half, for ever.
    pub(super) fn is_back(&mut self, now: Instant, most: usize, behind: impl FnOnce() -> usize) {
        let Some((size, since)) = self.under_way.take().filter(|_| self.hurried == 0) else {
            return;
        };
        let all = size.saturating_add(behind()).min(most);
        let hold = now.duration_since(since).saturating_mul(ROUNDS).clamp(HOLD_MIN, HOLD_MAX);
        self.wanted = (all >= FEW).then(|| (all, now + hold));
    }

    /// Until when a group waits that would have so many messages now; nothing where it goes
    /// at once.
    pub(super) fn until(&mut self, waiting: usize, now: Instant) -> Option<Instant> {
        let (wanted, end) = self.wanted?;
        if waiting < wanted && now < end {
            return Some(end);
        }
        if waiting < wanted {
            self.hurried = VAIN;
        }
        self.wanted = None;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64;

    /// A group of `size` comes back when so many wait behind it.
    fn back(pace: &mut Pace, size: usize, behind: usize, now: Instant) {
        pace.went(size, now);
        pace.is_back(now, MOST, || behind);
    }

    fn after(size: usize, behind: usize, now: Instant) -> Pace {
        let mut pace = Pace::default();
        back(&mut pace, size, behind, now);
        pace
    }

    #[test]
    fn two_halves_become_one() {
        let now = Instant::now();
        let mut pace = after(16, 16, now);
        for waiting in 16..32 {
            // Also when it is looked at again.
            pace.is_back(now, MOST, || waiting);
            assert_eq!(pace.until(waiting, now), Some(now + HOLD_MIN), "{waiting}");
        }
        assert_eq!(pace.until(32, now), None);
        back(&mut pace, 32, 0, now);
        assert!(pace.until(1, now).is_some(), "and it stays so");
    }

    #[test]
    fn who_does_not_come_in_time_is_not_waited_for_again_soon() {
        let now = Instant::now();
        let mut pace = after(16, 16, now);
        assert_eq!(pace.until(20, now + HOLD_MIN), None);
        for _ in 1..VAIN {
            back(&mut pace, 16, 16, now);
            assert_eq!(pace.until(16, now), None);
        }
        back(&mut pace, 16, 16, now);
        assert!(pace.until(16, now).is_some());
    }

    #[test]
    fn it_is_waited_as_long_as_rounds_take() {
        let began = Instant::now();
        for (round, hold) in [(1, 4), (5, 10), (1000, 20)] {
            let now = began + Duration::from_millis(round);
            let mut pace = Pace::default();
            pace.went(16, began);
            pace.is_back(now, MOST, || 16);
            assert_eq!(pace.until(16, now), Some(now + Duration::from_millis(hold)), "{round}");
        }
    }

    #[test]
    fn a_group_waits_for_no_more_than_it_can_hold() {
        let now = Instant::now();
        let mut pace = after(MOST, MOST / 2, now);
        assert!(pace.until(MOST - 1, now).is_some());
        assert_eq!(pace.until(MOST, now), None);
    }

    #[test]
    fn few_wait_for_nobody() {
        let now = Instant::now();
        assert_eq!(Pace::default().until(1, now), None, "the first");
        for (size, behind) in [(1, 0), (1, 1), (FEW - 1, 0), (2, FEW - 3)] {
            assert_eq!(after(size, behind, now).until(behind.max(1), now), None);
        }
        assert!(after(FEW, 0, now).until(1, now).is_some());
    }
}
