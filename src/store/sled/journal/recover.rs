//! What stands in the journal of a database that was not closed, entered into it again.

use std::fs;
use std::io;
use std::path::Path;

use sled::Db;
use tracing::info;

use super::frame::{self, ALIGN, Frame};
use super::{Base, FILES, Sizes, clear, folder};
use crate::store::sled::refusal::{OpenError, damaged, unusable};
use crate::store::sled::room::free_at;
use crate::store::sled::rows::Rows;
use crate::store::sled::segment;
use crate::store::sled::writer::Stop;

/// Longer than a file of it ever becomes: the largest commit and what it is entered behind.
const FILE_MAX: u64 = 256 << 20;

/// What must be free before anything is entered: half of what the writer leaves free, which
/// is many times what is ever unsettled.
const ROOM: u64 = 16 << 20;

/// Enters what the journal of the database in `database` has beyond what sled kept, brings it
/// to the disk, and takes the journal away. `dir` is what the operator knows it by.
///
/// # Errors
/// Something that stood in it is not whole, or the disk.
pub(in super::super) fn recover(dir: &Path, database: &Path, db: &Db) -> Result<(), OpenError> {
    let folder = folder(database);
    let failed = |error: io::Error| unusable(&folder, error);
    // What cannot be looked at is no journal that nobody needs.
    if !folder.try_exists().map_err(failed)? {
        return clear(database).map_err(failed);
    }
    let mut files = Vec::new();
    for name in FILES {
        let path = folder.join(name);
        match fs::metadata(&path).map(|file| file.len()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.push(Vec::new()),
            Ok(length) if length > FILE_MAX => {
                let what = format!("its journal has a file of {length} bytes");
                return Err(damaged(dir, what));
            }
            _ => files.push(fs::read(&path).map_err(failed)?),
        }
    }
    let frames = unsettled(&files).map_err(|what| damaged(dir, what))?;
    if !frames.is_empty() {
        if free_at(&folder).map_err(failed)? < ROOM {
            // sled does not survive to find none.
            return Err(unusable(dir, io::ErrorKind::StorageFull.into()));
        }
        let entered = enter(database, db, &frames);
        entered.map_err(|error| match error {
            Flaw::Rows(what) => damaged(dir, what),
            Flaw::Stop(Stop::Full(_)) => unusable(dir, io::ErrorKind::StorageFull.into()),
            Flaw::Stop(Stop::Final(what)) => unusable(database, io::Error::other(what)),
        })?;
        info!(commits = frames.len(), "what the journal had beyond the database was entered");
    }
    clear(database).map_err(failed)
}

enum Flaw {
    Rows(String),
    Stop(Stop),
}

impl<E: Into<Stop>> From<E> for Flaw {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

fn enter(database: &Path, db: &Db, frames: &[Frame<'_>]) -> Result<(), Flaw> {
    let most = Sizes::of(segment::bytes(database) as u64).most;
    let mut base = Base::of(database, db)?;
    let mut bytes = 0;
    for frame in frames {
        let rows = Rows::decode(frame.rows);
        let rows = rows.ok_or_else(|| {
            Flaw::Rows(format!("the rows of frame {} of its journal are not whole", frame.number))
        })?;
        rows.enter(db)?;
        bytes += frame.rows.len() as u64;
        if bytes >= most {
            base.settle()?;
            bytes = 0;
        }
    }
    Ok(base.settle()?)
}

/// The frames of the journal's files that are not settled, in their order.
///
/// The newest one says up to where the others are of no use any more: frames of an earlier
/// turn, over which it came to be written. Frames are written one after another, each when the
/// one before is on the disk, so that only one behind all of these can be torn, of which nobody
/// was told.
///
/// # Errors
/// Which of them is missing.
pub(super) fn unsettled(files: &[Vec<u8>]) -> Result<Vec<Frame<'_>>, String> {
    let mut frames: Vec<Frame<'_>> = files.iter().flat_map(|file| whole(file)).collect();
    frames.sort_unstable_by_key(|frame| frame.number);
    let settled = frames.last().map_or(0, |newest| newest.settled);
    frames.retain(|frame| frame.number > settled);
    for (frame, number) in frames.iter().zip(settled.saturating_add(1)..) {
        if frame.number != number {
            return Err(format!(
                "the frame {number} of its journal is not whole, and there are others behind it"
            ));
        }
    }
    Ok(frames)
}

/// The frames of a file that are whole, wherever they stand.
fn whole(file: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < file.len() {
            let found = frame::decode(file, at);
            at = found.map_or(at + ALIGN, |frame| frame.end);
            if found.is_some() {
                return found;
            }
        }
        None
    })
}
