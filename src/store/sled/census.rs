//! Reads everything and checks that it fits together.
//!
//! sled loses damaged rows without a word, so a store is believed only after it
//! was counted: commits are without gaps, every pair's ordinals run from 1
//! without gaps, every checksum holds, and both ways of counting agree.

use sled::Tree;

use super::keys::{self, Pair};
use super::names::{self, Collector, Names};
use super::read_state::{decode_floor, decode_islands};
use super::record::{CommitRecord, MessageView, decode_profile};
use super::revoked;

/// What a whole store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// The highest message id; 0: none.
    pub(super) last_id: u64,
    /// Messages.
    pub(super) messages: u64,
    /// How many of them were marked read.
    pub(super) read: u64,
}

/// What does not fit, in words for the operator.
pub(super) type Damage = String;

/// Reads every row of the store.
///
/// # Errors
/// The first thing found that cannot be.
pub(super) fn take(tree: &Tree) -> Result<Census, Damage> {
    let mut committed = commits(tree)?;
    let (messages, named) = messages(tree, committed.last_id)?;
    if messages != committed.messages {
        return Err(format!(
            "the commits name {} messages, but {messages} are there",
            committed.messages
        ));
    }
    let names = tree.scan_prefix(keys::NAMES).count() as u64;
    if names != named {
        return Err(format!("{named} stretches of messages have names, but {names} are there"));
    }
    profiles(tree)?;
    revoked::check(tree)?;
    committed.read = marks(tree)?;
    Ok(committed)
}

fn commits(tree: &Tree) -> Result<Census, Damage> {
    let mut census = Census::default();
    for row in tree.scan_prefix(keys::COMMITS) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let commit = CommitRecord::decode(&key, &value).ok_or_else(|| {
            format!("the commit record after message {} is not whole", census.last_id)
        })?;
        if commit.first.get() != census.last_id + 1 {
            return Err(format!(
                "messages {} to {} are missing",
                census.last_id + 1,
                commit.first.get() - 1
            ));
        }
        census.last_id = commit.last();
        census.messages += commit.entries.len() as u64;
    }
    Ok(census)
}

/// Counts the messages, and the full stretches of a pair in which some have names.
fn messages(tree: &Tree, last_id: u64) -> Result<(u64, u64), Damage> {
    let (mut count, mut named) = (0, 0);
    let mut names = Collector::default();
    let mut before: Option<(Pair, u64)> = None;
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
                1
            }
        };
        if message.ordinal != expected || message.id.get() > last_id {
            return Err(format!("a message before {} is missing", message.id));
        }
        names.add(message.id, message.client_id);
        if let Some(stretch) = names::full_with(message.ordinal)
            && let Some(names) = std::mem::take(&mut names).finish()
        {
            named += 1;
            known_names(tree, pair, stretch, &names)?;
        }
        before = Some((pair, message.ordinal));
        count += 1;
    }
    Ok((count, named))
}

/// The names of a stretch are written down as they stand with the messages.
fn known_names(tree: &Tree, pair: Pair, stretch: u64, names: &Names) -> Result<(), Damage> {
    let key = keys::names(pair, stretch);
    let row = tree.get(&key).map_err(|error| error.to_string())?;
    let found = row.and_then(|value| Names::decode(&key, &value));
    match found.as_ref() == Some(names) {
        true => Ok(()),
        false => Err(format!("the name record under {key:02x?} is missing or not whole")),
    }
}

/// A pair's messages are found through its peer rows.
fn known_peers(tree: &Tree, pair: Pair) -> Result<(), Damage> {
    let mut rows = vec![keys::peer(pair.to, pair.from)];
    if let crate::ids::Sender::User(from) = pair.from {
        rows.push(keys::peer(from, pair.to.into()));
    }
    for row in rows {
        if !tree.contains_key(row).map_err(|error| error.to_string())? {
            return Err(format!("the peer record of user {} is missing", pair.to));
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
                count += floor.ordinal + floor.beyond;
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
