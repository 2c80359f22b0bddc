//! Reads of the tree: bounded pages, on blocking threads, never beyond what is durable.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use sled::Tree;

use super::keys::{self, Pair};
use super::read_state::{Floor, Island, ReadState, decode_floor, decode_islands};
use super::record::{CommitRecord, MessageRecord, decode_message, decode_profile};
use crate::ids::{MessageId, Sender, UserId};
use crate::message::{ClientMsgId, Profile};
use crate::store::{Cursor, Entry, PAGE_BYTES, PAGE_MESSAGES, Page, Span, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

fn unreadable(error: sled::Error) -> StoreError {
    StoreError::Damaged(error.to_string())
}

fn not_whole(what: &str, key: &[u8]) -> StoreError {
    StoreError::Damaged(format!("the {what} record under {key:02x?} is not whole"))
}

/// Reads a page of `inbox`: the merge by id of what each peer wrote.
pub(super) fn page(tree: &Tree, inbox: UserId, span: Span, head: Cursor) -> Result<Page> {
    let end = span.until.map_or(head, |until| until.min(head));
    let mut sources = sources(tree, inbox, span, end)?;
    let mut heap: BinaryHeap<Reverse<(MessageId, usize)>> = sources
        .iter()
        .enumerate()
        .filter_map(|(at, source)| Some(Reverse((source.next.as_ref()?.message.id, at))))
        .collect();
    let mut senders = HashMap::new();
    let mut entries = Vec::new();
    let mut bytes = 0;
    while let Some(Reverse((id, at))) = heap.pop() {
        if entries.len() == PAGE_MESSAGES || bytes >= PAGE_BYTES {
            let up_to = Cursor(id.get() - 1);
            return Ok(Page { entries, up_to, head });
        }
        let Some(source) = sources.get_mut(at) else {
            continue;
        };
        let Some(record) = source.next.take() else {
            continue;
        };
        source.advance(tree)?;
        if let Some(next) = &source.next {
            heap.push(Reverse((next.message.id, at)));
        }
        let sender = match senders.get(&record.message.from) {
            Some(sender) => Arc::clone(sender),
            None => {
                let sender = profile(tree, record.message.from)?;
                senders.insert(record.message.from, Arc::clone(&sender));
                sender
            }
        };
        bytes += record.message.content.len();
        let MessageRecord { message, client_id } = record;
        entries.push(Arc::new(Entry { message, sender, client_id }));
    }
    Ok(Page { entries, up_to: end.max(span.after), head })
}

/// One peer's messages within the span, the next of them at hand.
struct Source {
    pair: Pair,
    rows: sled::Iter,
    end: u64,
    /// What to leave out; `None` reads everything.
    read: Option<ReadState>,
    next: Option<MessageRecord>,
    /// The ordinal that the next row must have, where that is known.
    expected: Option<u64>,
}

fn sources(tree: &Tree, inbox: UserId, span: Span, end: Cursor) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for row in tree.scan_prefix(keys::peers_of(inbox)) {
        let (key, _) = row.map_err(unreadable)?;
        let (_, peer) = keys::parse_peer(&key).ok_or_else(|| not_whole("peer", &key))?;
        let pair = Pair { to: inbox, from: peer };
        let read = if span.unread_only { Some(read_state(tree, pair)?) } else { None };
        let floor = read.as_ref().map_or(Floor::default(), |read| read.floor);
        let after = span.after.get().max(floor.id);
        // Where the floor is the start, the very next ordinal must follow; from a
        // cursor in the middle nothing is known of the first.
        let expected = (span.unread_only && floor.id >= span.after.get() || after == 0)
            .then_some(floor.ordinal + 1);
        let mut source = Source {
            pair,
            rows: tree.range(rows(pair, after + 1..=end.get())),
            end: end.get(),
            read,
            next: None,
            expected,
        };
        source.advance(tree)?;
        if source.next.is_some() {
            sources.push(source);
        }
    }
    Ok(sources)
}

fn rows(pair: Pair, ids: RangeInclusive<u64>) -> RangeInclusive<Vec<u8>> {
    keys::message(pair, *ids.start())..=keys::message(pair, (*ids.end()).max(*ids.start()))
}

impl Source {
    /// Moves on to the next message that is wanted.
    fn advance(&mut self, tree: &Tree) -> Result<()> {
        self.next = None;
        while let Some(row) = self.rows.next() {
            let (key, value) = row.map_err(unreadable)?;
            let record = decode_message(&key, &value).ok_or_else(|| not_whole("message", &key))?;
            let message = &record.message;
            if message.id.get() > self.end {
                return Ok(());
            }
            if self.expected.is_some_and(|expected| message.ordinal != expected) {
                return Err(StoreError::Damaged(format!(
                    "a message from {} to {} before {} is missing",
                    self.pair.from.get(),
                    self.pair.to,
                    message.id
                )));
            }
            let island = self.read.as_ref().and_then(|read| read.island(message.ordinal));
            let Some(island) = island else {
                self.expected = Some(message.ordinal + 1);
                self.next = Some(record);
                return Ok(());
            };
            self.expected = Some(island.last + 1);
            self.rows = tree.range(rows(self.pair, island.last_id + 1..=self.end));
            if island.last_id >= self.end {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The whole read state of a pair, as it was at one moment.
fn read_state(tree: &Tree, pair: Pair) -> Result<ReadState> {
    loop {
        let state = read_rows(tree, pair)?;
        // A mark between two rows can let a new floor swallow an island that the old
        // one did not hold: then neither was seen. The set only grows, so a floor that
        // is still the same was the same all the time.
        if state.floor.beyond == 0 || floor(tree, pair)? == state.floor {
            return Ok(state);
        }
    }
}

fn read_rows(tree: &Tree, pair: Pair) -> Result<ReadState> {
    let mut state = ReadState::default();
    for row in tree.scan_prefix(keys::read(pair)) {
        let (key, value) = row.map_err(unreadable)?;
        let whole = match keys::parse_read(&key) {
            Some((_, None)) => decode_floor(&key, &value).map(|floor| state.floor = floor),
            Some((_, Some(chunk))) => decode_islands(&key, chunk, &value)
                .map(|islands| _ = state.chunks.insert(chunk, islands)),
            None => None,
        };
        whole.ok_or_else(|| not_whole("read", &key))?;
    }
    Ok(state)
}

/// The floor of a pair alone: enough to count.
pub(super) fn floor(tree: &Tree, pair: Pair) -> Result<Floor> {
    let key = keys::read(pair);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => decode_floor(&key, &value).ok_or_else(|| not_whole("read", &key)),
        None => Ok(Floor::default()),
    }
}

/// The islands of one chunk of a pair.
pub(super) fn islands(tree: &Tree, pair: Pair, chunk: u64) -> Result<Vec<Island>> {
    let key = keys::read_chunk(pair, chunk);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => decode_islands(&key, chunk, &value).ok_or_else(|| not_whole("read", &key)),
        None => Ok(Vec::new()),
    }
}

/// The newest message of a pair.
pub(super) fn newest(tree: &Tree, pair: Pair) -> Result<Option<MessageRecord>> {
    match tree.scan_prefix(keys::messages_of(pair)).next_back() {
        Some(row) => {
            let (key, value) = row.map_err(unreadable)?;
            decode_message(&key, &value).map(Some).ok_or_else(|| not_whole("message", &key))
        }
        None => Ok(None),
    }
}

/// Everybody who has a conversation with `user`.
pub(super) fn peers(tree: &Tree, user: UserId) -> impl Iterator<Item = Result<Sender>> {
    tree.scan_prefix(keys::peers_of(user)).map(|row| {
        let (key, _) = row.map_err(unreadable)?;
        keys::parse_peer(&key).map(|(_, peer)| peer).ok_or_else(|| not_whole("peer", &key))
    })
}

/// What is known of a sender; empty for the system and for strangers.
pub(super) fn profile(tree: &Tree, sender: Sender) -> Result<Arc<Profile>> {
    let Sender::User(user) = sender else {
        return Ok(Arc::default());
    };
    let key = keys::profile(user);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => {
            let profile = decode_profile(&key, &value).ok_or_else(|| not_whole("profile", &key))?;
            Ok(Arc::new(profile))
        }
        None => Ok(Arc::default()),
    }
}

/// The commit that holds `id`.
fn commit(tree: &Tree, id: MessageId) -> Result<Option<CommitRecord>> {
    let Some(row) = tree.range(keys::commit(0)..=keys::commit(id.get())).next_back() else {
        return Ok(None);
    };
    let (key, value) = row.map_err(unreadable)?;
    CommitRecord::decode(&key, &value).map(Some).ok_or_else(|| not_whole("commit", &key))
}

/// The message `id`, wherever it lies.
pub(super) fn message(tree: &Tree, id: MessageId) -> Result<Option<MessageRecord>> {
    let commit = commit(tree, id)?;
    let Some(entry) = commit.as_ref().and_then(|commit| commit.entry(id)) else {
        return Ok(None);
    };
    let key = keys::message(entry.pair, id.get());
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => {
            decode_message(&key, &value).map(Some).ok_or_else(|| not_whole("message", &key))
        }
        None => Ok(None),
    }
}

/// One message that its reader marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) from: Sender,
    pub(super) ordinal: u64,
    pub(super) id: u64,
}

/// Those of `ids` that are durable and lie in `reader`'s inbox, by sender and ordinal.
pub(super) fn marks(
    tree: &Tree,
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
            marks.push(Mark { from: entry.pair.from, ordinal: entry.ordinal, id: id.get() });
        }
    }
    marks.sort_unstable();
    Ok(marks)
}

/// Looks through a whole direction of a conversation, newest first, for a client's own name.
pub(super) fn find_client_id(
    tree: &Tree,
    pair: Pair,
    id: &ClientMsgId,
) -> Result<Option<MessageRecord>> {
    for row in tree.scan_prefix(keys::messages_of(pair)).rev() {
        let (key, value) = row.map_err(unreadable)?;
        let record = decode_message(&key, &value).ok_or_else(|| not_whole("message", &key))?;
        if record.client_id.as_ref() == Some(id) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}
