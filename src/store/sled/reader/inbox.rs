//! The inbox: what everybody wrote to one user, by id.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::super::keys::Pair;
use super::super::log::Log;
use super::super::record::MessageRecord;
use super::source::Source;
use super::{Result, departed, newest, peers, profile};
use crate::ids::{MessageId, UserId};
use crate::store::{Cursor, Entry, PAGE_BYTES, PAGE_MESSAGES, Page, Span};

/// Reads a page of `inbox`: the merge by id of what each peer wrote.
pub(in super::super) fn page(tree: &Log, inbox: UserId, span: Span, head: Cursor) -> Result<Page> {
    let end = span.until.map_or(head, |until| until.min(head));
    let complete = span.unread_only || departed(tree, inbox)? <= span.after.get();
    let mut sources = Vec::new();
    let mut heap: BinaryHeap<Reverse<(MessageId, usize)>> = BinaryHeap::new();
    for peer in peers(tree, inbox) {
        let pair = Pair { to: inbox, from: peer? };
        let source = Source::open(tree, pair, span.after.get(), end.get(), span.unread_only)?;
        if let Some(id) = source.next_id() {
            heap.push(Reverse((id, sources.len())));
            sources.push(source);
        }
    }
    let mut senders = HashMap::new();
    let mut entries = Vec::new();
    let mut bytes = 0;
    while let Some(Reverse((id, at))) = heap.pop() {
        if entries.len() == PAGE_MESSAGES || bytes >= PAGE_BYTES {
            let up_to = Cursor(id.get() - 1);
            return Ok(Page { entries, up_to, head, complete });
        }
        let Some(source) = sources.get_mut(at) else {
            continue;
        };
        let Some(row) = source.take(tree)? else {
            continue;
        };
        if let Some(next) = source.next_id() {
            heap.push(Reverse((next, at)));
        }
        let MessageRecord { message, client_id } = row.record()?;
        let sender = match senders.get(&message.from) {
            Some(sender) => Arc::clone(sender),
            None => {
                let sender = profile(tree, message.from)?;
                senders.insert(message.from, Arc::clone(&sender));
                sender
            }
        };
        bytes += message.content.len();
        entries.push(Arc::new(Entry { message, sender, client_id }));
    }
    Ok(Page { entries, up_to: end.max(span.after), head, complete })
}

/// The newest message of `inbox`, at one seek a peer, be it gone or not.
pub(in super::super) fn inbox_head(tree: &Log, inbox: UserId, head: Cursor) -> Result<Cursor> {
    let mut found = Cursor(departed(tree, inbox)?);
    for peer in peers(tree, inbox) {
        let pair = Pair { to: inbox, from: peer? };
        if let Some(row) = newest(tree, pair, head.get())? {
            found = found.max(row.id.into());
        }
    }
    Ok(found)
}
