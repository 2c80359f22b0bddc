//! Forgetting what the system remembers of the files, so that what is read is what is on
//! the disk.
//!
//! After a failed sync the kernel keeps the pages that it could not write and calls them
//! clean: whoever reads them again, in this process or in the next, sees messages that a
//! power cut would take away. So nothing that was not closed cleanly is believed before
//! these pages are gone.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::seal;

/// Brings what is still on its way to the disk, then drops every page of the files below
/// `database`.
///
/// # Errors
/// Those of the disk: then nothing that is read here can be believed.
pub(super) fn forget(database: &Path) -> io::Result<()> {
    for path in seal::files(database)? {
        let file = File::open(&path)?;
        // Pages that are to be written yet cannot be dropped.
        file.sync_all()?;
        match posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
            // A file system without a cache has nothing to drop.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
