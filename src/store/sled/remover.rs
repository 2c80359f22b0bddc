//! The one thread that moves messages and takes them away: from the log into volumes, what has
//! its age, and users who are erased.
//!
//! It looks for what is to go, a piece at a time, and has the writer enter it into a commit
//! beside what others write; then it rests for as long as that took, so that it takes at
//! most half of the disk's time. Wherever it is cut short, what it has taken is wholly gone
//! and the rest wholly there: of an erasure there is a row, and age only grows.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::gone::Erasure;
use super::log::Log;
use super::packer::{self, Desk, Hindrance};
use super::panics::caught;
use super::removal::{self, Piece, Stage};
use super::room::{MARGIN, free_at};
use super::shared::Shared;
use super::writer::Request;
use crate::ids::UserId;
use crate::message::StoredAt;
use crate::store::{AppendError, Erased, Health, StoreError};

/// How long after the start, at the most, what has its age is looked for first.
const FIRST: Duration = Duration::from_secs(10);

/// How often, at the least: what has its age may stay so much longer.
const EVERY: Duration = Duration::from_secs(3600);

/// How often it is looked whether the log has grown long enough for a volume.
const PACK_EVERY: Duration = Duration::from_secs(1);

/// When an erasure is tried again for which nothing could be written.
const AGAIN: Duration = Duration::from_secs(10);

/// The part of its age by which a message may outstay it, where ages are short.
const OUTSTAY: u32 = 16;

/// A user to be erased, and who waits for it.
pub(super) type Order = (UserId, oneshot::Sender<Result<Erased, AppendError>>);

/// Orders that wait for the thread.
pub(super) const ORDERS: usize = 16;

/// The remover, until it is given its thread.
#[derive(Debug)]
pub(super) struct Remover {
    pub(super) shared: Arc<Shared>,
    pub(super) line: mpsc::Sender<Request>,
    pub(super) orders: mpsc::Receiver<Order>,
    /// How long a message is kept that was read.
    pub(super) retention: Option<Duration>,
    /// Erasures that were cut short.
    pub(super) unfinished: Vec<(UserId, Erasure)>,
    /// Messages of a volume.
    pub(super) volume: u64,
}

impl Remover {
    /// Works until nobody can order any more. Where nothing can be written it says so to
    /// those who order, and tries again later.
    pub(super) fn run(mut self) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return error!(%error, "no runtime for removing messages"),
        };
        let every = self.retention.map(|age| (age / OUTSTAY).min(EVERY));
        let mut next = every.map(|every| Instant::now() + every.min(FIRST));
        // What a crash left of moving messages, or of erasing somebody's.
        if let Err(hindrance) = caught(|| packer::clear(&self)) {
            self.hindered(hindrance);
        }
        self.rewrite(true);
        let mut again = Instant::now();
        loop {
            if again <= Instant::now() {
                self.go_on();
                again = Instant::now() + AGAIN;
            }
            self.pack();
            let pack = Instant::now() + PACK_EVERY;
            let at = next.into_iter().chain([pack]).min().unwrap_or(pack);
            let order = runtime.block_on(async {
                tokio::time::timeout_at(at.into(), self.orders.recv()).await.ok()
            });
            match order {
                Some(Some(order)) => {
                    self.fill(order);
                    self.rewrite(true);
                }
                // Everybody who could order is gone.
                Some(None) => return,
                None if next.is_some_and(|next| next <= Instant::now()) => {
                    // What is left over has its age the next time too.
                    let _ = self.sweep();
                    self.rewrite(false);
                    next = every.map(|every| Instant::now() + every);
                }
                None => {}
            }
        }
    }

    /// Goes on with erasures that were cut short.
    fn go_on(&mut self) {
        if self.unfinished.is_empty() {
            return;
        }
        let unfinished = std::mem::take(&mut self.unfinished);
        self.unfinished = unfinished
            .into_iter()
            .filter(|&(user, erasure)| self.erase(user, erasure).is_err())
            .collect();
        self.rewrite(true);
    }

    /// Erases a user and tells who ordered it.
    fn fill(&mut self, (user, reply): Order) {
        let erasure = Erasure { up_to: self.shared.head().get() };
        let mut erased = self.enter(Piece::begin(user, erasure)).map(|()| Erased::default());
        if erased.is_ok() {
            erased = self.erase(user, erasure);
            if erased.is_err() {
                self.unfinished.push((user, erasure));
            }
        }
        // Who does not wait any more has it all the same.
        let _ = reply.send(erased);
    }

    fn erase(&self, user: UserId, erasure: Erasure) -> Result<Erased, AppendError> {
        let (mut stage, mut erased) = (Stage::Begin, Erased::default());
        while stage != Stage::End {
            let piece = self.plan(|log| removal::of_user(log, user, erasure, &mut stage))?;
            erased.messages += piece.messages();
            self.enter(piece)?;
        }
        self.enter(Piece::end(user))?;
        info!(%user, messages = erased.messages, "a user was erased");
        Ok(erased)
    }

    /// Takes away what has its age.
    fn sweep(&mut self) -> Result<(), AppendError> {
        let Some(retention) = self.retention else { return Ok(()) };
        let age = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let older_than = StoredAt(StoredAt::now().0.saturating_sub(age));
        let (mut from, mut messages) = (Some(0), 0);
        while let Some(first) = from
            && !self.orders.is_closed()
        {
            let head = self.shared.head();
            let (piece, next) = self.plan(|log| removal::of_age(log, first, older_than, head))?;
            let began = Instant::now();
            messages += piece.messages();
            self.enter(piece)?;
            from = next;
            self.pack();
            while let Ok(order) = self.orders.try_recv() {
                self.fill(order);
            }
            thread::sleep(began.elapsed());
        }
        if messages > 0 {
            info!(messages, "messages have reached their age");
        }
        Ok(())
    }

    /// Moves messages from the log into volumes while it is long enough for one.
    fn pack(&self) {
        while self.is_roomy() {
            match caught(|| packer::pack(self, self.volume)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(hindrance) => return self.hindered(hindrance),
            }
        }
    }

    /// Writes volumes anew of which much is gone, or anything after somebody was erased.
    fn rewrite(&self, wholly: bool) {
        if self.is_roomy()
            && let Err(hindrance) = caught(|| packer::rewrite(self, wholly))
        {
            self.hindered(hindrance);
        }
    }

    /// Whether there is room for a volume beside what the writer leaves free, and a writer to
    /// enter it. One that failed may have made the row of the last volume durable, and says that
    /// it has not: the next start finds it, and the file must not be written over meanwhile.
    fn is_roomy(&self) -> bool {
        self.shared.health() == Health::Ready
            && self.shared.log().is_ok_and(|log| {
                let folder = log.shelf.folder();
                folder.parent().is_some_and(|dir| free_at(dir).is_ok_and(|free| free >= 4 * MARGIN))
            })
    }

    /// What could not be moved stays where it is and is tried again.
    fn hindered(&self, hindrance: Hindrance) {
        match hindrance {
            Hindrance::Store(StoreError::Damaged(what)) => self.shared.damaged(what),
            Hindrance::Io(error) => warn!(%error, "a volume could not be written"),
            Hindrance::Store(_) | Hindrance::Entry => {}
        }
    }

    /// Reads what is to go.
    fn plan<T>(&self, work: impl FnOnce(&Log) -> Result<T, StoreError>) -> Result<T, AppendError> {
        let log = self.shared.log().map_err(|_| AppendError::Unavailable)?;
        caught(|| work(&log)).map_err(|error| {
            self.shared.met(&error);
            AppendError::Unavailable
        })
    }

    /// Has a piece entered and waits until it is durable.
    fn enter(&self, piece: Piece) -> Result<(), AppendError> {
        if piece.is_empty() {
            return Ok(());
        }
        // No backup under way sees half of it.
        let _still = self.shared.hold_still_here();
        let (reply, outcome) = oneshot::channel();
        let request = Request::Remove(piece, reply);
        self.line.blocking_send(request).map_err(|_| AppendError::Unavailable)?;
        outcome.blocking_recv().unwrap_or(Err(AppendError::Unavailable))
    }
}

impl Desk for Remover {
    fn log(&self) -> Result<Log, StoreError> {
        self.shared.log()
    }

    fn head(&self) -> u64 {
        self.shared.head().get()
    }

    fn enter(&self, piece: Piece) -> Result<(), AppendError> {
        Remover::enter(self, piece)
    }
}
