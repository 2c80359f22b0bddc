//! From what a reader has seen to the messages that are to be marked.

use super::super::keys::Pair;
use super::super::log::Log;
use super::super::record::CommitRecord;
use super::Result;
use super::lookup::commit;
use super::source::Source;
use crate::ids::{MessageId, Sender, UserId};
use crate::store::Cursor;

/// One message that its reader marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Mark {
    pub(in super::super) from: Sender,
    pub(in super::super) ordinal: u64,
    pub(in super::super) id: MessageId,
}

/// Those of `ids` that are durable and lie in `reader`'s inbox, by sender and ordinal.
pub(in super::super) fn marks(
    tree: &Log,
    reader: UserId,
    mut ids: Vec<MessageId>,
    head: Cursor,
) -> Result<Vec<Mark>> {
    ids.sort_unstable();
    ids.dedup();
    let mut marks = Vec::with_capacity(ids.len());
    let mut at: Option<CommitRecord> = None;
    for id in ids.into_iter().filter(|id| Cursor::from(*id) <= head) {
        // Neighbours mostly share a commit: look one up only when the last has ended.
        if at.as_ref().is_none_or(|commit| commit.last() < id.get()) {
            at = commit(tree, id)?;
        }
        if let Some(entry) = at.as_ref().and_then(|commit| commit.entry(id))
            && entry.pair.to == reader
        {
            marks.push(Mark { from: entry.pair.from, ordinal: entry.ordinal, id });
        }
    }
    marks.sort_unstable();
    Ok(marks)
}

/// The first `limit` unread messages of a pair behind `after`, up to and with `end`.
pub(in super::super) fn unread_up_to(
    tree: &Log,
    pair: Pair,
    after: Cursor,
    end: Cursor,
    limit: usize,
) -> Result<Vec<Mark>> {
    let mut source = Source::open(tree, pair, after.get(), end.get(), true)?;
    let mut marks = Vec::new();
    while marks.len() < limit
        && let Some(row) = source.take(tree)?
    {
        marks.push(Mark { from: pair.from, ordinal: row.ordinal, id: row.id });
    }
    Ok(marks)
}
