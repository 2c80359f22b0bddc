//! What this node has heard of lately, kept so that marking as read reads nothing.
//!
//! All of it can be had from the streams; what is not here is read there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::log::Pair;
use super::read_state::ReadState;

/// Messages that are kept in mind, over all partitions.
const MESSAGES: usize = 1 << 16;

/// Read states that are kept in mind; past it all are read anew.
const STATES: usize = 8192;

/// Islands of read messages in a state that is kept; whoever has more reads them anew.
const ISLANDS: usize = 64;

/// The last messages of every partition, by their sequences.
pub(super) struct Lately(Vec<Mutex<Stretch>>);

/// Whose a message is, and the how-manieth.
pub(super) type Place = (Pair, u64);

/// Some messages one behind the other; what is gone or was not understood has no place.
#[derive(Default)]
struct Stretch {
    first: u64,
    places: VecDeque<Option<Place>>,
}

impl Lately {
    pub(super) fn new(partitions: u64) -> Self {
        Self((0..partitions).map(|_| Mutex::default()).collect())
    }

    /// There is a message; they come in the order of their stream.
    pub(super) fn heard(&self, part: u64, seq: u64, place: Place) {
        let bound = (MESSAGES / self.0.len().max(1)).max(256);
        if let Some(mut stretch) = self.of(part) {
            stretch.add(seq, place, bound);
        }
    }

    /// What is known of the message at `seq`.
    pub(super) fn find(&self, part: u64, seq: u64) -> Option<Place> {
        let stretch = self.of(part)?;
        let at = usize::try_from(seq.checked_sub(stretch.first)?).ok()?;
        stretch.places.get(at).copied().flatten()
    }

    fn of(&self, part: u64) -> Option<MutexGuard<'_, Stretch>> {
        let stretch = self.0.get(usize::try_from(part).ok()?)?;
        Some(stretch.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Stretch {
    fn add(&mut self, seq: u64, place: Place, bound: usize) {
        let end = self.first + self.places.len() as u64;
        let Some(gap) = seq.checked_sub(end) else { return };
        if self.places.is_empty() || gap >= bound as u64 {
            (self.first, self.places) = (seq, VecDeque::new());
        } else {
            self.places.extend((0..gap).map(|_| None));
        }
        self.places.push_back(Some(place));
        while self.places.len() > bound {
            self.places.pop_front();
            self.first += 1;
        }
    }
}

/// Read states as they lie in their stream, and where.
#[derive(Default)]
pub(super) struct States(Mutex<HashMap<Pair, (u64, ReadState)>>);

impl States {
    /// What a pair's state is, as far as this node knows.
    pub(super) fn known(&self, pair: Pair) -> Option<(u64, ReadState)> {
        self.locked().get(&pair).cloned()
    }

    /// This node has read or written it.
    pub(super) fn learn(&self, pair: Pair, seq: u64, state: &ReadState) {
        let mut states = self.locked();
        if state.read.islands() > ISLANDS {
            states.remove(&pair);
            return;
        }
        if states.len() >= STATES && !states.contains_key(&pair) {
            states.clear();
        }
        let held = states.entry(pair).or_insert_with(|| (seq, state.clone()));
        if held.0 < seq {
            *held = (seq, state.clone());
        }
    }

    /// Some node has written it: of interest where it is known already.
    pub(super) fn heard(&self, pair: Pair, seq: u64, state: &ReadState) {
        let known = self.locked().contains_key(&pair);
        if known {
            self.learn(pair, seq, state);
        }
    }

    /// What is known is not so any more.
    pub(super) fn forget(&self, pair: Pair) {
        self.locked().remove(&pair);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Pair, (u64, ReadState)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Sender, UserId};

    #[test]
    fn the_last_messages_are_found_and_no_others() {
        let pair = Pair { to: UserId::new(2).unwrap(), from: Sender::System };
        let mut stretch = Stretch::default();
        for seq in [5, 6, 8, 8, 7, 9] {
            stretch.add(seq, (pair, seq), 4);
        }
        let lately = Lately(vec![Mutex::new(stretch)]);
        let found = |seq| lately.find(0, seq).map(|(_, ordinal)| ordinal);
        // Too old, gone, there.
        assert_eq!([5, 6, 7, 8, 9, 10].map(found), [None, Some(6), None, Some(8), Some(9), None]);
        lately.heard(0, 1000, (pair, 1000));
        assert_eq!(found(1000), Some(1000));
        assert_eq!(lately.find(1, 1000), None);
    }
}
