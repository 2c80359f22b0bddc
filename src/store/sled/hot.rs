//! The messages that lie in no volume yet, as they lie in the log, by the keys they would have.
//!
//! Of a log that is ordered by commits this is what finds the messages of a pair. It holds
//! what is durable and nothing else, and is as long as what was written since the last volume.
//! A tree of pairs, and of each a line in the order of ids, as they come and go: at its ends.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, RangeInclusive};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sled::IVec;

use super::keys::Pair;

/// Messages, or pairs, that a walk through all of them looks at in one go.
const PIECE: usize = if cfg!(test) { 4 } else { 1024 };

/// The messages of a pair, ids rising. None is empty.
type Line = VecDeque<(u64, IVec)>;

/// Where a message is.
type Place = (Pair, u64);

#[derive(Debug, Default)]
struct Rows {
    pairs: BTreeMap<Pair, Line>,
    messages: u64,
    /// What the values are long together.
    bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Hot {
    rows: RwLock<Rows>,
}

impl Hot {
    pub(super) fn insert(&self, added: impl IntoIterator<Item = (Pair, u64, IVec)>) {
        let mut rows = self.write();
        for (pair, id, value) in added {
            rows.insert(pair, id, value);
        }
    }

    /// Takes out single messages.
    pub(super) fn remove(&self, places: &[Place]) {
        let mut rows = self.write();
        for &(pair, id) in places {
            rows.remove(pair, id);
        }
    }

    /// Takes out all messages up to `last`, which all lie elsewhere too. In pieces, so that
    /// nobody waits for it; those of a pair from the oldest on, so that what is left of one is
    /// always its newest.
    pub(super) fn remove_up_to(&self, last: u64) {
        let mut from = Bound::Unbounded;
        loop {
            // Given back when nobody waits for the lock any more.
            let mut gone = Vec::new();
            let on = self.write().remove_piece(from, last, &mut gone);
            let Some(pair) = on else { return };
            from = Bound::Included(pair);
        }
    }

    /// How many messages there are, and the bytes of their values.
    pub(super) fn size(&self) -> (u64, u64) {
        let rows = self.read();
        (rows.messages, rows.bytes)
    }

    /// The first message of `pair` with one of `ids`.
    pub(super) fn next(&self, pair: Pair, ids: RangeInclusive<u64>) -> Option<(u64, IVec)> {
        let rows = self.read();
        let line = rows.pairs.get(&pair)?;
        let at = line.partition_point(|(id, _)| id < ids.start());
        line.get(at).filter(|(id, _)| ids.contains(id)).cloned()
    }

    /// The last message of `pair` with one of `ids`.
    pub(super) fn next_back(&self, pair: Pair, ids: RangeInclusive<u64>) -> Option<(u64, IVec)> {
        let rows = self.read();
        let line = rows.pairs.get(&pair)?;
        let behind = line.partition_point(|(id, _)| id <= ids.end());
        line.get(behind.checked_sub(1)?).filter(|(id, _)| ids.contains(id)).cloned()
    }

    /// All messages up to `last` that are there while it is walked, in the order of their keys.
    pub(super) fn up_to(&self, last: u64) -> impl Iterator<Item = (Pair, u64, IVec)> {
        let mut piece = Vec::new().into_iter();
        let mut on = Some(None);
        std::iter::from_fn(move || {
            loop {
                if let Some(row) = piece.next() {
                    return Some(row);
                }
                let (next, after) = self.read().piece(on?, last);
                piece = next.into_iter();
                on = after.map(Some);
            }
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        // Nothing under this lock can be left half done.
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn insert(&mut self, pair: Pair, id: u64, value: IVec) {
        self.messages += 1;
        self.bytes += value.len() as u64;
        // Most of many pairs have one.
        let line = self.pairs.entry(pair).or_insert_with(|| Line::with_capacity(1));
        if line.back().is_none_or(|(newest, _)| *newest < id) {
            return line.push_back((id, value));
        }
        match line.binary_search_by_key(&id, |(id, _)| *id) {
            Err(at) => line.insert(at, (id, value)),
            Ok(at) => {
                if let Some((_, there)) = line.get_mut(at) {
                    self.messages -= 1;
                    self.bytes -= there.len() as u64;
                    *there = value;
                }
            }
        }
    }

    fn remove(&mut self, pair: Pair, id: u64) {
        let Some(line) = self.pairs.get_mut(&pair) else { return };
        let at = line.binary_search_by_key(&id, |(id, _)| *id);
        let Some((_, value)) = at.ok().and_then(|at| line.remove(at)) else { return };
        self.messages -= 1;
        self.bytes -= value.len() as u64;
        if line.is_empty() {
            self.pairs.remove(&pair);
        }
    }

    /// Takes a piece of what is not behind `last` into `gone`, and says where to go on.
    fn remove_piece(
        &mut self,
        from: Bound<Pair>,
        last: u64,
        gone: &mut Vec<(u64, IVec)>,
    ) -> Option<Pair> {
        let (mut looks, mut on, mut empty) = (0, None, Vec::new());
        for (&pair, line) in self.pairs.range_mut((from, Bound::Unbounded)) {
            let old = line.partition_point(|(id, _)| *id <= last);
            gone.extend(line.drain(..old.min(PIECE - gone.len())));
            if line.is_empty() {
                empty.push(pair);
            }
            looks += 1;
            if gone.len() == PIECE || looks == PIECE {
                on = Some(pair);
                break;
            }
        }
        for pair in empty {
            self.pairs.remove(&pair);
        }
        self.messages -= gone.len() as u64;
        self.bytes -= gone.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
        on
    }

    /// A piece of what is behind a place and not behind `last`, and the place to go on behind.
    fn piece(&self, behind: Option<Place>, last: u64) -> (Vec<(Pair, u64, IVec)>, Option<Place>) {
        let from = behind.map_or(Bound::Unbounded, |(pair, _)| Bound::Included(pair));
        let mut piece = Vec::new();
        for (looks, (&pair, line)) in (1..).zip(self.pairs.range((from, Bound::Unbounded))) {
            let begin = match behind {
                Some((same, at)) if same == pair => line.partition_point(|(id, _)| *id <= at),
                _ => 0,
            };
            let there = line.range(begin..).take_while(|(id, _)| *id <= last);
            let there = there.take(PIECE - piece.len());
            piece.extend(there.map(|(id, value)| (pair, *id, value.clone())));
            if piece.len() == PIECE || looks == PIECE {
                let of_pair = piece.last().filter(|(newest, ..)| *newest == pair);
                let id = of_pair.map_or(u64::MAX, |(_, id, _)| *id);
                return (piece, Some((pair, id)));
            }
        }
        (piece, None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Sender, UserId};

    fn pair(number: u64) -> Pair {
        let to = UserId::new(1 + number / 4).unwrap();
        let from = UserId::new(number % 4).map_or(Sender::System, Sender::User);
        Pair { to, from }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        Remove(u64, u64),
        RemoveUpTo(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let place = || (0..24_u64, 0..60_u64);
        let step = prop_oneof![
            12 => place().prop_map(|(pair, id)| Step::Insert(pair, id)),
            2 => place().prop_map(|(pair, id)| Step::Remove(pair, id)),
            1 => (0..60_u64).prop_map(Step::RemoveUpTo),
        ];
        prop::collection::vec(step, 1..120)
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_would(steps in steps()) {
            let (hot, mut plain) = (Hot::default(), BTreeMap::<Place, IVec>::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(of, id) => {
                        let value = IVec::from(vec![7; number]);
                        hot.insert([(pair(of), id, value.clone())]);
                        plain.insert((pair(of), id), value);
                    }
                    Step::Remove(of, id) => {
                        hot.remove(&[(pair(of), id)]);
                        plain.remove(&(pair(of), id));
                    }
                    Step::RemoveUpTo(last) => {
                        hot.remove_up_to(last);
                        plain.retain(|&(_, id), _| id > last);
                    }
                }
                let bytes: usize = plain.values().map(|value| value.len()).sum();
                prop_assert_eq!(hot.size(), (plain.len() as u64, bytes as u64));
                prop_assert!(hot.read().pairs.values().all(|line| !line.is_empty()));
            }
            for last in [0, 30, u64::MAX] {
                let rows = plain.iter().filter(|((_, id), _)| *id <= last);
                let rows: Vec<_> = rows.map(|(&(pair, id), value)| (pair, id, value.clone())).collect();
                prop_assert_eq!(hot.up_to(last).collect::<Vec<_>>(), rows);
            }
            for of in (0..24).map(pair) {
                for (first, last) in [(0, u64::MAX), (20, 40), (30, 30), (59, 70)] {
                    let mut there = plain.range((of, first)..=(of, last));
                    let plainly = |row: Option<(&Place, &IVec)>| row.map(|(&(_, id), value)| (id, value.clone()));
                    let (next, back) = (hot.next(of, first..=last), hot.next_back(of, first..=last));
                    prop_assert_eq!(next, plainly(there.clone().next()));
                    prop_assert_eq!(back, plainly(there.next_back()));
                }
            }
        }
    }
}
