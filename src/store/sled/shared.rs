//! What the writer and the readers have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;
use tracing::error;

use super::census::Census;
use super::keys::Pair;
use super::log::Log;
use super::reader::Mark;
use super::recent::Recent;
use crate::ids::{MessageId, UserId};
use crate::store::{Cursor, Health, StoreError};

#[derive(Debug)]
pub(super) struct Shared {
    /// Gone while it is opened anew, and once the store is closed.
    log: Mutex<Option<Log>>,
    /// The highest id that is durable: nothing above it may be shown.
    watermark: AtomicU64,
    /// How many messages there are.
    messages: AtomicU64,
    /// Where the last of them lie: nothing that is not durable.
    recent: Mutex<Recent>,
    /// How often the tree was taken away.
    suspensions: AtomicU64,
    /// One more than that when a reader last met a write that had found no room; 0: never.
    met_full: AtomicU64,
    /// Begun and ended flushes together: odd while one is under way.
    flushes: AtomicU64,
    state: Mutex<State>,
    /// Held while a backup is made, and by whoever takes messages away.
    still: Arc<tokio::sync::Mutex<()>>,
}

/// How the store is; it only leaves [`State::Full`] for better.
#[derive(Debug)]
enum State {
    Ready,
    /// The disk is full: writing goes on once there is room.
    Full(String),
    /// Writing has stopped for good.
    Failed(String),
    Closed,
}

impl Shared {
    pub(super) fn new(log: Log, census: Census) -> Self {
        Self {
            log: Mutex::new(Some(log)),
            watermark: AtomicU64::new(census.last_id),
            messages: AtomicU64::new(census.kept()),
            recent: Mutex::default(),
            suspensions: AtomicU64::new(0),
            met_full: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            state: Mutex::new(State::Ready),
            still: Arc::default(),
        }
    }

    /// Waits until nothing is being taken away, and keeps it so while the guard lives.
    ///
    /// A backup holds it from its first row to its last; removal takes it for every piece
    /// of its work, so that a backup sees all of a piece or nothing. The writer never
    /// takes it: it waits for nobody.
    pub(super) async fn hold_still(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.still).lock_owned().await
    }

    /// The same, for a thread of its own.
    pub(super) fn hold_still_here(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.still).blocking_lock_owned()
    }

    /// How many messages there are, for people: it may be a commit behind.
    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(super) fn set_messages(&self, messages: u64) {
        self.messages.store(messages, Ordering::Relaxed);
    }

    /// How often the tree was taken away: a walk that saw it change walked in an old one.
    pub(super) fn suspensions(&self) -> u64 {
        self.suspensions.load(Ordering::Acquire)
    }

    /// A reader of the tree that was there after so many suspensions met a write that had
    /// found no room.
    pub(super) fn meet_full(&self, suspensions: u64) {
        self.met_full.fetch_max(suspensions + 1, Ordering::AcqRel);
    }

    /// Whether a reader of the present tree met a write that had found no room.
    pub(super) fn has_met_full(&self) -> bool {
        self.met_full.load(Ordering::Acquire) > self.suspensions()
    }

    /// Says that sled's flush is under way until the guard is dropped.
    pub(super) fn flushing(&self) -> Flushing<'_> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Flushing(&self.flushes)
    }

    /// How many flushes have begun and ended; odd while one is under way.
    pub(super) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    pub(super) fn head(&self) -> Cursor {
        Cursor(self.watermark.load(Ordering::Acquire))
    }

    /// Lets readers see up to `id`; says whether there was nothing before.
    pub(super) fn raise(&self, id: u64) -> bool {
        self.watermark.swap(id, Ordering::AcqRel) == 0
    }

    /// Remembers where the messages of a commit lie, from the id `first` on.
    pub(super) fn remember(&self, first: u64, places: impl Iterator<Item = (Pair, u64)>) {
        locked(&self.recent).add(first, places);
    }

    /// What `reader` marks with those of `ids` that are remembered; the others are left.
    pub(super) fn recent_marks(&self, reader: UserId, ids: &mut Vec<MessageId>) -> Vec<Mark> {
        locked(&self.recent).marks(reader, ids)
    }

    pub(super) fn health(&self) -> Health {
        match &*locked(&self.state) {
            State::Ready => Health::Ready,
            State::Full(why) | State::Failed(why) => Health::ReadOnly { why: why.clone() },
            State::Closed => Health::Closed,
        }
    }

    pub(super) fn fail(&self, why: String) {
        *locked(&self.state) = State::Failed(why);
    }

    /// Says that the disk is full, unless worse is known.
    pub(super) fn fill(&self, why: String) {
        let mut state = locked(&self.state);
        if matches!(*state, State::Ready) {
            *state = State::Full(why);
        }
    }

    /// Why writing has stopped for good, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        match &*locked(&self.state) {
            State::Failed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Says that there is room again, unless worse is known.
    pub(super) fn ready_again(&self) {
        let mut state = locked(&self.state);
        if matches!(*state, State::Full(_)) {
            *state = State::Ready;
        }
    }

    /// Takes the tree from the readers while it is opened anew.
    pub(super) fn suspend(&self) {
        self.suspensions.fetch_add(1, Ordering::AcqRel);
        *locked(&self.log) = None;
    }

    /// Gives the readers the tree that was opened anew, up to `last_id`.
    pub(super) fn resume(&self, log: Log, last_id: u64) {
        *locked(&self.log) = Some(log);
        self.raise(last_id);
        self.ready_again();
    }

    /// A reader met damage: nothing is written on top of it.
    pub(super) fn damaged(&self, what: String) {
        error!(what, "the store is damaged: stop, copy it away, restore a backup");
        self.fail(format!("damaged: {what}"));
    }

    /// A walk came to this.
    pub(super) fn met(&self, error: &StoreError) {
        if let StoreError::Damaged(what) = error {
            self.damaged(what.clone());
        }
    }

    pub(super) fn close(&self) {
        *locked(&self.state) = State::Closed;
        *locked(&self.log) = None;
    }

    pub(super) fn log(&self) -> Result<Log, StoreError> {
        locked(&self.log).clone().ok_or(StoreError::Unavailable)
    }
}

/// A flush is under way.
pub(super) struct Flushing<'a>(&'a AtomicU64);

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
