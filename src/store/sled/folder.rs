//! The folder of a store: made when it is new, and taken for one process.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::refusal::{OpenError, in_use, unusable};
use super::{manifest, staging};

/// How long sled may take to close its file: it needs milliseconds.
const RELEASE: Duration = Duration::from_secs(2);

/// Where sled keeps its files inside the data directory.
pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join("sled")
}

/// Makes the directory, or sees that it is ours alone.
pub(super) fn prepare(dir: &Path) -> Result<(), OpenError> {
    if !dir.exists() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).map_err(|error| unusable(dir, error))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            manifest::sync_dir(parent).map_err(|error| unusable(parent, error))?;
        }
    }
    let metadata = fs::metadata(dir).map_err(|error| unusable(dir, error))?;
    if !metadata.is_dir() {
        return Err(unusable(dir, io::ErrorKind::NotADirectory.into()));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::TooOpen { path: dir.to_owned(), mode });
    }
    let (owner, us) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    // Root could, but nobody else could read the files that it would make.
    if owner != us {
        return Err(OpenError::Foreign { path: dir.to_owned(), owner, us });
    }
    Ok(())
}

/// Sees that there is a store in `dir`, or what was to become one, for those who want no new one.
///
/// # Errors
/// [`OpenError::NoStore`], and where it cannot be looked into.
pub fn must_exist(dir: &Path) -> Result<(), OpenError> {
    let is_there = |path: PathBuf| path.try_exists().map_err(|error| unusable(dir, error));
    let begun = is_there(manifest::path(dir))? || is_there(database(dir))?;
    match begun || staging::is_unfinished(dir) {
        true => Ok(()),
        false => Err(OpenError::NoStore { path: dir.to_owned() }),
    }
}

/// Takes the directory for this process: sled's own lock comes only after the first
/// steps, and a second process must not take any of them.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>, OpenError> {
    let file = File::open(dir).map_err(|error| unusable(dir, error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => in_use(dir),
        other => unusable(dir, other.into()),
    })
}

/// Waits until sled has let go of the file of a database, which it closes on threads of its
/// own some time after its last handle is gone.
pub(super) fn released(database: &Path) {
    let path = database.join("db");
    let until = Instant::now() + RELEASE;
    while Instant::now() < until {
        let Ok(file) = File::open(&path) else { return };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((_, Errno::EWOULDBLOCK)) => std::thread::sleep(Duration::from_millis(1)),
            _ => return,
        }
    }
}
