//! The rows of the database beside those of the messages: each is whole, and says what the
//! messages say.

use sled::Tree;

use super::{Census, Damage};
use crate::ids::Sender;
use crate::store::sled::gone::Gone;
use crate::store::sled::keys::{self, Pair};
use crate::store::sled::names::Names;
use crate::store::sled::read_state::{decode_floor, decode_islands};
use crate::store::sled::reader;
use crate::store::sled::record::decode_profile;

/// As many stretches have names as were found with messages behind `end`.
pub(super) fn names(tree: &Tree, found: u64, end: u64) -> Result<(), Damage> {
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
pub(super) fn gone(
    tree: &Tree,
    census: &mut Census,
    known: impl Fn(Pair) -> bool,
) -> Result<(), Damage> {
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

/// The names of a stretch are written down as they stand with the messages, and perhaps
/// those of messages that are gone, where it has `begun` to go. Counts the row.
pub(super) fn known_names(
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
pub(super) fn known_peers(tree: &Tree, pair: Pair) -> Result<(), Damage> {
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

/// Profiles must be whole; a missing one cannot be told from one never written.
pub(super) fn profiles(tree: &Tree) -> Result<(), Damage> {
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
pub(super) fn marks(tree: &Tree) -> Result<u64, Damage> {
    let (mut count, mut beyond, mut islands) = (0, 0, 0);
    for row in tree.scan_prefix(keys::READ) {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let whole = match keys::parse_read(&key) {
            Some((_, None)) => decode_floor(&key, &value).map(|floor| {
                count = floor.ordinal.saturating_add(floor.beyond).saturating_add(count);
                beyond = floor.beyond.saturating_add(beyond);
            }),
            Some((_, Some(chunk))) => decode_islands(&key, chunk, &value).map(|found| {
                let lengths =
                    found.iter().map(|island| (island.last - island.first).saturating_add(1));
                islands = lengths.fold(islands, u64::saturating_add);
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
