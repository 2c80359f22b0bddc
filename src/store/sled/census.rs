//! Reads everything and checks that it fits together.
//!
//! sled loses damaged rows without a word, so a store is believed only after it was
//! counted. Every checksum holds; a pair's ordinals run on without gaps from behind what is
//! gone of it; the commits and the messages name each other, one to one. And since every
//! id that was given is one ordinal of one pair, the last id is the sum of the pairs' last
//! ordinals and of the ids that were skipped: a pair that lost its end is noticed.

use std::hash::{DefaultHasher, Hash, Hasher};

use sled::Tree;

use super::gone::{Gone, Skipped};
use super::keys::{self, Pair};
use super::names::{self, BLOCK, Collector, Names};
use super::read_state::{decode_floor, decode_islands};
use super::reader;
use super::record::{CommitRecord, MessageView, decode_profile};
use super::revoked;
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

/// Reads every row of the store.
///
/// # Errors
/// The first thing found that cannot be.
pub(super) fn take(tree: &Tree) -> Result<Census, Damage> {
    let (committed, last_committed) = commits(tree)?;
    let (found, mut census) = messages(tree)?;
    if found != committed {
        return Err(match found.messages == committed.messages {
            true => "the commits name other messages than are there".to_owned(),
            false => format!(
                "the commits name {} messages, but {} are there",
                committed.messages, found.messages
            ),
        });
    }
    census.last_id = last_committed;
    gone(tree, &mut census)?;
    let skipped = skipped(tree)?;
    census.last_id = census.last_id.max(skipped.up_to);
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

/// Tallies what the commits name, and gives their last id.
fn commits(tree: &Tree) -> Result<(Tally, u64), Damage> {
    let (mut tally, mut last) = (Tally::default(), 0);
    for row in tree.scan_prefix(keys::COMMITS) {
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

/// Tallies the messages, and counts those of their pairs that were ever stored.
fn messages(tree: &Tree) -> Result<(Tally, Census), Damage> {
    let (mut tally, mut census, mut named) = (Tally::default(), Census::default(), 0);
    let mut names = Collector::default();
    let mut before: Option<(Pair, u64)> = None;
    let mut gone = Gone::default();
    for row in tree.scan_prefix(keys::MESSAGES) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let message = MessageView::decode(&key, &value)
            .ok_or_else(|| format!("the message record under {key:02x?} is not whole"))?;
        let pair = message.pair;
        let expected = match before {
            Some((same, ordinal)) if same == pair => ordinal + 1,
            _ => {
                known_peers(tree, pair)?;
                names = Collector::default();
                gone = reader::gone(tree, pair).map_err(|error| error.to_string())?;
                census.messages = census.messages.saturating_add(gone.ordinal);
                gone.ordinal.saturating_add(1)
            }
        };
        if message.ordinal != expected || message.id.get() <= gone.id {
            return Err(format!("a message before {} is missing", message.id));
        }
        names.add(message.id, message.client_id);
        if let Some(stretch) = names::full_with(message.ordinal) {
            let live = std::mem::take(&mut names).finish();
            let begun = gone.ordinal > (stretch - 1) * BLOCK;
            named += known_names(tree, pair, stretch, live.as_ref(), begun)?;
        }
        before = Some((pair, message.ordinal));
        tally.add(pair, message.id.get(), message.ordinal);
        census.messages += 1;
    }
    let names = tree.scan_prefix(keys::NAMES).count() as u64;
    if names != named {
        return Err(format!("{named} stretches of messages have names, but {names} are there"));
    }
    Ok((tally, census))
}

/// Counts what is gone, and adds the pairs of which nothing else is there.
fn gone(tree: &Tree, census: &mut Census) -> Result<(), Damage> {
    for row in tree.scan_prefix(keys::GONE) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let found = keys::parse_gone(&key).zip(Gone::decode(&key, &value));
        let (pair, gone) = found
            .ok_or_else(|| format!("the record of what is gone under {key:02x?} is not whole"))?;
        let floor = reader::floor(tree, pair).map_err(|error| error.to_string())?;
        if floor.ordinal < gone.ordinal {
            return Err(format!("the read record of what is gone under {key:02x?} is missing"));
        }
        let newest = reader::newest(tree, pair, u64::MAX).map_err(|error| error.to_string())?;
        if newest.is_none() {
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
pub(super) fn peers(tree: &Tree) -> Result<(), Damage> {
    let begun = |pair: Pair| {
        let known = reader::newest(tree, pair, u64::MAX)?.is_some();
        Ok::<bool, StoreError>(known || reader::gone(tree, pair)?.ordinal > 0)
    };
    for row in tree.scan_prefix(keys::PEERS) {
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
