//! Where the newest messages lie, by id.
//!
//! Nearly everybody marks as read what came just now. In the tree each of these ids is a
//! seek to its commit, of which all must be read; here it is an index into a list. What
//! stands here is durable, and may be gone meanwhile: gone counts as read, so a mark of it
//! changes nothing.

use std::collections::VecDeque;

use super::keys::Pair;
use super::reader::Mark;
use crate::ids::{MessageId, UserId};

/// Messages whose places are kept: 24 bytes each, and some seconds of a busy server.
const KEPT: usize = 1 << 16;

/// The places of the last messages, without a gap.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The id of the first of them.
    first: u64,
    places: VecDeque<(Pair, u64)>,
}

impl Recent {
    /// Adds the messages of a commit, each with its pair and ordinal, from the id `first` on.
    pub(super) fn add(&mut self, first: u64, places: impl Iterator<Item = (Pair, u64)>) {
        if first != self.first + self.places.len() as u64 {
            // There are ids in between that are not known here.
            *self = Self { first, places: VecDeque::new() };
        }
        self.places.extend(places);
        let old = self.places.len().saturating_sub(KEPT);
        self.places.drain(..old);
        self.first += old as u64;
    }

    /// What `reader` marks with `ids`, as far as these are known; the others are left there.
    pub(super) fn marks(&self, reader: UserId, ids: &mut Vec<MessageId>) -> Vec<Mark> {
        let mut marks = Vec::with_capacity(ids.len());
        ids.retain(|&id| {
            let at = id.get().checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
            let Some(&(pair, ordinal)) = at.and_then(|at| self.places.get(at)) else {
                return true;
            };
            if pair.to == reader {
                marks.push(Mark { from: pair.from, ordinal, id });
            }
            false
        });
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64) -> MessageId {
        MessageId::new(id).unwrap()
    }

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn places(ordinals: std::ops::Range<u64>) -> impl Iterator<Item = (Pair, u64)> {
        ordinals.map(|ordinal| (Pair { to: user(2), from: user(1).into() }, ordinal))
    }

    #[test]
    fn ids_are_known_while_they_are_new_and_only_to_their_reader() {
        let mut recent = Recent::default();
        recent.add(100, places(1..3));
        recent.add(102, places(3..4));
        let mut ids = vec![id(99), id(100), id(102), id(103)];
        let marks = recent.marks(user(2), &mut ids);
        assert_eq!(ids, [id(99), id(103)]);
        assert_eq!(marks.iter().map(|mark| mark.ordinal).collect::<Vec<_>>(), [1, 3]);
        assert!(recent.marks(user(3), &mut vec![id(100)]).is_empty());

        recent.add(103, places(4..4 + KEPT as u64));
        let mut old = vec![id(102)];
        assert!(recent.marks(user(2), &mut old).is_empty());
        assert_eq!(old, [id(102)]);
        assert_eq!(recent.marks(user(2), &mut vec![id(103)])[0].ordinal, 4);
    }

    #[test]
    fn ids_behind_a_gap_are_not_taken_for_others() {
        let mut recent = Recent::default();
        recent.add(1, places(1..3));
        recent.add(10, places(3..4));
        let mut ids = vec![id(2), id(3)];
        assert!(recent.marks(user(2), &mut ids).is_empty());
        assert_eq!(ids.len(), 2);
        assert_eq!(recent.marks(user(2), &mut vec![id(10)])[0].ordinal, 3);
    }
}
