//! A page of a conversation: the merge by id of what two wrote to each other.

use std::ops::RangeInclusive;

use super::super::keys::{self, Pair};
use super::super::log::Log;
use super::reads::read_state_of;
use super::rows::{Row, Rows};
use super::{Result, is_gone_before, newest, unreadable};
use crate::ids::{MessageId, Sender, UserId};
use crate::store::{Cursor, History, HistoryCursor, HistoryEntry, Stretch};

/// Which way a page is read from where it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Older,
    Newer,
}

/// Reads a page of what `user` and `peer` wrote to each other: as many rows as the page
/// holds and one more each, however long the conversation is.
pub(in super::super) fn history(
    tree: &Log,
    user: UserId,
    peer: Sender,
    stretch: Stretch,
    limit: usize,
    head: Cursor,
) -> Result<Option<History>> {
    let head = head.get();
    // The ids behind `begin`, up to and with `end`.
    let (begin, end, way) = match stretch {
        Stretch::Newest => (0, head, Way::Older),
        Stretch::Before(cursor) => (0, cursor.id()?.saturating_sub(1).min(head), Way::Older),
        Stretch::After(cursor) => (cursor.id()?, head, Way::Newer),
    };
    if !tree.contains_key(keys::peer(user, peer)).map_err(unreadable)? {
        return Ok(None);
    }
    let pairs = pairs(user, peer);
    let (rows, more) = walk(tree, &pairs, begin + 1..=end, way, limit)?;
    let older = match (way, rows.first()) {
        (Way::Older, first) => first.filter(|_| more).map(|row| row.id.get()),
        (Way::Newer, first) => {
            let before = first.map_or(begin + 1, |row| row.id.get());
            any(tree, &pairs, (before - 1).min(head))?.then_some(before)
        }
    };
    let newer = match rows.last() {
        Some(last) => last.id.get(),
        // Written, but not durable yet.
        None if !any(tree, &pairs, head)? => return Ok(None),
        None if way == Way::Older => end,
        None => begin,
    };
    Ok(Some(History {
        entries: entries(tree, &pairs, &rows)?,
        older: older.map(HistoryCursor::at),
        newer: HistoryCursor::at(newer),
    }))
}

/// The directions of a conversation: one where nobody answers.
pub(in super::super) fn pairs(user: UserId, peer: Sender) -> Vec<Pair> {
    let received = Pair { to: user, from: peer };
    match peer {
        Sender::User(peer) if peer != user => vec![received, Pair { to: peer, from: user.into() }],
        Sender::User(_) | Sender::System => vec![received],
    }
}

/// Whether there is a message up to `end`.
fn any(tree: &Log, pairs: &[Pair], end: u64) -> Result<bool> {
    for &pair in pairs {
        if newest(tree, pair, end)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes up to `limit` rows, and gives them oldest first; says whether there are more.
fn walk(
    tree: &Log,
    pairs: &[Pair],
    ids: RangeInclusive<u64>,
    way: Way,
    limit: usize,
) -> Result<(Vec<Row>, bool)> {
    let mut directions = Vec::with_capacity(pairs.len());
    for &pair in pairs {
        let rows = Rows::of(tree, pair, ids.clone());
        let mut direction = Direction { rows, way, next: None };
        direction.advance(tree)?;
        directions.push(direction);
    }
    let mut taken = Vec::new();
    while taken.len() < limit {
        let heads = directions.iter_mut().filter(|direction| direction.next.is_some());
        let nearest = match way {
            Way::Older => heads.max_by_key(|direction| direction.next_id()),
            Way::Newer => heads.min_by_key(|direction| direction.next_id()),
        };
        let Some(direction) = nearest else { break };
        taken.extend(direction.advance(tree)?);
    }
    if way == Way::Older {
        taken.reverse();
    }
    Ok((taken, directions.iter().any(|direction| direction.next.is_some())))
}

/// One direction on the way, its next row at hand.
struct Direction {
    rows: Rows,
    way: Way,
    next: Option<Row>,
}

impl Direction {
    fn next_id(&self) -> Option<MessageId> {
        self.next.as_ref().map(|row| row.id)
    }

    /// Gives the row at hand and takes up the one behind it, which must be its neighbour.
    fn advance(&mut self, tree: &Log) -> Result<Option<Row>> {
        let row = match self.way {
            Way::Older => self.rows.next_back(),
            Way::Newer => self.rows.next(),
        };
        let taken = std::mem::replace(&mut self.next, row.transpose()?);
        if let (Some(one), Some(other)) = (&taken, &self.next) {
            let (older, newer) = if one.id < other.id { (one, other) } else { (other, one) };
            if newer.ordinal != older.ordinal + 1 {
                is_gone_before(tree, newer)?;
            }
        }
        Ok(taken)
    }
}

fn entries(tree: &Log, pairs: &[Pair], rows: &[Row]) -> Result<Vec<HistoryEntry>> {
    let mut read = Vec::with_capacity(pairs.len());
    for &pair in pairs {
        let mut ordinals = rows.iter().filter(|row| row.pair == pair).map(|row| row.ordinal);
        let Some(first) = ordinals.next() else { continue };
        let last = ordinals.next_back().unwrap_or(first);
        read.push((pair, read_state_of(tree, pair, first..=last)?));
    }
    let is_read = |row: &Row| {
        let state = read.iter().find(|(pair, _)| *pair == row.pair);
        state.is_some_and(|(_, state)| state.holds(row.ordinal))
    };
    rows.iter()
        .map(|row| Ok(HistoryEntry { message: row.record()?.message, read: is_read(row) }))
        .collect()
}

/// A single message as a conversation shows it.
pub(super) fn entry(tree: &Log, row: &Row) -> Result<HistoryEntry> {
    let read = read_state_of(tree, row.pair, row.ordinal..=row.ordinal)?.holds(row.ordinal);
    Ok(HistoryEntry { message: row.record()?.message, read })
}
