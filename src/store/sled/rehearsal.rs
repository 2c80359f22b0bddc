//! Opening a copy first, because sled mends what it opens.
//!
//! What sled takes for the torn end of its log it overwrites, and after damage in
//! the middle that is everything behind it: the very bytes from which somebody
//! could still have saved the messages. So the database is opened and counted in a
//! copy, which is thrown away, and the original only when the copy was whole. Where the
//! original cannot be opened again, the copy takes its place.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{manifest, seal};

/// A copy of the database, gone when it is dropped.
#[derive(Debug)]
pub(super) struct Rehearsal {
    path: PathBuf,
}

impl Rehearsal {
    /// Copies `database` to a place beside it; nothing when there is no room.
    ///
    /// File systems that share blocks do this at once, others in the time it takes to
    /// read the file, which the check behind it needs again.
    pub(super) fn of(database: &Path) -> io::Result<Option<Self>> {
        let rehearsal = Self::empty(database)?;
        match copy(database, &rehearsal.path) {
            Ok(()) => Ok(Some(rehearsal)),
            Err(error) if is_no_room(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same place, with nothing in it yet.
    pub(super) fn empty(database: &Path) -> io::Result<Self> {
        Self::clear(database)?;
        Ok(Self { path: beside(database) })
    }

    /// Removes what a check or a compaction that was cut short has left there.
    pub(super) fn clear(database: &Path) -> io::Result<()> {
        match fs::remove_dir_all(beside(database)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts the copy, brought to the disk, in the place of `database`, and removes that.
    ///
    /// Whoever has the old files open keeps them; at no moment is there none.
    pub(super) fn take_over(self, database: &Path) -> io::Result<()> {
        for path in seal::files(&self.path)? {
            File::open(path)?.sync_all()?;
        }
        manifest::sync_dir(&self.path)?;
        renameat2(AT_FDCWD, &self.path, AT_FDCWD, database, RenameFlags::RENAME_EXCHANGE)?;
        database.parent().map_or(Ok(()), manifest::sync_dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // What cannot be removed now is removed before the next check.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn beside(database: &Path) -> PathBuf {
    database.with_extension("check")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
