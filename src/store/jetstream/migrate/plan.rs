//! What is to be moved, counted before anything is: how much it is, and where ids have gaps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::super::jumps::Jumps;
use super::super::log::Pair;
use super::holdings::Holdings;
use super::{MigrateError, Step, Watch};
use crate::digest::digest128;
use crate::ids::UserId;
use crate::store::sled::Departure;
use crate::store::{Gone, Record, StoreError};

/// Ids that lie unused between two messages and are filled up, since a stream leaves none
/// out; where there are more, they are jumped over.
const FILLED: u64 = 10_000;

/// Jumps at the most: each takes some twenty bytes of a stream's metadata, which all nodes
/// read. Past it the smaller gaps are filled too.
const JUMPS: usize = 1000;

/// How often it is told how far it has come, in messages.
const EVERY: u64 = 1000;

/// A store that is to be moved.
pub(super) struct Plan {
    /// What it holds.
    pub(super) holdings: Holdings,
    /// What is gone of each pair, by the id of its last message: places that stay.
    pub(super) gone: BTreeMap<u64, Gone>,
    /// The first id that has a place; 0: none has.
    pub(super) first_id: u64,
    /// The highest id that was given.
    pub(super) last_id: u64,
    /// Up to which id they had lapsed.
    pub(super) lapsed: u64,
    /// Where ids are to be jumped over.
    pub(super) jumps: Jumps,
    /// Users whose erasure is to go on, and up to which message.
    pub(super) erasures: Vec<(UserId, u64)>,
}

/// What the streams of a move remember of the folder that it began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Origin {
    /// How many messages there are.
    pub(super) messages: u64,
    /// The highest id that was given.
    pub(super) last_id: u64,
    /// Up to which id they had lapsed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) lapsed: u64,
    /// The digest over messages, read flags and all else but revocations, which pass.
    pub(super) digest: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(id: &u64) -> bool {
    *id == 0
}

impl Plan {
    /// Reads all that is to be moved.
    pub(super) fn of(from: &Departure, watch: &Watch<'_>) -> Result<Self, MigrateError> {
        let now = SystemTime::now();
        let (mut holdings, mut gone, mut ids) =
            (Holdings::default(), BTreeMap::new(), Ids::default());
        let all = from.messages();
        from.walk(&mut |record| {
            match &record {
                Record::Gone(departed) => {
                    gone.insert(departed.id.get(), *departed);
                    ids.waiting.insert(departed.id.get());
                }
                Record::Message(exported) => ids.reach(exported.message.id.get()),
                Record::Revocation(revocation) if revocation.is_over(now) => return Ok(()),
                Record::Revocation(_) | Record::Profile(..) => {}
            }
            holdings.add(record);
            let done = holdings.digest.messages();
            if done.is_multiple_of(EVERY) {
                watch(Step::Reading { done, all });
            }
            Ok::<(), StoreError>(())
        })?;
        let found = holdings.digest.messages();
        if found != all {
            let what = format!("{all} messages must be there, and {found} are");
            return Err(StoreError::Damaged(what).into());
        }
        let last_id = from.last_id();
        if last_id > ids.last {
            // No id up to it may be given again.
            ids.reach(last_id);
        }
        watch(Step::Reading { done: all, all });
        let (first_id, jumps) = (ids.first, ids.jumps());
        let (lapsed, erasures) = (from.lapsed(), from.erasures()?);
        Ok(Self { holdings, gone, first_id, last_id, lapsed, jumps, erasures })
    }

    /// What the streams are to remember of it. Without revocations, which pass by themselves.
    pub(super) fn origin(&self) -> Origin {
        let mut sum = 0u128;
        let mut add = |parts: &[u64], content: u128| {
            let parts: Vec<[u8; 8]> = parts.iter().map(|part| part.to_le_bytes()).collect();
            let content = content.to_le_bytes();
            let parts: Vec<&[u8]> =
                parts.iter().map(<[u8; 8]>::as_slice).chain([content.as_slice()]).collect();
            sum = sum.wrapping_add(u128::from_le_bytes(digest128(&parts)));
        };
        for (pair, holding) in &self.holdings.pairs {
            let of = [pair.to.get(), pair.from.get(), holding.messages, holding.gone];
            add(&of, holding.content);
        }
        for (id, gone) in &self.gone {
            add(&[gone.to.get(), gone.from.get(), gone.ordinal, *id], 0);
        }
        for (user, profile) in &self.holdings.profiles {
            add(&[user.get()], *profile);
        }
        Origin {
            messages: self.holdings.digest.messages(),
            last_id: self.last_id,
            lapsed: self.lapsed,
            digest: format!("{sum:032x}"),
        }
    }

    /// The read state that is to be written: of every pair that was read or has something
    /// gone, and of everybody who wrote to somebody, so that they know of whom.
    pub(super) fn states(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = self.holdings.pairs.keys().copied().collect();
        let written = self.holdings.pairs.iter().filter(|(_, holding)| holding.messages > 0);
        pairs.extend(written.filter_map(|(pair, _)| pair.answers()));
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}

/// The ids that have a place, as they come by.
#[derive(Default)]
struct Ids {
    /// Those of what is gone that lie ahead.
    waiting: BTreeSet<u64>,
    first: u64,
    last: u64,
    /// Large gaps: the id before each, and the one behind it.
    gaps: Vec<(u64, u64)>,
}

impl Ids {
    /// Adds the id of a message, and those of what is gone before it.
    fn reach(&mut self, id: u64) {
        while self.waiting.first().is_some_and(|gone| *gone < id) {
            if let Some(gone) = self.waiting.pop_first() {
                self.add(gone);
            }
        }
        self.add(id);
    }

    fn add(&mut self, id: u64) {
        if self.last == 0 {
            self.first = id;
        } else if id - self.last > FILLED {
            self.gaps.push((self.last, id));
        }
        self.last = id;
    }

    /// The largest gaps.
    fn jumps(mut self) -> Jumps {
        self.gaps.sort_unstable_by_key(|(before, after)| Reverse(after - before));
        self.gaps.truncate(JUMPS);
        self.gaps.sort_unstable();
        let mut jumps = Jumps::default();
        self.gaps.iter().for_each(|(before, after)| jumps.add(*before, *after));
        jumps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_gaps_are_jumped_over_and_small_ones_are_not() {
        let mut ids = Ids { waiting: BTreeSet::from([5, 3 * FILLED + 9]), ..Ids::default() };
        for id in [7, 8, FILLED, 3 * FILLED, 3 * FILLED + 10] {
            ids.reach(id);
        }
        assert_eq!((ids.first, ids.last), (5, 3 * FILLED + 10));
        let jumps = ids.jumps();
        assert_eq!(jumps.id(FILLED), FILLED);
        assert_eq!(jumps.id(FILLED + 1), 3 * FILLED);
        assert_eq!(jumps.seq(2 * FILLED), None);
    }

    #[test]
    fn of_too_many_gaps_the_largest_are_jumped_over() {
        let mut ids = Ids::default();
        ids.reach(1);
        for number in 0..2 * JUMPS as u64 {
            let wide = FILLED + 1 + number % 2;
            ids.reach(ids.last + wide);
        }
        let jumps = ids.jumps();
        // Each of the wider ones leaves `FILLED + 1` ids out.
        let jumped = JUMPS as u64 * (FILLED + 1);
        assert_eq!(jumps.id(u64::MAX - jumped), u64::MAX);
    }
}
