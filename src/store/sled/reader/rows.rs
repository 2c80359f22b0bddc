//! The messages of one pair, walked from either end.
//!
//! The newest of them lie in the log, the others in volumes, and while somebody walks, some
//! may go from the one to the other. A volume holds all messages up to its end, can be looked
//! into before its messages leave the log, and says so by a number that only grows. So every
//! step looks into the log first and at that number behind it: what is not seen in the one is
//! seen in the other.

use std::ops::RangeInclusive;
use std::sync::Arc;

use sled::IVec;

use super::super::keys::{self, Pair};
use super::super::log::Log;
use super::super::record::{MessageRecord, MessageView};
use super::super::shelf::Packed;
use super::super::volume::Volume;
use super::{Result, gone, not_whole, unreadable};
use crate::ids::MessageId;

/// A message whose row was checked and whose texts still lie where they were found: many
/// rows are looked at for their place alone.
#[derive(Clone, Debug)]
pub(in super::super) struct Row {
    pub(in super::super) pair: Pair,
    pub(in super::super) id: MessageId,
    pub(in super::super) ordinal: u64,
    value: IVec,
}

impl Row {
    pub(in super::super) fn open(pair: Pair, id: u64, value: IVec) -> Result<Self> {
        let key = keys::message(pair, id);
        let view = MessageView::decode(&key, &value).ok_or_else(|| not_whole("message", &key))?;
        let MessageView { pair, id, ordinal, .. } = view;
        Ok(Self { pair, id, ordinal, value })
    }

    /// The message with its texts where they lie.
    pub(super) fn view(&self) -> Result<MessageView<'_>> {
        let key = keys::message(self.pair, self.id.get());
        MessageView::decode(&key, &self.value).ok_or_else(|| not_whole("message", &key))
    }

    /// The message with its texts.
    pub(in super::super) fn record(&self) -> Result<MessageRecord> {
        Ok(self.view()?.to_record())
    }
}

/// The rows of a pair whose ids lie in a range; each step costs one row.
pub(in super::super) struct Rows {
    log: Log,
    pair: Pair,
    from: u64,
    to: u64,
    /// The volumes that hold some of them, as of when the last of all volumes ended there.
    packed: Option<(u64, Volumes)>,
}

/// Where in volumes to look.
#[derive(Clone)]
struct Volumes {
    /// Rising by their ids.
    volumes: Vec<Arc<Volume>>,
    /// What is gone is still in them.
    gone: u64,
}

impl Rows {
    pub(in super::super) fn of(log: &Log, pair: Pair, ids: RangeInclusive<u64>) -> Self {
        let (from, to) = ids.into_inner();
        Self { log: log.clone(), pair, from, to, packed: None }
    }

    /// The volumes to look into, where volumes end at `end`.
    fn volumes(&mut self, end: u64) -> Result<Volumes> {
        if let Some((_, known)) = self.packed.as_ref().filter(|(known, _)| *known == end) {
            return Ok(known.clone());
        }
        let (from, to) = (self.from, self.to);
        let packed = packed(&self.log, self.pair)?;
        let mut found = Volumes { volumes: Vec::new(), gone: 0 };
        if packed.last(end).id >= from {
            let shelf = &self.log.shelf;
            let volumes = packed.volumes.iter().filter(|&&first| first <= to);
            let volumes = volumes.filter_map(|&first| shelf.beginning(first));
            found.volumes = volumes.filter(|volume| volume.row.last >= from).collect();
            found.gone = gone(&self.log, self.pair)?.id;
        }
        self.packed = Some((end, found.clone()));
        Ok(found)
    }

    fn step(&mut self) -> Result<Option<Row>> {
        if self.from > self.to {
            return Ok(None);
        }
        let mut found = self.log.hot.next(self.pair, self.from..=self.to);
        let end = self.log.shelf.packed_up_to();
        if self.from <= end {
            let Volumes { volumes, gone } = self.volumes(end)?;
            let from = self.from.max(gone.saturating_add(1));
            for volume in volumes.iter().filter(|volume| volume.row.last >= from) {
                if from > self.to || found.as_ref().is_some_and(|&(id, _)| id < volume.row.first) {
                    break;
                }
                if let Some(packed) = volume.next(self.pair, from..=self.to)? {
                    found = Some(packed);
                    break;
                }
            }
        }
        let Some((id, value)) = found else {
            self.from = u64::MAX;
            self.to = 0;
            return Ok(None);
        };
        self.from = id + 1;
        Row::open(self.pair, id, value).map(Some)
    }

    fn step_back(&mut self) -> Result<Option<Row>> {
        if self.from > self.to {
            return Ok(None);
        }
        // What has left the log is older than all that is in it.
        let mut found = self.log.hot.next_back(self.pair, self.from..=self.to);
        let end = self.log.shelf.packed_up_to();
        if found.is_none() && self.from <= end {
            let Volumes { volumes, gone } = self.volumes(end)?;
            let from = self.from.max(gone.saturating_add(1));
            for volume in volumes.iter().rev().filter(|volume| volume.row.first <= self.to) {
                if from > self.to || volume.row.last < from {
                    break;
                }
                found = volume.next_back(self.pair, from..=self.to)?;
                if found.is_some() {
                    break;
                }
            }
        }
        let Some((id, value)) = found.filter(|&(id, _)| id > 0) else {
            self.from = u64::MAX;
            self.to = 0;
            return Ok(None);
        };
        self.to = id - 1;
        Row::open(self.pair, id, value).map(Some)
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step_back().transpose()
    }
}

/// The newest message of a pair up to the id `end`.
pub(in super::super) fn newest(log: &Log, pair: Pair, end: u64) -> Result<Option<Row>> {
    Rows::of(log, pair, 0..=end).next_back().transpose()
}

/// A message of a pair, unless it is gone.
pub(in super::super) fn row(log: &Log, pair: Pair, id: u64) -> Result<Option<Row>> {
    Rows::of(log, pair, id..=id).next().transpose()
}

/// The ordinal and the id of the newest message of a pair that is not gone: without a look
/// into a volume.
pub(in super::super) fn last(log: &Log, pair: Pair) -> Result<Option<(u64, MessageId)>> {
    if let Some((id, value)) = log.hot.next_back(pair, 0..=u64::MAX) {
        let row = Row::open(pair, id, value)?;
        return Ok(Some((row.ordinal, row.id)));
    }
    // Behind the log: what has left it since is known here.
    let end = log.shelf.packed_up_to();
    let packed = packed(log, pair)?.last(end);
    if gone(log, pair)?.id >= packed.id {
        return Ok(None);
    }
    Ok(MessageId::new(packed.id).map(|id| (packed.ordinal, id)))
}

/// What is known of the messages of a pair that lie in volumes.
pub(in super::super) fn packed(tree: &sled::Tree, pair: Pair) -> Result<Packed> {
    let key = keys::packed(pair);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => Packed::decode(&key, &value).ok_or_else(|| not_whole("packed", &key)),
        None => Ok(Packed::default()),
    }
}
