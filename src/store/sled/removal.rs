//! What goes in one step: small enough that nobody's commit waits for it, and whole
//! wherever it is cut short.
//!
//! Planned here by reading alone, on a thread that may wait for the disk; the writer enters
//! it into a commit like anything else. One plan is made at a time, and what it read of
//! commits and of what is gone changes by plans alone: it still holds when it is entered.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::gone::{Erasure, Gone};
use super::keys::{self, Pair};
use super::log::Log;
use super::names;
use super::reader;
use super::record::{CommitRecord, LogPiece};
use super::volume::VolumeRow;
use crate::ids::{MessageId, Sender, UserId};
use crate::message::StoredAt;
use crate::store::{Cursor, StoreError};

/// Messages that go in one step.
const PIECE: u64 = 256;

/// Peers whom an erased user parts from in one step.
const PEERS: usize = 256;

/// Entries of commits that are written again in one step: some 100 KiB.
const REWRITTEN: usize = 4096;

/// Commits that are looked at before there is a step, be there something to take or not.
const LOOKED_AT: usize = 1024;

/// One step, to be entered into a commit.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Up to where pairs are gone with it.
    pub(super) pairs: Vec<Parting>,
    /// Who has no conversation any more, unless they began a new one meanwhile.
    pub(super) parted: Vec<(UserId, Sender)>,
    /// Whose profile is to be forgotten.
    pub(super) forgotten: Option<UserId>,
    /// Rows to write, and to remove.
    pub(super) rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Messages that leave the log with it.
    pub(super) taken: Vec<(Pair, u64)>,
}

/// What a step takes of one pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parting {
    pub(super) pair: Pair,
    /// The last message that is gone with it.
    pub(super) gone: Gone,
    /// How many go.
    pub(super) messages: u64,
    /// Whether some of them may be unread.
    pub(super) unread: bool,
}

impl Piece {
    /// How many messages go.
    pub(super) fn messages(&self) -> u64 {
        self.pairs.iter().map(|parting| parting.messages).sum()
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.parted.is_empty()
    }

    /// Writes down that a user is being erased, so that it is gone on with after a crash.
    pub(super) fn begin(user: UserId, erasure: Erasure) -> Self {
        let key = keys::erasure(user);
        let value = erasure.encode(&key);
        Self { rows: vec![(key, Some(value))], ..Self::default() }
    }

    /// Ends the erasure of a user with what is known of them.
    pub(super) fn end(user: UserId) -> Self {
        let rows = vec![(keys::profile(user), None), (keys::erasure(user), None)];
        Self { forgotten: Some(user), rows, ..Self::default() }
    }
}

/// A step while it is planned.
struct Plan<'a> {
    log: &'a Log,
    pairs: HashMap<Pair, Known>,
    /// Commits in the log of which something goes.
    commits: BTreeMap<u64, CommitRecord>,
    /// How many messages go of each volume.
    dead: BTreeMap<u64, u64>,
    /// Up to where messages lie in volumes. Only between two plans it changes.
    packed_up_to: u64,
    piece: Piece,
    messages: u64,
}

/// What is known of a pair that was met.
#[derive(Clone, Copy)]
struct Known {
    before: Gone,
    gone: Gone,
    /// Up to here it was read.
    floor: u64,
}

impl<'a> Plan<'a> {
    fn new(log: &'a Log) -> Self {
        let (pairs, commits, dead) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        let packed_up_to = log.shelf.packed_up_to();
        Self { log, pairs, commits, dead, packed_up_to, piece: Piece::default(), messages: 0 }
    }

    fn is_full(&self) -> bool {
        let rewritten: usize = self.commits.values().map(|commit| commit.entries.len()).sum();
        self.messages >= PIECE || rewritten >= REWRITTEN
    }

    fn pair(&mut self, pair: Pair) -> Result<&mut Known, StoreError> {
        match self.pairs.entry(pair) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(room) => {
                let gone = reader::gone(self.log, pair)?;
                let floor = reader::floor(self.log, pair)?.ordinal;
                Ok(room.insert(Known { before: gone, gone, floor }))
            }
        }
    }

    /// Takes the message that follows what is gone of its pair.
    fn take(&mut self, pair: Pair, gone: Gone) -> Result<(), StoreError> {
        self.pair(pair)?.gone = gone;
        match gone.id <= self.packed_up_to {
            // It stays in its volume until that is written anew, and nobody sees it there.
            true => {
                let volume = self.log.shelf.holding(gone.id).ok_or_else(|| unnamed(gone.id))?;
                *self.dead.entry(volume.row.first).or_default() += 1;
            }
            false => self.piece.taken.push((pair, gone.id)),
        }
        if let Some(stretch) = names::full_with(gone.ordinal) {
            self.piece.rows.push((keys::names(pair, stretch), None));
        }
        self.messages += 1;
        Ok(())
    }

    /// Takes the place of a message in its commit.
    fn take_place(&mut self, id: u64) -> Result<(), StoreError> {
        if id <= self.packed_up_to {
            return Ok(());
        }
        let known = self.commits.range_mut(..=id).next_back();
        if let Some(place) = known.and_then(|(_, commit)| commit.place_mut(id)) {
            *place = None;
            return Ok(());
        }
        let commit = MessageId::new(id).map(|id| reader::commit(self.log, id)).transpose()?;
        let Some(mut commit) = commit.flatten() else { return Err(unnamed(id)) };
        *commit.place_mut(id).ok_or_else(|| unnamed(id))? = None;
        self.commits.insert(commit.first.get(), commit);
        Ok(())
    }

    fn finish(mut self) -> Result<Piece, StoreError> {
        for (first, commit) in self.commits {
            let key = keys::commit(first);
            let is_left = commit.entries.iter().any(Option::is_some);
            let value = is_left.then(|| without(self.log, &key, commit)).transpose()?;
            self.piece.rows.push((key, value));
        }
        for (first, dead) in self.dead {
            let key = keys::volume(first);
            let value = self.log.get(&key).map_err(reader::unreadable)?;
            let row = value.and_then(|value| VolumeRow::decode(&key, &value));
            let mut row = row.ok_or_else(|| reader::not_whole("volume", &key))?;
            row.dead += dead;
            self.piece.rows.push((key, Some(row.encode())));
        }
        for (pair, Known { before, gone, floor }) in self.pairs {
            let messages = gone.ordinal.saturating_sub(before.ordinal);
            if messages > 0 {
                let unread = gone.ordinal > floor;
                self.piece.pairs.push(Parting { pair, gone, messages, unread });
            }
        }
        Ok(self.piece)
    }
}

/// A piece of the log without the messages that `commit` does not name any more.
fn without(log: &Log, key: &[u8], commit: CommitRecord) -> Result<Vec<u8>, StoreError> {
    let value = log.get(key).map_err(reader::unreadable)?;
    let piece = value.and_then(|value| LogPiece::decode(key, &value));
    let piece = piece.ok_or_else(|| reader::not_whole("commit", key))?;
    let left = piece
        .messages()
        .filter(|(_, id, _)| MessageId::new(*id).is_some_and(|id| commit.entry(id).is_some()));
    let values = left.map(|(_, _, value)| value.clone()).collect();
    Ok(LogPiece { commit, values }.encode(key))
}

fn unnamed(id: u64) -> StoreError {
    StoreError::Damaged(format!("no commit names the message {id}"))
}

/// Plans the next step of what `retention` takes: messages that were read and are older,
/// as far as all before them in their pair are.
///
/// Goes through the commits, oldest first, from `from` on, so that each is written again
/// at most once, and mostly is removed. Gives where to go on; nothing at the end.
pub(super) fn of_age(
    log: &Log,
    from: u64,
    older_than: StoredAt,
    head: Cursor,
) -> Result<(Piece, Option<u64>), StoreError> {
    let now = StoredAt::now();
    let mut plan = Plan::new(log);
    let mut next = None;
    for (count, commit) in reader::commits(log, from).enumerate() {
        let mut commit = commit?;
        if plan.is_full() || count == LOOKED_AT {
            next = Some(commit.first.get());
            break;
        }
        if commit.stored_at > now {
            // Written while the clock was ahead: the next ones may be old.
            continue;
        }
        if commit.stored_at >= older_than || commit.last() > head.get() {
            break;
        }
        let first = commit.first.get();
        let mut is_touched = false;
        for (place, id) in commit.entries.iter_mut().zip(first..) {
            let Some(entry) = place else { continue };
            let known = plan.pair(entry.pair)?;
            if entry.ordinal == known.gone.ordinal + 1 && entry.ordinal <= known.floor {
                plan.take(entry.pair, Gone { ordinal: entry.ordinal, id })?;
                *place = None;
                is_touched = true;
            }
        }
        if is_touched && first > plan.packed_up_to {
            plan.commits.insert(first, commit);
        }
    }
    Ok((plan.finish()?, next))
}

/// How far the erasure of a user has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Begin,
    /// All up to this peer is done.
    Behind(Sender),
    End,
}

/// Plans the next step of erasing a user: what they wrote and what was written to them up
/// to the end of `erasure`, peer by peer from `stage` on, which it moves on.
pub(super) fn of_user(
    log: &Log,
    user: UserId,
    erasure: Erasure,
    stage: &mut Stage,
) -> Result<Piece, StoreError> {
    let mut plan = Plan::new(log);
    for peer in reader::peers(log, user) {
        let peer = peer?;
        if matches!(*stage, Stage::Behind(done) if peer <= done) {
            continue;
        }
        for pair in reader::pairs(user, peer) {
            let gone = plan.pair(pair)?.gone;
            for row in reader::Rows::of(log, pair, gone.id.saturating_add(1)..=erasure.up_to) {
                if plan.is_full() {
                    return plan.finish();
                }
                let row = row?;
                plan.take(pair, Gone { ordinal: row.ordinal, id: row.id.get() })?;
                plan.take_place(row.id.get())?;
            }
        }
        plan.piece.parted.push((user, peer));
        *stage = Stage::Behind(peer);
        if plan.piece.parted.len() >= PEERS {
            return plan.finish();
        }
    }
    *stage = Stage::End;
    plan.finish()
}
