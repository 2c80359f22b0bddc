//! What time a message gets: in a conversation, a later one than what it may be an answer to.
//!
//! The two directions of a conversation may lie in streams that know nothing of each other, and
//! are put in order by these times. A millisecond is long enough for a message and its answer.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use super::log::Pair;
use crate::message::StoredAt;

/// Directions that are kept in mind; past it all are forgotten, and a tie is possible again.
const PAIRS: usize = 100_000;

/// When the store was opened first, by the clock that can be set and by the one that cannot.
static BEGAN: LazyLock<(StoredAt, Instant)> = LazyLock::new(|| (StoredAt::now(), Instant::now()));

/// The clock was found to agree with the servers'.
pub(super) fn agrees() {
    LazyLock::force(&BEGAN);
}

/// The time by which windows of resends are over: now, or sooner where somebody has set the clock
/// ahead since it [agreed](agrees) with the servers'. A window that seems
/// over too late takes nothing from anybody: the servers forget names by their own clock.
pub(super) fn sober_now() -> StoredAt {
    let (began, at) = *BEGAN;
    let since = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
    StoredAt::now().min(StoredAt(began.0.saturating_add(since)))
}

/// The last times of the conversations that this node has stored or heard something of.
#[derive(Default)]
pub(super) struct Clock(Mutex<HashMap<Pair, StoredAt>>);

impl Clock {
    /// The time of the next message of a pair, whose last one is of `last`.
    pub(super) fn stamp(&self, pair: Pair, last: StoredAt) -> StoredAt {
        self.stamp_at(StoredAt::now(), pair, last)
    }

    fn stamp_at(&self, now: StoredAt, pair: Pair, last: StoredAt) -> StoredAt {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = pair.answers().filter(|other| *other != pair);
        let before = answered.and_then(|other| times.get(&other).copied());
        let after = before.map_or(StoredAt(0), |before| StoredAt(before.0.saturating_add(1)));
        now.max(last).max(after)
    }

    /// There is a message of a pair.
    pub(super) fn heard(&self, pair: Pair, stored_at: StoredAt) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() >= PAIRS {
            times.clear();
        }
        let last = times.entry(pair).or_insert(stored_at);
        *last = stored_at.max(*last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn an_answer_is_later_than_what_it_answers_and_others_are_not_held_up() {
        let user = |id| UserId::new(id).unwrap();
        let pair = |from, to| Pair { to: user(to), from: user(from).into() };
        let (clock, now, never) = (Clock::default(), StoredAt(5), StoredAt(0));
        assert_eq!(clock.stamp_at(now, pair(1, 2), never), now);
        clock.heard(pair(1, 2), now);
        // The next one of the same direction has its order by its place.
        assert_eq!(clock.stamp_at(now, pair(1, 2), now), now);
        assert_eq!(clock.stamp_at(now, pair(2, 1), never), StoredAt(6));
        clock.heard(pair(2, 1), StoredAt(6));
        assert_eq!(clock.stamp_at(now, pair(1, 2), now), StoredAt(7));
        assert_eq!(clock.stamp_at(now, pair(3, 1), never), now);
        // A note to oneself has one direction.
        clock.heard(pair(4, 4), now);
        assert_eq!(clock.stamp_at(now, pair(4, 4), now), now);
    }
}
