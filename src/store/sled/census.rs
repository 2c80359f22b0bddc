//! Reads everything and checks that it fits together.
//!
//! sled loses damaged rows without a word, so a store is believed only after it was
//! counted. Every checksum holds; a pair's ordinals run on without gaps from behind what is
//! gone of it; the commits and the messages name each other, one to one. And since every
//! id that was given is one ordinal of one pair, the last id is the sum of the pairs' last
//! ordinals and of the ids that were skipped: a pair that lost its end is noticed.

mod beyond;
mod rows;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use sled::{IVec, Tree};

pub(super) use self::beyond::{peers, volumes};
use self::rows::{gone, known_names, known_peers, marks, names, profiles};
use super::gone::Gone;
use super::keys::{self, Pair};
use super::log::Log;
use super::names::{BLOCK, Collector, full_with};
use super::reader;
use super::record::{CommitRecord, MessageView};
use super::revoked;
use super::shelf::Packed;

/// What a whole store holds and held. These numbers only grow: of two, the one that is greater
/// in any of them is the later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Census {
    /// The highest message id; 0: none.
    pub(super) last_id: u64,
    /// Messages that were ever stored.
    pub(super) messages: u64,
    /// How many of them were marked read, or are gone.
    pub(super) read: u64,
    /// How many of them are gone.
    pub(super) gone: u64,
    /// How often something was revoked, or a user enabled again.
    pub(super) decrees: u64,
}

impl Census {
    /// Whether nothing was ever acknowledged.
    pub(super) fn is_new(&self) -> bool {
        self.last_id == 0 && self.decrees == 0
    }

    /// Messages that are there.
    pub(super) fn kept(&self) -> u64 {
        self.messages.saturating_sub(self.gone)
    }
}

/// What does not fit, in words for the operator.
pub(super) type Damage = String;

/// Messages, and what tells two sets of equally many apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    messages: u64,
    sum: u64,
}

impl Tally {
    fn add(&mut self, pair: Pair, id: u64, ordinal: u64) {
        let mut hasher = DefaultHasher::new();
        (pair, id, ordinal).hash(&mut hasher);
        self.messages += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }

    /// Adds what a commit names.
    fn add_commit(&mut self, commit: &CommitRecord) {
        for (entry, id) in commit.entries.iter().zip(commit.first.get()..) {
            if let Some(entry) = entry {
                self.add(entry.pair, id, entry.ordinal);
            }
        }
    }
}

/// What was found of the messages that were read.
struct Found {
    census: Census,
    tally: Tally,
    /// Stretches that have names.
    named: u64,
    pairs: HashSet<Pair>,
}

/// Counts a store: reads every row of its database and all of its log, and of its volumes
/// where they begin and end.
///
/// # Errors
/// The first thing found that cannot be.
pub(super) fn take(log: &Log) -> Result<Census, Damage> {
    let end = log.shelf.packed_up_to();
    let (committed, last_committed) = commits(log, end)?;
    let packed = packed(log, end)?;
    let rows =
        log.hot.up_to(u64::MAX).map(|(pair, id, value)| (keys::message(pair, id).into(), value));
    let begin = |pair: Pair| packed.get(&pair).copied().unwrap_or_default();
    let mut found = messages(log, rows.map(Ok), begin)?;
    names(log, found.named, end)?;
    let cold = packed.iter().filter(|(pair, _)| !found.pairs.contains(pair));
    let cold: u64 = cold.map(|(_, last)| last.ordinal).sum();
    found.census.messages = found.census.messages.saturating_add(cold);
    let Found { census, pairs, .. } = &mut found;
    gone(log, census, |pair| pairs.contains(&pair) || packed.contains_key(&pair))?;
    for pair in packed.keys().filter(|pair| !pairs.contains(pair)) {
        if reader::last(log, *pair).map_err(|error| error.to_string())?.is_some() {
            known_peers(log, *pair)?;
        }
    }
    let rows = log.shelf.volumes();
    let held = rows.iter().map(|volume| volume.row.messages.saturating_sub(volume.row.dead));
    let held = found.tally.messages.saturating_add(held.sum());
    if held != found.census.kept() {
        let kept = found.census.kept();
        return Err(format!("{kept} messages are not gone, but {held} are there"));
    }
    complete(log, committed, last_committed.max(end), found)
}

/// Counts the rows of a store that has no log yet.
///
/// # Errors
/// As [`take`].
pub(super) fn of_rows(tree: &Tree) -> Result<Census, Damage> {
    let (committed, last_committed) = commits(tree, 0)?;
    let mut found = messages(tree, tree.scan_prefix(keys::MESSAGES), |_| Gone::default())?;
    names(tree, found.named, 0)?;
    let Found { census, pairs, .. } = &mut found;
    gone(tree, census, |pair| pairs.contains(&pair))?;
    complete(tree, committed, last_committed, found)
}

/// Counts what lies beside the messages, and sees that all fits together.
fn complete(
    tree: &Tree,
    committed: Tally,
    last_committed: u64,
    found: Found,
) -> Result<Census, Damage> {
    let Found { tally, mut census, .. } = found;
    if tally != committed {
        return Err(match tally.messages == committed.messages {
            true => "the commits name other messages than are there".to_owned(),
            false => format!(
                "the commits name {} messages, but {} are there",
                committed.messages, tally.messages
            ),
        });
    }
    let skipped = reader::skipped(tree).map_err(|error| error.to_string())?;
    census.last_id = census.last_id.max(last_committed).max(skipped.up_to);
    if census.messages.checked_add(skipped.ids) != Some(census.last_id) {
        return Err(format!(
            "its last message is {}, but {} messages and {} skipped ids are accounted for",
            census.last_id, census.messages, skipped.ids
        ));
    }
    reader::erasures(tree).map_err(|error| error.to_string())?;
    profiles(tree)?;
    census.decrees = revoked::check(tree)?;
    census.read = marks(tree)?;
    Ok(census)
}

/// The last message of each pair that lies in volumes, which reach up to `end`, or is gone.
fn packed(log: &Log, end: u64) -> Result<HashMap<Pair, Gone>, Damage> {
    let mut found = HashMap::new();
    for row in log.scan_prefix(keys::PACKED) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let packed = keys::parse_packed(&key).zip(Packed::decode(&key, &value));
        let (pair, packed) = packed
            .ok_or_else(|| format!("the record of what is packed under {key:02x?} is not whole"))?;
        let gone = reader::gone(log, pair).map_err(|error| error.to_string())?;
        let last = packed.last(end);
        let last = if gone.id > last.id { gone } else { last };
        if last.id > 0 {
            found.insert(pair, last);
        }
    }
    Ok(found)
}

/// Tallies what the commits behind the message `end` name, and gives their last id.
fn commits(tree: &Tree, end: u64) -> Result<(Tally, u64), Damage> {
    let (mut tally, mut last) = (Tally::default(), end);
    for row in tree.range(keys::commit(end + 1)..=keys::commit(u64::MAX)) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let commit = CommitRecord::decode(&key, &value)
            .ok_or_else(|| format!("the commit record after message {last} is not whole"))?;
        let first = commit.first.get();
        if first <= last {
            return Err(format!("two commits hold the message {first}"));
        }
        tally.add_commit(&commit);
        last = commit.last();
    }
    Ok((tally, last))
}

/// Tallies messages, which come in the order of their keys, and counts those of their pairs
/// that were ever stored; `begin` says where those of a pair begin that lie elsewhere.
fn messages(
    tree: &Tree,
    rows: impl Iterator<Item = sled::Result<(IVec, IVec)>>,
    begin: impl Fn(Pair) -> Gone,
) -> Result<Found, Damage> {
    let mut found = Found {
        census: Census::default(),
        tally: Tally::default(),
        named: 0,
        pairs: HashSet::new(),
    };
    let mut names = Collector::default();
    let mut before: Option<(Pair, u64)> = None;
    let mut begun = Gone::default();
    for row in rows {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let message = MessageView::decode(&key, &value)
            .ok_or_else(|| format!("the message record under {key:02x?} is not whole"))?;
        let pair = message.pair;
        let expected = match before {
            Some((same, ordinal)) if same == pair => ordinal + 1,
            _ => {
                known_peers(tree, pair)?;
                names = Collector::default();
                let gone = reader::gone(tree, pair).map_err(|error| error.to_string())?;
                let elsewhere = begin(pair);
                begun = if gone.id > elsewhere.id { gone } else { elsewhere };
                found.census.messages = found.census.messages.saturating_add(begun.ordinal);
                found.pairs.insert(pair);
                begun.ordinal.saturating_add(1)
            }
        };
        if message.ordinal != expected || message.id.get() <= begun.id {
            return Err(format!("a message before {} is missing", message.id));
        }
        names.add(message.id, message.client_id);
        if let Some(stretch) = full_with(message.ordinal) {
            let live = std::mem::take(&mut names).finish();
            let cut = begun.ordinal > (stretch - 1) * BLOCK;
            found.named += known_names(tree, pair, stretch, live.as_ref(), cut)?;
        }
        before = Some((pair, message.ordinal));
        found.tally.add(pair, message.id.get(), message.ordinal);
        found.census.messages += 1;
    }
    Ok(found)
}
