//! One group commit: from what was asked to one atomic batch and the answers to give.

mod decrees;
mod marks;
mod outcome;
mod removal;

use std::sync::Arc;
use std::time::Instant;

// Seeded, since it is the client that chooses what goes into the tables.
use foldhash::{HashMap, HashMapExt};
use sled::IVec;
use tokio::sync::oneshot;

use self::outcome::{Answer, Outcome};
use super::books::{Books, Newest};
use super::keys::{self, Pair};
use super::names::{BLOCK, Collector};
use super::read_state::ReadState;
use super::reader;
use super::record::{self, CommitEntry, CommitRecord, LogPiece, ResendMark};
use super::rows::Rows;
use super::volume::Held;
use crate::ids::{MessageId, Sender, UserId};
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
        self.write_read_states();
        self.write_decrees();
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
