//! What is gone: asked for only where something is not where it would have to be, so that
//! it costs nothing where nothing is gone.

use sled::Tree;

use super::super::gone::{Erasure, Gone, Skipped};
use super::super::keys::{self, Pair};
use super::rows::Row;
use super::{Result, not_whole, unreadable};
use crate::ids::{MessageId, UserId};
use crate::store::StoreError;

/// Up to where the messages of a pair are gone.
pub(in super::super) fn gone(tree: &Tree, pair: Pair) -> Result<Gone> {
    let key = keys::gone(pair);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => Gone::decode(&key, &value).ok_or_else(|| not_whole("gone", &key)),
        None => Ok(Gone::default()),
    }
}

/// Sees that what is missing right before `row` is gone, and was not lost.
///
/// A message and what tells that it is gone change in one step: who misses a message finds
/// the other, also where it went while they were reading.
pub(super) fn is_gone_before(tree: &Tree, row: &Row) -> Result<()> {
    match gone(tree, row.pair)?.ordinal.checked_add(1) {
        Some(next) if next >= row.ordinal => Ok(()),
        _ => Err(missing(row.pair, row.id)),
    }
}

/// Sees that the message `id`, which was there a moment ago, is gone and was not lost.
pub(super) fn is_gone(tree: &Tree, pair: Pair, id: MessageId) -> Result<()> {
    if gone(tree, pair)?.id >= id.get() { Ok(()) } else { Err(missing(pair, id)) }
}

/// The ordinals of a pair do not run on up to the message `id`.
fn missing(pair: Pair, id: MessageId) -> StoreError {
    let (from, to) = (pair.from.get(), pair.to);
    StoreError::Damaged(format!("a message from {from} to {to} up to {id} is missing"))
}

/// The highest id of an inbox that is gone; 0: none is.
pub(super) fn departed(tree: &Tree, inbox: UserId) -> Result<u64> {
    let mut highest = 0;
    for row in tree.scan_prefix(keys::gone_of(inbox)) {
        let (key, value) = row.map_err(unreadable)?;
        let gone = Gone::decode(&key, &value).ok_or_else(|| not_whole("gone", &key))?;
        highest = highest.max(gone.id);
    }
    Ok(highest)
}

/// The ids that no message ever had here.
pub(in super::super) fn skipped(tree: &Tree) -> Result<Skipped> {
    match tree.get(keys::SKIPPED).map_err(unreadable)? {
        Some(value) => Skipped::decode(keys::SKIPPED, &value)
            .ok_or_else(|| not_whole("skipped ids", keys::SKIPPED)),
        None => Ok(Skipped::default()),
    }
}

/// The users whose erasure is under way.
pub(in super::super) fn erasures(tree: &Tree) -> Result<Vec<(UserId, Erasure)>> {
    let rows = tree.scan_prefix(keys::ERASURES).map(|row| {
        let (key, value) = row.map_err(unreadable)?;
        let found = keys::parse_erasure(&key).zip(Erasure::decode(&key, &value));
        found.ok_or_else(|| not_whole("erasure", &key))
    });
    rows.collect()
}
