//! One group commit: from what was asked to one atomic batch and the answers to give.

mod removal;

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

// Seeded, since it is the client that chooses what goes into the tables.
use foldhash::{HashMap, HashMapExt};
use sled::IVec;
use tokio::sync::oneshot;

use super::books::{Books, Newest};
use super::keys::{self, Pair};
use super::log::Log;
use super::names::{BLOCK, Collector};
use super::read_state::{ReadState, encode_floor, encode_islands};
use super::reader::{self, Mark};
use super::record::{self, CommitEntry, CommitRecord, LogPiece, ResendMark};
use super::revoked;
use super::rows::Rows;
use super::volume::Held;
use crate::auth::Revocation;
use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::message::{Message, StoredAt};
use crate::store;
use crate::store::{
    Announcement, AppendError, Appended, ClaimedProfile, Cursor, Draft, ReadReceipt, ResendKey,
    StoreError, Stored,
};

/// Where an outcome goes. Nobody waiting for it any more is no fault.
pub(super) type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

/// Bytes of a row of the log, about, unless a single message is larger: sled holds 16 rows in
/// a page, which is written anew as a whole now and then.
pub(super) const PIECE_BYTES: usize = 6 << 10;

/// What a message takes in a row of the log beside its value, at the most.
pub(super) const PLACE_BYTES: usize = 48;

/// An outcome that may be told once the batch is durable.
#[derive(Debug)]
enum Answer {
    Appended(Reply<Appended>, Result<Appended, AppendError>),
    Known(Reply<Option<Appended>>, Result<Option<Appended>, AppendError>),
    Done(Reply<()>),
}

/// A batch under construction. The books run ahead of it: when it cannot be made
/// durable they are wrong, and the writer ends.
#[derive(Debug)]
pub(super) struct Commit<'a> {
    books: &'a mut Books,
    rows: Rows,
    first: u64,
    stored_at: StoredAt,
    /// What goes into the log, in pieces: the last one may grow.
    pieces: Vec<LogPiece>,
    /// The bytes of the last piece, about.
    bytes: usize,
    stored: Vec<Stored>,
    receipts: Vec<ReadReceipt>,
    reads: HashMap<Pair, ReadState>,
    /// Which of the revocations touched here are there, behind this batch.
    revoked: HashMap<Vec<u8>, bool>,
    /// What is to be announced of tokens and users.
    decrees: Vec<Announcement>,
    newly_read: u64,
    gone: u64,
    logged: Vec<Held>,
    taken: Vec<(Pair, u64)>,
    answers: Vec<Answer>,
}

/// What a batch comes to once it is durable.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The last id in it, where it holds messages.
    pub(super) last_id: Option<u64>,
    /// How many messages it marks, or takes away unread.
    pub(super) newly_read: u64,
    /// How many messages it takes away.
    pub(super) gone: u64,
    /// The messages that it adds to the log.
    pub(super) logged: Vec<Held>,
    /// The places of those that it takes out of it.
    pub(super) taken: Vec<(Pair, u64)>,
    stored: Vec<Stored>,
    receipts: Vec<ReadReceipt>,
    decrees: Vec<Announcement>,
    answers: Vec<Answer>,
}

impl<'a> Commit<'a> {
    pub(super) fn new(books: &'a mut Books) -> Self {
        let first = books.next_id;
        Self {
            books,
            rows: Rows::default(),
            first,
            stored_at: StoredAt::now(),
            pieces: Vec::new(),
            bytes: 0,
            stored: Vec::new(),
            receipts: Vec::new(),
            reads: HashMap::new(),
            revoked: HashMap::new(),
            decrees: Vec::new(),
            newly_read: 0,
            gone: 0,
            logged: Vec::new(),
            taken: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Adds a message, or finds that it is there already.
    pub(super) fn append(
        &mut self,
        draft: Draft,
        reply: Reply<Appended>,
    ) -> Result<(), StoreError> {
        let mark = ResendMark::of(&draft);
        let outcome = match self.books.resends.get(mark).and_then(MessageId::new) {
            Some(id) => self.joined(&draft, id)?,
            None => self.added(draft, mark)?,
        };
        self.answers.push(Answer::Appended(reply, outcome));
        Ok(())
    }

    /// Finds what an earlier try of a packet came to, within its window.
    pub(super) fn known(
        &mut self,
        draft: &Draft,
        reply: Reply<Option<Appended>>,
    ) -> Result<(), StoreError> {
        let known = self.books.resends.get(ResendMark::of(draft)).and_then(MessageId::new);
        let outcome = match known {
            Some(id) => self.joined(draft, id)?.map(Some),
            None => Ok(None),
        };
        self.answers.push(Answer::Known(reply, outcome));
        Ok(())
    }

    /// The outcome of a resend: that of the first try, if it is the same message.
    fn joined(
        &self,
        draft: &Draft,
        id: MessageId,
    ) -> Result<Result<Appended, AppendError>, StoreError> {
        if matches!(draft.resend, ResendKey::Client { .. }) && !self.is_same(draft, id)? {
            return Ok(Err(AppendError::IdReused));
        }
        Ok(Ok(Appended { id, duplicate: true }))
    }

    fn is_same(&self, draft: &Draft, id: MessageId) -> Result<bool, StoreError> {
        let same = |first: &Message| first.to == draft.to && first.content == draft.content;
        let here = id.get().checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(here) = here.and_then(|at| self.stored.get(at)) {
            return Ok(same(&here.entry.message));
        }
        // Of a message that is gone nobody knows any more what it said.
        Ok(reader::message(&self.books.log, id)?.is_none_or(|record| same(&record.message)))
    }

    fn added(
        &mut self,
        draft: Draft,
        mark: ResendMark,
    ) -> Result<Result<Appended, AppendError>, StoreError> {
        let pair = Pair { to: draft.to, from: draft.from };
        // 2^53 messages: no id is left, and none is ever given twice.
        let Some(id) = MessageId::new(self.books.next_id) else {
            return Ok(Err(AppendError::Unavailable));
        };
        let inbox = self.books.inbox(pair.to)?;
        if inbox.unread >= self.books.unread_max {
            return Ok(Err(AppendError::InboxFull));
        }
        let Newest { ordinal, kept, .. } = self.books.newest(pair)?;
        let ordinal = ordinal + 1;
        let sender = self.books.profile(draft.from)?;

        let key = keys::message(pair, id.get());
        let value = record::encode_message(&key, &draft, ordinal, self.stored_at);
        self.log(pair, id, ordinal, mark, value.into());
        if !kept {
            self.insert(keys::peer(pair.to, pair.from), Vec::new());
            if let Sender::User(from) = pair.from {
                self.insert(keys::peer(from, pair.to.into()), Vec::new());
            }
        }
        let previous = self.books.appended(pair, id);
        self.books.resends.insert(mark, id.get(), Instant::now());
        let client_id = match draft.resend {
            ResendKey::Client { id, .. } => Some(id),
            ResendKey::None | ResendKey::Packet(_) => None,
        };
        let is_named = client_id.is_some();
        self.stored.push(Stored {
            entry: Arc::new(store::Entry {
                message: Message {
                    id,
                    from: draft.from,
                    to: draft.to,
                    ordinal,
                    stored_at: self.stored_at,
                    timestamp: draft.timestamp,
                    content: draft.content,
                },
                sender,
                client_id,
            }),
            previous: Some(Cursor(previous)),
            origin: draft.origin,
        });
        if let Some(full) = self.books.named(pair, ordinal, is_named) {
            self.write_names(pair, full)?;
        }
        Ok(Ok(Appended { id, duplicate: false }))
    }

    /// Writes down the names in a stretch that is full with the message just added.
    fn write_names(&mut self, pair: Pair, stretch: u64) -> Result<(), StoreError> {
        let Some(first) = MessageId::new(self.first) else { return Ok(()) };
        let mut names = Collector::default();
        let mut missing = BLOCK as usize;
        let here = self.stored.iter().rev().map(|stored| &stored.entry);
        for entry in here.filter(|entry| Pair::of(&entry.message) == pair).take(missing) {
            let name = entry.client_id.as_ref().map_or("", |name| name.as_str());
            names.add(entry.message.id, name);
            missing -= 1;
        }
        reader::collect_names(&self.books.log, pair, first, missing, &mut names)?;
        if let Some(names) = names.finish() {
            let key = keys::names(pair, stretch);
            let value = names.encode(&key);
            self.insert(key, value);
        }
        Ok(())
    }

    /// Adds read flags; `marks` are sorted by sender and ordinal. Those that are new
    /// become a receipt for each sender.
    pub(super) fn mark_read(
        &mut self,
        reader: UserId,
        marks: &[Mark],
        origin: Option<ConnectionId>,
        reply: Reply<()>,
    ) -> Result<(), StoreError> {
        // Counted before the marks of this group, which the tree does not show yet.
        self.books.inbox(reader)?;
        let mut newly: Vec<Mark> = Vec::new();
        for &mark in marks {
            let pair = Pair { to: reader, from: mark.from };
            let (state, log) = self.read_state(pair)?;
            let load = |chunk| reader::islands(log, pair, chunk);
            if state.mark(mark.ordinal, mark.id.get(), load)? {
                newly.push(mark);
            }
        }
        for of_one in newly.chunk_by(|a, b| a.from == b.from) {
            let ids = of_one.iter().map(|mark| mark.id).collect();
            if let Some(&Mark { from, .. }) = of_one.first() {
                self.receipts.push(ReadReceipt { reader, from, ids, origin });
            }
        }
        let count = newly.len() as u64;
        self.books.read(reader, count);
        self.newly_read += count;
        self.answers.push(Answer::Done(reply));
        Ok(())
    }

    /// The read state of a pair as this commit leaves it, and where its chunks lie.
    fn read_state(&mut self, pair: Pair) -> Result<(&mut ReadState, &Log), StoreError> {
        let log = &self.books.log;
        let state = match self.reads.entry(pair) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(room) => {
                let floor = reader::floor(log, pair)?;
                room.insert(ReadState { floor, ..ReadState::default() })
            }
        };
        Ok((state, log))
    }

    /// Enters what a user's token claims into what is known of them.
    ///
    /// Here and not before the line, so that two claims at once lose nothing of each other.
    pub(super) fn set_profile(
        &mut self,
        user: UserId,
        claimed: ClaimedProfile,
        reply: Reply<()>,
    ) -> Result<(), StoreError> {
        let known = self.books.profile(user.into())?;
        let profile = claimed.over(&known);
        if profile != *known {
            let key = keys::profile(user);
            let value = record::encode_profile(&key, &profile);
            self.insert(key, value);
            self.books.set_profile(user, profile);
        }
        self.answers.push(Answer::Done(reply));
        Ok(())
    }

    /// Adds a revocation, unless it is over.
    pub(super) fn revoke(
        &mut self,
        revocation: Revocation,
        reply: Reply<()>,
    ) -> Result<(), StoreError> {
        if !revocation.is_over(SystemTime::now()) {
            let key = revoked::key(&revocation);
            self.decree(&key, true)?;
            let value = revoked::encode(&key, &revocation);
            self.insert(key, value);
            self.decrees.push(Announcement::Revoked(revocation));
        }
        self.answers.push(Answer::Done(reply));
        Ok(())
    }

    /// Takes the revocation of a whole user back, if there is one.
    pub(super) fn enable(&mut self, user: UserId, reply: Reply<()>) -> Result<(), StoreError> {
        let key = revoked::key(&Revocation::Disabled { user });
        self.decree(&key, false)?;
        self.delete(key);
        self.decrees.push(Announcement::Enabled(user));
        self.answers.push(Answer::Done(reply));
        Ok(())
    }

    /// Counts whether a revocation `is` there from now on.
    fn decree(&mut self, key: &[u8], is: bool) -> Result<(), StoreError> {
        let there = || self.books.log.contains_key(key);
        let was = match self.revoked.get(key) {
            Some(&was) => was,
            None => there().map_err(|error| StoreError::Damaged(error.to_string()))?,
        };
        self.books.revoked.change(was, is);
        self.revoked.insert(key.to_owned(), is);
        Ok(())
    }

    /// Adds a message to the last piece of the log, or begins a new one with it.
    fn log(&mut self, pair: Pair, id: MessageId, ordinal: u64, resend: ResendMark, value: IVec) {
        let size = value.len() + PLACE_BYTES;
        let bytes = self.bytes + size;
        let (stored_at, entry) = (self.stored_at, Some(CommitEntry { pair, ordinal, resend }));
        match self.pieces.last_mut().filter(|_| bytes <= PIECE_BYTES) {
            Some(piece) => {
                self.bytes = bytes;
                piece.commit.entries.push(entry);
                piece.values.push(value);
            }
            None => {
                self.bytes = size;
                let commit = CommitRecord { first: id, stored_at, entries: vec![entry] };
                self.pieces.push(LogPiece { commit, values: vec![value] });
            }
        }
    }

    fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.rows.remove(key);
    }

    /// Closes the batch, into which the commit record and the read states go last.
    /// There is nothing in it when everything that was asked for is there already.
    pub(super) fn prepare(mut self) -> (Rows, Outcome) {
        for piece in std::mem::take(&mut self.pieces) {
            let key = keys::commit(piece.commit.first.get());
            let value = piece.encode(&key);
            self.insert(key, value);
            let places = piece.commit.places().zip(piece.values);
            self.logged.extend(places.map(|((pair, id), value)| (pair, id, value)));
        }
        for (pair, state) in std::mem::take(&mut self.reads) {
            let key = keys::read(pair);
            let value = encode_floor(&key, state.floor);
            self.insert(key, value);
            if !state.touched.is_empty() {
                // A floor belongs to the islands beyond it.
                self.rows.show_at_once();
            }
            for &chunk in &state.touched {
                let key = keys::read_chunk(pair, chunk);
                match state.chunks.get(&chunk).filter(|islands| !islands.is_empty()) {
                    Some(islands) => {
                        let value = encode_islands(&key, chunk, islands);
                        self.insert(key, value);
                    }
                    None => self.delete(key),
                }
            }
        }
        if !self.decrees.is_empty() {
            // They are counted.
            self.rows.show_at_once();
            let value = self.books.revoked.encode();
            self.insert(keys::REVOCATIONS.to_vec(), value);
        }
        let outcome = Outcome {
            last_id: self.stored.last().map(|last| last.entry.message.id.get()),
            newly_read: self.newly_read,
            gone: self.gone,
            logged: self.logged,
            taken: self.taken,
            stored: self.stored,
            receipts: self.receipts,
            decrees: self.decrees,
            answers: self.answers,
        };
        (self.rows, outcome)
    }
}

impl Outcome {
    /// How many messages were new.
    pub(super) fn messages(&self) -> u64 {
        self.stored.len() as u64
    }

    /// The first id in it, where it holds messages.
    pub(super) fn first_id(&self) -> Option<u64> {
        self.stored.first().map(|first| first.entry.message.id.get())
    }

    /// The pair and ordinal of each of its messages, ids rising without a gap.
    pub(super) fn places(&self) -> impl Iterator<Item = (Pair, u64)> {
        let messages = self.stored.iter().map(|stored| &stored.entry.message);
        messages.map(|message| (Pair::of(message), message.ordinal))
    }

    /// How many revocations and their contraries there are in it.
    pub(super) fn decrees(&self) -> u64 {
        self.decrees.len() as u64
    }

    /// Tells everybody what came of their request, and gives what is to be announced.
    pub(super) fn tell(self) -> Vec<Announcement> {
        for answer in self.answers {
            // A session that has ended meanwhile needs no answer.
            match answer {
                Answer::Appended(reply, outcome) => drop(reply.send(outcome)),
                Answer::Known(reply, outcome) => drop(reply.send(outcome)),
                Answer::Done(reply) => drop(reply.send(Ok(()))),
            }
        }
        let stored = self.stored.into_iter().map(Announcement::Stored);
        let receipts = self.receipts.into_iter().map(Announcement::Read);
        stored.chain(receipts).chain(self.decrees).collect()
    }
}
