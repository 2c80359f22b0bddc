//! Writing the database anew without what is gone, since sled gives no space back.
//!
//! Beside the old one, which is not touched: the rows are copied in order, brought to the
//! disk, opened again and counted as at a start. Only then do the two change places, in one
//! step of the file system. A crash before it leaves the old one and a copy that the next
//! start throws away; a crash behind it leaves the new one.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use sled::{Batch, Tree};
use tracing::warn;

use super::census::{self, Census};
use super::folder;
use super::journal::Base;
use super::log::Log;
use super::manifest::{self, Manifest};
use super::open::{self, Opened};
use super::packer::{self, Desk, Hindrance};
use super::panics::guarded;
use super::record::SCHEMA_VERSION;
use super::refusal::{self, OpenError};
use super::rehearsal::Rehearsal;
use super::removal::Piece;
use super::rows::Rows;
use super::seal::{self, Seal};
use super::volume;
use crate::config;
use crate::store::{AppendError, StoreError};

/// Rows, or bytes of them, that are copied at once.
const ROWS: u64 = 2000;
const BYTES: usize = 1 << 20;

/// What became smaller, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the database before.
    pub before: u64,
    /// Bytes of it now.
    pub after: u64,
    /// Messages in it.
    pub messages: u64,
}

/// How far the copy has come, in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rows that were copied.
    pub done: u64,
    /// Rows that there are.
    pub of: u64,
}

/// Writes the database of a store that no server has open anew. Blocks, and tells how far
/// it is.
///
/// Needs room for a second database meanwhile.
///
/// # Errors
/// Says what is in the way; the store is then as it was.
pub fn compact(
    config: &config::Store,
    mut tell: impl FnMut(Progress),
) -> Result<Compacted, OpenError> {
    let (dir, cache_bytes) = (config.path.as_path(), config.cache_bytes / 2);
    folder::must_exist(dir)?;
    let database = folder::database(dir);
    let failed = |error: io::Error| refusal::unusable(&database, error);
    let (lock, opened) = open::open(dir, cache_bytes)?;
    let Opened { db, log, base, census, manifest } = opened;
    let folder = volume::folder(dir);
    let size = || Ok(seal::size(&database)? + seal::size_if_any(&folder)?);
    let before = size().map_err(failed)?;
    guarded(dir, || {
        let desk = Alone { log: &log, base: RefCell::new(base), last_id: census.last_id };
        packer::rewrite(&desk, true).map_err(|hindrance| match hindrance {
            Hindrance::Io(error) => failed(error),
            Hindrance::Store(error) => refusal::met(dir, error),
            Hindrance::Entry => failed(io::Error::other("a step could not be written")),
        })
    })?;
    let fresh = Rehearsal::empty(&database).map_err(failed)?;
    guarded(dir, || {
        let copy = open::open_sled(dir, fresh.path(), cache_bytes)?;
        copy_rows(&db, &copy, |_| true, &mut tell).map_err(|error| not_copied(&database, error))?;
        Ok(())
    })?;
    drop((db, log, manifest));
    folder::released(&database);
    folder::released(fresh.path());
    let counted = guarded(dir, || {
        let copy = open::open_sled(dir, fresh.path(), cache_bytes)?;
        let log = Log::load(dir, (*copy).clone()).map_err(|error| refusal::met(dir, error))?;
        census::take(&log).map_err(|what| refusal::damaged(dir, format!("in the copy, {what}")))
    })?;
    if counted != census {
        let what = format!("{census:?} was copied, but {counted:?} came out of it");
        return Err(refusal::damaged(dir, what));
    }
    folder::released(fresh.path());
    fresh.take_over(&database).map_err(failed)?;
    let after = size().map_err(failed)?;
    seal_up(dir, census);
    drop(lock);
    Ok(Compacted { before, after, messages: census.kept() })
}

/// Copies the rows whose keys are to be kept, in their order, in bounded batches.
pub(super) fn copy_rows(
    from: &Tree,
    to: &sled::Db,
    keep: impl Fn(&[u8]) -> bool,
    tell: &mut impl FnMut(Progress),
) -> Result<(), sled::Error> {
    let mut progress = Progress { done: 0, of: from.len() as u64 };
    let (mut batch, mut rows, mut bytes) = (Batch::default(), 0, 0);
    for row in from.iter() {
        let (key, value) = row?;
        if !keep(&key) {
            continue;
        }
        rows += 1;
        bytes += key.len() + value.len();
        batch.insert(key, value);
        if rows >= ROWS || bytes >= BYTES {
            to.apply_batch(std::mem::take(&mut batch))?;
            to.flush()?;
            progress.done += std::mem::take(&mut rows);
            bytes = 0;
            tell(progress);
            // As the writer does: sled's garbage is collected a little at every pin.
            for _ in 0..16 {
                crossbeam_epoch::pin().flush();
            }
        }
    }
    to.apply_batch(batch)?;
    to.flush()?;
    progress.done += rows;
    tell(progress);
    Ok(())
}

/// Says in the manifest that the new files are whole, so that the next start needs no other
/// check. Where that cannot be written it makes one.
fn seal_up(dir: &Path, census: Census) {
    let sealed = Seal::of(&folder::database(dir))
        .and_then(|seal| manifest::write(dir, &Manifest::new(SCHEMA_VERSION, census, Some(seal))));
    if let Err(error) = sealed {
        warn!(%error, "the new database has no seal: the next start checks all of it");
    }
}

/// A store that nobody else has open.
struct Alone<'a> {
    log: &'a Log,
    base: RefCell<Base>,
    last_id: u64,
}

impl Desk for Alone<'_> {
    fn log(&self) -> Result<Log, StoreError> {
        Ok(self.log.clone())
    }

    fn head(&self) -> u64 {
        self.last_id
    }

    fn enter(&self, piece: Piece) -> Result<(), AppendError> {
        let mut rows = Rows::default();
        rows.extend(piece.rows);
        // One step, as a commit of the writer is.
        rows.show_at_once();
        rows.enter(self.log).map_err(|_| AppendError::Unavailable)?;
        // Durable before a file that a row named is removed.
        self.base.borrow_mut().settle().map_err(|_| AppendError::Unavailable)
    }
}

fn not_copied(database: &Path, error: sled::Error) -> OpenError {
    match error {
        sled::Error::Io(error) => refusal::unusable(database, error),
        other => refusal::unusable(database, io::Error::other(other.to_string())),
    }
}
