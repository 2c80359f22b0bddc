//! Reads everything and checks that it fits together.
//!
//! sled loses damaged rows without a word, so a store is believed only after it was
//! counted. Every checksum holds; a pair's ordinals run on without gaps from behind what is
//! gone of it; the commits and the messages name each other, one to one. And since every
//! id that was given is one ordinal of one pair, the last id is the sum of the pairs' last
//! ordinals and of the ids that were skipped: a pair that lost its end is noticed.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use sled::{IVec, Tree};

use super::gone::{Gone, Skipped};
use super::keys::{self, Pair};
use super::log::Log;
use super::names::{self, BLOCK, Collector, Names};
use super::read_state::{decode_floor, decode_islands};
use super::reader;
use super::record::{CommitRecord, MessageView, decode_profile};
use super::revoked;
use super::shelf::Packed;
use crate::ids::Sender;
use crate::store::StoreError;

/// What a whole store holds and held. These numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    let skipped = skipped(tree)?;
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
        for (entry, id) in commit.entries.iter().zip(first..) {
            if let Some(entry) = entry {
                tally.add(entry.pair, id, entry.ordinal);
            }
        }
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
        if let Some(stretch) = names::full_with(message.ordinal) {
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

/// As many stretches have names as were found with messages behind `end`.
fn names(tree: &Tree, found: u64, end: u64) -> Result<(), Damage> {
    let mut there = 0;
    for row in tree.scan_prefix(keys::NAMES) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let names = Names::decode(&key, &value)
            .ok_or_else(|| format!("the name record under {key:02x?} is not whole"))?;
        there += u64::from(names.last.get() > end);
    }
    match there == found {
        true => Ok(()),
        false => Err(format!("{found} stretches of messages have names, but {there} are there")),
    }
}

/// Counts what is gone, and adds the pairs of which nothing else is `known`.
fn gone(tree: &Tree, census: &mut Census, known: impl Fn(Pair) -> bool) -> Result<(), Damage> {
    for row in tree.scan_prefix(keys::GONE) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let found = keys::parse_gone(&key).zip(Gone::decode(&key, &value));
        let (pair, gone) = found
            .ok_or_else(|| format!("the record of what is gone under {key:02x?} is not whole"))?;
        let floor = reader::floor(tree, pair).map_err(|error| error.to_string())?;
        if floor.ordinal < gone.ordinal {
            return Err(format!("the read record of what is gone under {key:02x?} is missing"));
        }
        if !known(pair) {
            census.messages = census.messages.saturating_add(gone.ordinal);
        }
        census.gone = census.gone.saturating_add(gone.ordinal);
        census.last_id = census.last_id.max(gone.id);
    }
    Ok(())
}

fn skipped(tree: &Tree) -> Result<Skipped, Damage> {
    match tree.get(keys::SKIPPED).map_err(|error| error.to_string())? {
        Some(value) => Skipped::decode(keys::SKIPPED, &value)
            .ok_or_else(|| "the record of skipped ids is not whole".to_owned()),
        None => Ok(Skipped::default()),
    }
}

/// The names of a stretch are written down as they stand with the messages, and perhaps
/// those of messages that are gone, where it has `begun` to go. Counts the row.
fn known_names(
    tree: &Tree,
    pair: Pair,
    stretch: u64,
    live: Option<&Names>,
    begun: bool,
) -> Result<u64, Damage> {
    let key = keys::names(pair, stretch);
    let damage = || format!("the name record under {key:02x?} is missing or not whole");
    let row = tree.get(&key).map_err(|error| error.to_string())?;
    let found = row.map(|value| Names::decode(&key, &value).ok_or_else(damage)).transpose()?;
    let whole = match (&found, live) {
        (Some(found), Some(live)) => found == live || begun && found.covers(live),
        (Some(_), None) => begun,
        (None, live) => live.is_none(),
    };
    if whole { Ok(u64::from(found.is_some())) } else { Err(damage()) }
}

/// A pair's messages are found through its peer rows.
fn known_peers(tree: &Tree, pair: Pair) -> Result<(), Damage> {
    let mut rows = vec![keys::peer(pair.to, pair.from)];
    if let Sender::User(from) = pair.from {
        rows.push(keys::peer(from, pair.to.into()));
    }
    for row in rows {
        if !tree.contains_key(row).map_err(|error| error.to_string())? {
            return Err(format!("the peer record of user {} is missing", pair.to));
        }
    }
    Ok(())
}

/// Every peer row is there for messages that are there, or that are gone. More than a start
/// has to know: a row without a message shows nobody anything.
pub(super) fn peers(log: &Log) -> Result<(), Damage> {
    let begun = |pair: Pair| {
        let known = reader::last(log, pair)?.is_some();
        Ok::<bool, StoreError>(known || reader::gone(log, pair)?.ordinal > 0)
    };
    for row in log.scan_prefix(keys::PEERS) {
        let (key, _) = row.map_err(|error| error.to_string())?;
        let (user, peer) = keys::parse_peer(&key)
            .ok_or_else(|| format!("the peer record under {key:02x?} is not whole"))?;
        let back = match peer {
            Sender::User(peer) => Some(Pair { to: peer, from: user.into() }),
            Sender::System => None,
        };
        let mut pairs = std::iter::once(Pair { to: user, from: peer }).chain(back);
        let found = pairs.try_fold(false, |found, pair| Ok(found || begun(pair)?));
        if !found.map_err(|error: StoreError| error.to_string())? {
            let peer = peer.get();
            return Err(format!("users {user} and {peer} are said to have written to each other"));
        }
    }
    Ok(())
}

/// Reads all volumes: every block is whole, the commits and the messages that are not gone
/// name each other one to one, and the ordinals of each pair run on from volume to volume and
/// into the log.
pub(super) fn volumes(log: &Log) -> Result<(), Damage> {
    let gone = departures(log)?;
    let gone_of = |pair: Pair| gone.get(&pair).copied().unwrap_or_default();
    let mut last: HashMap<Pair, u64> = HashMap::new();
    let mut names: HashMap<Pair, Collector> = HashMap::new();
    for volume in log.shelf.volumes().iter() {
        let (mut found, mut committed, mut dead) = (Tally::default(), Tally::default(), 0);
        let mut before = None;
        for number in 0..volume.blocks() {
            let block = volume.block(number).map_err(|error| error.to_string())?;
            for (pair, id, value) in block.iter() {
                let key = keys::message(*pair, *id);
                let message = MessageView::decode(&key, value)
                    .ok_or_else(|| format!("the message record under {key:02x?} is not whole"))?;
                let here = (*pair, *id);
                let in_range = (volume.row.first..=volume.row.last).contains(id);
                if !in_range || before.is_some_and(|before| before >= here) {
                    return Err(format!("the message {id} lies where it does not belong"));
                }
                before = Some(here);
                found.add(*pair, *id, message.ordinal);
                if *id <= gone_of(*pair).id {
                    dead += 1;
                    continue;
                }
                let expected = last.get(pair).copied().unwrap_or_else(|| gone_of(*pair).ordinal);
                if message.ordinal != expected + 1 {
                    return Err(format!("a message before {id} is missing"));
                }
                last.insert(*pair, message.ordinal);
                let collector = names.entry(*pair).or_default();
                collector.add(message.id, message.client_id);
                if let Some(stretch) = names::full_with(message.ordinal) {
                    let live = std::mem::take(collector).finish();
                    let cut = gone_of(*pair).ordinal > (stretch - 1) * BLOCK;
                    known_names(log, *pair, stretch, live.as_ref(), cut)?;
                }
            }
        }
        for number in 0..volume.commit_blocks() {
            let block = volume.commit_block(number).map_err(|error| error.to_string())?;
            for commit in block.iter() {
                for (entry, id) in commit.entries.iter().zip(commit.first.get()..) {
                    if let Some(entry) = entry {
                        committed.add(entry.pair, id, entry.ordinal);
                    }
                }
            }
        }
        if found != committed || found.messages != volume.row.messages || dead != volume.row.dead {
            return Err(format!(
                "the volume {} holds {} messages, of which {dead} are gone, but its commits name \
                 {}, and {} and {} had been counted",
                volume.row.name(),
                found.messages,
                committed.messages,
                volume.row.messages,
                volume.row.dead
            ));
        }
    }
    for (pair, Gone { ordinal, .. }) in packed(log, log.shelf.packed_up_to())? {
        let found = last.get(&pair).copied().unwrap_or_else(|| gone_of(pair).ordinal);
        if found < ordinal {
            return Err(format!("the last message to {} in a volume is missing", pair.to));
        }
    }
    Ok(())
}

/// Up to where each pair is gone.
pub(super) fn departures(log: &Log) -> Result<HashMap<Pair, Gone>, Damage> {
    let rows = log.scan_prefix(keys::GONE).map(|row| {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let found = keys::parse_gone(&key).zip(Gone::decode(&key, &value));
        found.ok_or_else(|| format!("the record of what is gone under {key:02x?} is not whole"))
    });
    rows.collect()
}

/// Profiles must be whole; a missing one cannot be told from one never written.
fn profiles(tree: &Tree) -> Result<(), Damage> {
    for row in tree.scan_prefix(keys::PROFILES) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        if keys::parse_profile(&key).is_none() || decode_profile(&key, &value).is_none() {
            return Err(format!("the profile record under {key:02x?} is not whole"));
        }
    }
    Ok(())
}

/// Counts the messages that were marked read, twice: by the floors, which say how many
/// there are beyond them, and by these themselves.
fn marks(tree: &Tree) -> Result<u64, Damage> {
    let (mut count, mut beyond, mut islands) = (0, 0, 0);
    for row in tree.scan_prefix(keys::READ) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let whole = match keys::parse_read(&key) {
            Some((_, None)) => decode_floor(&key, &value).map(|floor| {
                count += floor.ordinal.saturating_add(floor.beyond);
                beyond += floor.beyond;
            }),
            Some((_, Some(chunk))) => decode_islands(&key, chunk, &value).map(|found| {
                let lengths = found.iter().map(|island| island.last - island.first + 1);
                islands += lengths.sum::<u64>();
            }),
            None => None,
        };
        whole.ok_or_else(|| format!("the read record under {key:02x?} is not whole"))?;
    }
    if beyond != islands {
        return Err(format!(
            "{beyond} messages were read out of order, but the marks of {islands} are there"
        ));
    }
    Ok(count)
}
