//! What one peer wrote into an inbox, within a span, the next message at hand.

use super::super::keys::Pair;
use super::super::log::Log;
use super::super::read_state::{Floor, ReadState};
use super::reads::read_state;
use super::rows::{Row, Rows};
use super::{Result, is_gone_before};
use crate::ids::MessageId;

/// The messages of a pair behind `after` and up to `end`, oldest first.
pub(super) struct Source {
    pair: Pair,
    rows: Rows,
    end: u64,
    /// What to leave out; `None` reads everything.
    read: Option<ReadState>,
    next: Option<Row>,
    /// The ordinal that the next row must have, where that is known.
    expected: Option<u64>,
}

impl Source {
    pub(super) fn open(
        tree: &Log,
        pair: Pair,
        after: u64,
        end: u64,
        unread_only: bool,
    ) -> Result<Self> {
        let read = if unread_only { Some(read_state(tree, pair)?) } else { None };
        let floor = read.as_ref().map_or(Floor::default(), |read| read.floor);
        let begin = after.max(floor.id);
        // Where the floor is the start, the very next ordinal must follow; from a
        // cursor in the middle nothing is known of the first.
        let expected =
            (unread_only && floor.id >= after || begin == 0).then_some(floor.ordinal + 1);
        let rows = Rows::of(tree, pair, begin + 1..=end);
        let mut source = Self { pair, rows, end, read, next: None, expected };
        source.advance(tree)?;
        Ok(source)
    }

    /// The id of the next message.
    pub(super) fn next_id(&self) -> Option<MessageId> {
        self.next.as_ref().map(|row| row.id)
    }

    /// Takes the next message and moves on.
    pub(super) fn take(&mut self, tree: &Log) -> Result<Option<Row>> {
        let taken = self.next.take();
        if taken.is_some() {
            self.advance(tree)?;
        }
        Ok(taken)
    }

    /// Moves on to the next message that is wanted.
    fn advance(&mut self, tree: &Log) -> Result<()> {
        while let Some(row) = self.rows.next() {
            let row = row?;
            if self.expected.is_some_and(|expected| row.ordinal != expected) {
                is_gone_before(tree, &row)?;
            }
            let Some(island) = self.read.as_ref().and_then(|read| read.island(row.ordinal)) else {
                self.expected = Some(row.ordinal + 1);
                self.next = Some(row);
                return Ok(());
            };
            self.expected = Some(island.last + 1);
            self.rows = Rows::of(tree, self.pair, island.last_id + 1..=self.end);
        }
        Ok(())
    }
}
