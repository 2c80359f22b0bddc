//! The messages that lie in no volume yet, as they lie in the log, by the keys they would have.
//!
//! Of a log that is ordered by commits this is what finds the messages of a pair. It holds
//! what is durable and nothing else, and is as long as what was written since the last volume.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sled::IVec;

use super::keys::Pair;

/// Messages that a walk through all of them takes at once.
const PIECE: usize = 1024;

type Rows = BTreeMap<(Pair, u64), IVec>;

#[derive(Debug, Default)]
pub(super) struct Hot {
    rows: RwLock<Rows>,
    /// What the values in it are long together.
    bytes: AtomicU64,
}

impl Hot {
    pub(super) fn insert(&self, added: impl IntoIterator<Item = (Pair, u64, IVec)>) {
        let mut rows = self.write();
        for (pair, id, value) in added {
            self.bytes.fetch_add(value.len() as u64, Ordering::Relaxed);
            rows.insert((pair, id), value);
        }
    }

    /// Takes out single messages.
    pub(super) fn remove(&self, places: &[(Pair, u64)]) {
        let mut rows = self.write();
        for value in places.iter().filter_map(|place| rows.remove(place)) {
            self.bytes.fetch_sub(value.len() as u64, Ordering::Relaxed);
        }
    }

    /// Takes out all messages up to `last`, which all lie elsewhere too. In pieces, so that
    /// nobody waits for it; those of a pair from the oldest on, so that what is left of one is
    /// always its newest.
    pub(super) fn remove_up_to(&self, last: u64) {
        let mut at = Bound::Unbounded;
        loop {
            let rows = self.read();
            let piece = rows.range((at, Bound::Unbounded)).take(PIECE);
            let piece: Vec<_> = piece.map(|(&place, _)| place).collect();
            drop(rows);
            let Some(&end) = piece.last() else { return };
            at = Bound::Excluded(end);
            let piece: Vec<_> = piece.into_iter().filter(|&(_, id)| id <= last).collect();
            self.remove(&piece);
        }
    }

    /// How many messages there are, and the bytes of their values.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.read().len() as u64, self.bytes.load(Ordering::Relaxed))
    }

    /// The first message of `pair` with one of `ids`.
    pub(super) fn next(&self, pair: Pair, ids: RangeInclusive<u64>) -> Option<(u64, IVec)> {
        let rows = self.read();
        let found = rows.range((pair, *ids.start())..=(pair, *ids.end())).next();
        found.map(|(&(_, id), value)| (id, value.clone()))
    }

    /// The last message of `pair` with one of `ids`.
    pub(super) fn next_back(&self, pair: Pair, ids: RangeInclusive<u64>) -> Option<(u64, IVec)> {
        let rows = self.read();
        let found = rows.range((pair, *ids.start())..=(pair, *ids.end())).next_back();
        found.map(|(&(_, id), value)| (id, value.clone()))
    }

    /// All messages that are there while it is walked, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Pair, u64, IVec)> {
        let mut piece = Vec::new().into_iter();
        let mut at = Bound::Unbounded;
        std::iter::from_fn(move || {
            if let Some(row) = piece.next() {
                return Some(row);
            }
            let rows = self.read();
            let next = rows.range((at, Bound::Unbounded)).take(PIECE);
            let next: Vec<_> = next.map(|(&(pair, id), value)| (pair, id, value.clone())).collect();
            let &(pair, id, _) = next.last()?;
            at = Bound::Excluded((pair, id));
            piece = next.into_iter();
            piece.next()
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
