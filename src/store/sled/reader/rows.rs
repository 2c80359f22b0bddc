//! The message rows of one pair, walked from either end.

use std::ops::RangeInclusive;

use sled::{IVec, Tree};

use super::super::keys::{self, Pair};
use super::super::record::{MessageRecord, MessageView};
use super::{Result, not_whole, unreadable};
use crate::ids::MessageId;

/// A message whose row was checked and whose texts still lie where sled has them: many
/// rows are looked at for their place alone.
#[derive(Clone, Debug)]
pub(in super::super) struct Row {
    pub(in super::super) pair: Pair,
    pub(in super::super) id: MessageId,
    pub(in super::super) ordinal: u64,
    key: IVec,
    value: IVec,
}

impl Row {
    fn open((key, value): (IVec, IVec)) -> Result<Self> {
        let view = MessageView::decode(&key, &value).ok_or_else(|| not_whole("message", &key))?;
        let MessageView { pair, id, ordinal, .. } = view;
        Ok(Self { pair, id, ordinal, key, value })
    }

    /// The message with its texts where they lie.
    pub(super) fn view(&self) -> Result<MessageView<'_>> {
        MessageView::decode(&self.key, &self.value).ok_or_else(|| not_whole("message", &self.key))
    }

    /// The message with its texts.
    pub(in super::super) fn record(&self) -> Result<MessageRecord> {
        Ok(self.view()?.to_record())
    }
}

/// The rows of a pair whose ids lie in a range; each step costs one row.
pub(in super::super) struct Rows(sled::Iter);

impl Rows {
    pub(in super::super) fn of(tree: &Tree, pair: Pair, ids: RangeInclusive<u64>) -> Self {
        Self(tree.range(keys::message(pair, *ids.start())..=keys::message(pair, *ids.end())))
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|row| Row::open(row.map_err(unreadable)?))
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|row| Row::open(row.map_err(unreadable)?))
    }
}

/// The newest message of a pair up to the id `end`.
pub(in super::super) fn newest(tree: &Tree, pair: Pair, end: u64) -> Result<Option<Row>> {
    Rows::of(tree, pair, 0..=end).next_back().transpose()
}
