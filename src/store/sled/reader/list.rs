//! The list of a user's conversations, the newest message first.

use std::cmp::Reverse;

use super::super::keys::Pair;
use super::super::log::Log;
use super::history::{entry, pairs};
use super::{Result, floor, is_gone, newest, peers, profile};
use crate::ids::{MessageId, Sender, UserId};
use crate::store::{Conversation, Conversations, Cursor, HistoryCursor};

/// A conversation while it is not known whether it comes on the page: no contents.
struct Candidate {
    peer: Sender,
    unread: u64,
    /// Where its newest message lies.
    last: MessageId,
    pair: Pair,
}

/// Reads a page of the list: some seeks for every peer, contents for the page alone.
pub(in super::super) fn conversations(
    tree: &Log,
    user: UserId,
    after: Option<HistoryCursor>,
    limit: usize,
    head: Cursor,
) -> Result<Conversations> {
    let before = after.map(HistoryCursor::id).transpose()?;
    let mut page = Conversations::default();
    let mut candidates = Vec::new();
    for peer in peers(tree, user) {
        // None: what there is of it is not durable yet.
        let Some(candidate) = candidate(tree, user, peer?, head.get())? else {
            continue;
        };
        page.unread_total += candidate.unread;
        if before.is_none_or(|before| candidate.last.get() < before) {
            candidates.push(candidate);
        }
    }
    candidates.sort_unstable_by_key(|candidate| Reverse(candidate.last));
    let more = candidates.len() > limit;
    candidates.truncate(limit);
    page.next = candidates.last().filter(|_| more).map(|last| HistoryCursor::at(last.last.get()));
    for Candidate { peer, unread, last, pair } in candidates {
        let Some(row) = newest(tree, pair, last.get())? else {
            is_gone(tree, pair, last)?;
            continue;
        };
        page.conversations.push(Conversation {
            peer,
            profile: profile(tree, peer)?,
            unread,
            last: entry(tree, &row)?,
        });
    }
    Ok(page)
}

fn candidate(tree: &Log, user: UserId, peer: Sender, head: u64) -> Result<Option<Candidate>> {
    let received = Pair { to: user, from: peer };
    let (mut unread, mut newest_of_both) = (0, None);
    for pair in pairs(user, peer) {
        let Some(row) = newest(tree, pair, head)? else {
            continue;
        };
        if pair == received {
            let floor = floor(tree, pair)?;
            unread = row.ordinal.saturating_sub(floor.ordinal.saturating_add(floor.beyond));
        }
        newest_of_both = newest_of_both.max(Some((row.id, pair)));
    }
    Ok(newest_of_both.map(|(last, pair)| Candidate { peer, unread, last, pair }))
}
