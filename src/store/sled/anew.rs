//! Going on after a write that found no room, in the same process.
//!
//! It takes a quota, or somebody who fills the disk between two looks at it. sled writes
//! nothing any more then, may hang while it reads and hangs when it is closed, so the old
//! database is left as it is and never dropped. As soon as there is room its files are
//! copied, the copy is checked as at a start, and takes the place of the old ones. What was
//! never acknowledged but turns out to be there is announced like any other message.

use std::mem::forget;
use std::sync::Arc;

use sled::Tree;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::books::Books;
use super::folder;
use super::log::Log;
use super::open::{self, Opened};
use super::panics::caught;
use super::reader;
use super::refusal::{OpenError, is_out_of_descriptors};
use super::room::{LOOK_EVERY, MARGIN, free, is_full};
use super::seal;
use super::writer::{Idle, Request, Stop, Writer, quiet_runtime};
use crate::ids::MessageId;
use crate::store::{Announcement, Entry, StoreError, Stored};

impl Writer {
    /// Waits until the database can be opened anew, answering meanwhile that nothing is
    /// stored; gives the writer of the new one, or what is left and why it must end.
    pub(super) fn begin_anew(self, why: &str) -> Result<Self, Box<(Idle, String)>> {
        self.announce_full(why);
        let before = self.shared.head().get();
        let mut idle = self.abandon();
        idle.shared.suspend();
        let runtime = match quiet_runtime() {
            Ok(runtime) => runtime,
            Err(Stop::Full(why) | Stop::Final(why)) => return Err(Box::new((idle, why))),
        };
        loop {
            let (opened, books) = match idle.open_anew() {
                Ok(Some(opened)) => opened,
                Ok(None) => match idle.refuse_for_a_while(&runtime) {
                    Ok(()) => continue,
                    Err(why) => return Err(Box::new((idle, why))),
                },
                Err(why) => return Err(Box::new((idle, why))),
            };
            let mut writer = idle.write(opened, books);
            match writer.resume(before) {
                Ok(()) => return Ok(writer),
                Err(Stop::Full(_)) => {
                    idle = writer.abandon();
                    idle.shared.suspend();
                }
                Err(Stop::Final(why)) => return Err(Box::new((writer.abandon(), why))),
            }
        }
    }

    /// Leaves the database as it is: dropping it may hang. Not so what else the log holds: a
    /// descriptor for every volume, which are all opened again.
    pub(super) fn abandon(self) -> Idle {
        forget(Tree::clone(&self.books.log));
        let (idle, db) = self.let_go();
        forget(db);
        idle
    }

    /// Goes on where the store had come to, and tells of what turns out to be there beyond
    /// the message `before`.
    fn resume(&mut self, before: u64) -> Result<(), Stop> {
        let (log, census) = (self.books.log.clone(), self.census);
        let found = caught(|| recovered(&log, before, census.last_id));
        let found = found.map_err(|error| Stop::Final(error.to_string()))?;
        self.renew_manifest()?;
        self.shared.resume(log, census.last_id);
        let messages = census.kept();
        info!(messages, found = found.len(), "the store was checked and goes on");
        if !found.is_empty() {
            // Nobody listens any more only while the server stops.
            let _ = self.tail.blocking_send(found);
        }
        Ok(())
    }
}

impl Idle {
    /// Refuses what comes in until it is time to look for room.
    ///
    /// # Errors
    /// Why there is nothing to wait for any more.
    fn refuse_for_a_while(&mut self, runtime: &Runtime) -> Result<(), String> {
        let until = Instant::now() + LOOK_EVERY;
        loop {
            if let Some(why) = self.shared.failure() {
                return Err(why);
            }
            match runtime.block_on(async { timeout_at(until, self.requests.recv()).await }) {
                Err(_) => return Ok(()),
                Ok(Some(request)) => {
                    let closes = matches!(request, Request::Close(_));
                    request.refuse();
                    if closes {
                        return Err("it was stopped while the disk was full".to_owned());
                    }
                }
                Ok(None) => return Err("nobody is left to write for".to_owned()),
            }
        }
    }

    /// Puts a checked copy in the place of the database and opens it; gives nothing where
    /// there is no room for that yet.
    ///
    /// # Errors
    /// Why it cannot be opened in this process.
    fn open_anew(&self) -> Result<Option<(Opened, Books)>, String> {
        let size = seal::size(&folder::database(&self.dir)).map_err(|error| error.to_string())?;
        let enough = MARGIN.saturating_add(size);
        let free = || free(&self.lock).map_err(|error| error.to_string());
        if free()? < enough {
            return Ok(None);
        }
        match open::anew(&self.dir, self.settings.cache_bytes) {
            Ok(opened) => {
                let log = opened.log.clone();
                let books = caught(|| self.settings.books(log, opened.census.last_id));
                Ok(Some((opened, books.map_err(|error| error.to_string())?)))
            }
            Err(OpenError::Directory { source, .. })
                if is_full(&source) || is_out_of_descriptors(&source) =>
            {
                Ok(None)
            }
            // A check that ran out of room proves nothing.
            Err(error @ OpenError::Damaged { .. }) if free()? < MARGIN => {
                warn!(%error, "the disk is full again");
                Ok(None)
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The messages behind `before`, for whoever is connected.
fn recovered(log: &Log, before: u64, last_id: u64) -> Result<Vec<Announcement>, StoreError> {
    let mut found = Vec::new();
    for id in (before + 1..=last_id).filter_map(MessageId::new) {
        let Some(record) = reader::message(log, id)? else {
            continue;
        };
        let sender = reader::profile(log, record.message.from)?;
        let entry = Entry { message: record.message, sender, client_id: record.client_id };
        let stored = Stored { entry: Arc::new(entry), previous: None, origin: None };
        found.push(Announcement::Stored(stored));
    }
    Ok(found)
}
