//! Why a data directory is not opened, in sentences for the operator.

use std::io;
use std::path::{Path, PathBuf};

use super::record::SCHEMA_VERSION;
use super::volume::VolumeError;
use crate::store::StoreError;

/// Why a data directory was not opened. Nothing in it was changed, but for what
/// [`OpenError::Damaged`] says.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("the data directory {path} cannot be used: {source}. {advice}")]
    Directory {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// There is nothing in it, and nothing is to be made.
    #[error("there is no store in {path} (store.path): has a server ever run with it?")]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// Others may read it.
    #[error(
        "the data directory {path} is open to other users of this machine (mode {mode:04o}); \
         close it with: chmod 700 {path}"
    )]
    TooOpen {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is somebody else's.
    #[error(
        "the data directory {path} belongs to user {owner}, and this runs as user {us}: either could \
         not read what the other writes there; run it as that user, or give the directory away \
         with: chown -R {us} {path}"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Another process has it open.
    #[error(
        "the data directory {path} is in use by another process; stop that one first, \
         or give this one a `store.path` of its own"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Written by another version.
    #[error(
        "the data in {path} has the layout version {found}, and this imserver knows {known}; \
         start the version that wrote it, or restore a backup that fits"
    )]
    Schema {
        /// The directory.
        path: PathBuf,
        /// What lies there.
        found: u64,
        /// What this version writes.
        known: u64,
    },
    /// It is to be looked at, and a newer layout is due first.
    #[error(
        "the data in {path} has the layout version {found}, which the next start of the server \
         makes new: start it once, or verify the data with the version that wrote it"
    )]
    Older {
        /// The directory.
        path: PathBuf,
        /// What lies there.
        found: u64,
    },
    /// What was to become a store is none yet.
    #[error(
        "a restore or an import into {path} was cut short; run it again, or remove \
         {path}/restoring and {path}/sled to begin with an empty store"
    )]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// Less is there than was acknowledged, or what is there does not fit together.
    #[error(
        "the data in {path} is damaged: {what}. {changed}. Copy the directory away, \
         then restore the newest backup (`imserver restore DIR`, or your copy of {path}) and \
         start again"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// What became of the directory.
        changed: &'static str,
    },
}

impl OpenError {
    /// Whether it is what `store.path` names that has to be mended, and not what lies there.
    pub fn is_about_the_path(&self) -> bool {
        match self {
            Self::TooOpen { .. } | Self::Foreign { .. } => true,
            Self::Directory { source, .. } => source.kind() == io::ErrorKind::NotADirectory,
            _ => false,
        }
    }
}

pub(super) fn in_use(dir: &Path) -> OpenError {
    OpenError::InUse { path: dir.to_owned() }
}

pub(super) fn unfinished(dir: &Path) -> OpenError {
    OpenError::Unfinished { path: dir.to_owned() }
}

pub(super) fn damaged(dir: &Path, what: String) -> OpenError {
    OpenError::Damaged { path: dir.to_owned(), what, changed: "Nothing was changed" }
}

/// What was met while the store was read.
pub(super) fn met(dir: &Path, error: impl Into<VolumeError>) -> OpenError {
    match error.into() {
        VolumeError::System { path, error } => unusable(&path, error),
        VolumeError::Store(StoreError::Damaged(what)) => damaged(dir, what),
        VolumeError::Store(other) => damaged(dir, other.to_string()),
    }
}

/// The same, once the database itself is open: it was whole, and names the volumes that there must be.
pub(super) fn found_late(mut error: OpenError) -> OpenError {
    if let OpenError::Damaged { changed, .. } = &mut error {
        *changed = "The database was opened before that was seen: its files may have changed, \
                    but not what they say";
    }
    error
}

pub(super) fn schema(dir: &Path, found: u64) -> OpenError {
    OpenError::Schema { path: dir.to_owned(), found, known: SCHEMA_VERSION }
}

pub(super) fn unusable(path: &Path, source: io::Error) -> OpenError {
    let advice = match source.kind() {
        _ if source.raw_os_error() == Some(nix::libc::EIO) => {
            "The disk fails: the system's log (`dmesg`) says how. Copy what can be read to another \
             one before anything else."
        }
        _ if is_out_of_descriptors(&source) => {
            "Every volume is a file that is held open, and the system permits too few: raise its \
             limit (LimitNOFILE, ulimit -n)."
        }
        io::ErrorKind::PermissionDenied => "It must belong to the user that runs imserver.",
        io::ErrorKind::ReadOnlyFilesystem => "The file system must be writable.",
        io::ErrorKind::StorageFull => "Make room on the disk.",
        io::ErrorKind::NotADirectory => "Name a directory in `store.path`.",
        _ => "See `store.path` in the configuration.",
    };
    OpenError::Directory { path: path.to_owned(), source, advice }
}

/// Whether the system gives no more files to this process, or to any, for now.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE))
}
