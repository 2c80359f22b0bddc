//! The journal: what a commit holds, on the disk before sled has it.
//!
//! sled brings a commit to the disk in several writes into a file that grows, on threads of its
//! own, each of which it wakes. Here it is one write into room that is there, and one sync by
//! the writer itself. sled gets the same rows behind that, and a thread brings what it has of
//! them to the disk meanwhile ([`settler`]): they are *settled*. What is not settled is entered
//! again from the journal when the database is opened ([`recover()`]), which makes no difference
//! to what is there already.
//!
//! The journal is two files that are written by turns, each over what is settled of it. So
//! that sled writes over no part of its own file before what took its place there is on the
//! disk, no more is ever unsettled than an eighth of a segment of its log: it uses a segment
//! again only when another one has been filled since.
//!
//! A store that was closed has no journal, and one to which nobody wrote has none either.

mod frame;
mod recover;
mod settler;
mod slot;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use self::recover::recover;
pub(super) use self::settler::Base;
use self::settler::Settler;
use self::slot::Slot;
use super::manifest::sync_dir;
use super::rows::Rows;
use super::segment;
use super::shared::Shared;
use super::writer::Stop;

/// The journal's files.
const FILES: [&str; 2] = ["a", "b"];

/// Where the journal of a database lies.
fn folder(database: &Path) -> PathBuf {
    database.join("journal")
}

/// How far something has come in the journal since the database was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Point {
    /// The number of a frame.
    number: u64,
    /// All bytes up to its end, of both files.
    bytes: u64,
}

/// How much goes where, in bytes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// What a file holds at the least before the other one is written.
    file: u64,
    /// What is settled at once, at the least.
    step: u64,
    /// What may be unsettled before anything more is written.
    most: u64,
}

impl Sizes {
    fn of(segment: u64) -> Self {
        let most = segment / 8;
        Self { file: 8 * most, step: most / 4, most }
    }
}

#[derive(Debug)]
pub(super) struct Journal {
    database: PathBuf,
    sizes: Sizes,
    shared: Arc<Shared>,
    /// What it needs until it is begun.
    base: Option<Base>,
    open: Option<Open>,
}

/// A journal in which something stands.
#[derive(Debug)]
struct Open {
    here: Slot,
    there: Slot,
    last: Point,
    /// What the last frame calls settled.
    named: u64,
    settler: Settler,
}

impl Journal {
    /// A journal of the database in this folder, where there is none.
    pub(super) fn new(database: PathBuf, base: Base, shared: Arc<Shared>) -> Self {
        let sizes = Sizes::of(segment::bytes(&database) as u64);
        Self { database, sizes, shared, base: Some(base), open: None }
    }

    /// Brings the rows of a commit to the disk. Waits where too much is not settled.
    ///
    /// # Errors
    /// Those of the disk, also of what was to be settled before.
    pub(super) fn append(&mut self, rows: &Rows) -> Result<(), Stop> {
        let sizes = self.sizes;
        let open = self.begun()?;
        let settled = loop {
            let settled = open.settler.settled()?;
            if open.last.bytes.saturating_sub(settled.bytes) <= sizes.most {
                break settled.number;
            }
            open.settler.ask(open.last, 1)?;
            open.settler.wait()?;
        };
        // Not before a frame says that nothing of the other file is needed any more: the first
        // one that is written there may be torn.
        if open.here.at >= sizes.file && open.named >= open.there.last {
            std::mem::swap(&mut open.here, &mut open.there);
            open.here.at = 0;
        }
        let number = open.last.number + 1;
        let frame = frame::encode(number, settled, open.here.at, &rows.encode());
        open.here.write(number, &frame)?;
        open.named = settled;
        open.last = Point { number, bytes: open.last.bytes + frame.len() as u64 };
        Ok(())
    }

    /// Has settled what sled was given, once that is worth the while.
    ///
    /// # Errors
    /// Nothing is settled any more.
    pub(super) fn entered(&mut self) -> Result<(), Stop> {
        let step = self.sizes.step;
        self.open.as_mut().map_or(Ok(()), |open| open.settler.ask(open.last, step))
    }

    /// Has settled everything, and takes the journal away.
    ///
    /// # Errors
    /// Those of the disk; what is not settled then still stands in the journal.
    pub(super) fn close(mut self) -> Result<(), Stop> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        while open.settler.settled()?.number < open.last.number {
            open.settler.ask(open.last, 1)?;
            open.settler.wait()?;
        }
        open.settler.end();
        Ok(clear(&self.database)?)
    }

    fn begun(&mut self) -> Result<&mut Open, Stop> {
        if let Some(base) = self.base.take() {
            let folder = folder(&self.database);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error.into());
                }
                _ => {}
            }
            let [here, there] = FILES.map(|file| Slot::create(&folder.join(file)));
            sync_dir(&folder)?;
            sync_dir(&self.database)?;
            self.open = Some(Open {
                here: here?,
                there: there?,
                last: Point::default(),
                named: 0,
                settler: Settler::begin(base, Arc::clone(&self.shared))?,
            });
        }
        self.open.as_mut().ok_or_else(|| Stop::Final("the journal was not begun".to_owned()))
    }
}

/// Removes the journal of the database in this folder, of which nothing is needed.
///
/// Both files go in one step: of one alone the next start would not know that all of it is
/// settled, and enter again what later commits have changed since.
fn clear(database: &Path) -> io::Result<()> {
    let settled = database.join("journal.settled");
    // What a stop in between has left.
    remove(&settled)?;
    match fs::rename(folder(database), &settled) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    sync_dir(database)?;
    remove(&settled)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
