//! Opening a data directory: made when it is new, refused when it is not as it was left.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use sled::Db;

use super::census::{self, Census};
use super::keys;
use super::manifest::{self, Manifest};
use super::record::{self, SCHEMA_VERSION};

/// Why a data directory was not opened. Nothing in it was changed.
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
    /// Less is there than was acknowledged, or what is there does not fit together.
    #[error(
        "the data in {path} is damaged: {what}. Nothing was changed. Copy the directory away, \
         then restore the newest backup (`imserver restore DIR`, or your copy of {path}) and \
         start again"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
}

/// An open database and what was counted in it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) db: Db,
    /// sled's own file, to be synced by us: its `flush` stops at `sync_file_range`.
    pub(super) file: File,
    pub(super) census: Census,
}

/// Where sled keeps its files inside the data directory.
fn database(dir: &Path) -> PathBuf {
    dir.join("sled")
}

/// Opens the store in `dir`, making it when there is none.
pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Opened, OpenError> {
    prepare(dir)?;
    let manifest = manifest::read(dir).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            damaged(dir, format!("manifest.json is not whole: {error}"))
        }
        _ => unusable(&manifest::path(dir), error),
    })?;
    let manifest = match manifest {
        Some(manifest) => manifest,
        None if database(dir).exists() => {
            return Err(damaged(
                dir,
                "manifest.json is missing beside the database".to_owned(),
            ));
        }
        // First of all the manifest: from now on a database that vanishes is noticed.
        None => begin(dir)?,
    };
    if manifest.schema != SCHEMA_VERSION {
        return Err(schema(dir, manifest.schema));
    }
    let db = open_sled(dir, cache_bytes)?;
    let census = guarded(dir, || believe(dir, &db, &manifest))?;
    let path = database(dir).join("db");
    let file = File::options()
        .write(true)
        .open(&path)
        .map_err(|e| unusable(&path, e))?;
    // What sled replayed from its log may still be on its way to the disk.
    file.sync_all().map_err(|error| unusable(&path, error))?;
    for dir in [dir, &database(dir)] {
        manifest::sync_dir(dir).map_err(|error| unusable(dir, error))?;
    }
    Ok(Opened { db, file, census })
}

/// Makes the directory, or sees that it is ours alone.
fn prepare(dir: &Path) -> Result<(), OpenError> {
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
        return Err(OpenError::TooOpen {
            path: dir.to_owned(),
            mode,
        });
    }
    let me = nix::unistd::geteuid();
    if !me.is_root() && metadata.uid() != me.as_raw() {
        return Err(unusable(dir, io::ErrorKind::PermissionDenied.into()));
    }
    Ok(())
}

fn begin(dir: &Path) -> Result<Manifest, OpenError> {
    let manifest = Manifest::new(SCHEMA_VERSION, Census::default(), false);
    manifest::write(dir, &manifest).map_err(|error| unusable(dir, error))?;
    Ok(manifest)
}

fn open_sled(dir: &Path, cache_bytes: u64) -> Result<Db, OpenError> {
    let config = sled::Config::new()
        .path(database(dir))
        .cache_capacity(cache_bytes)
        .flush_every_ms(None);
    guarded(dir, || {
        config.open().map_err(|error| match error {
            sled::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
                OpenError::InUse {
                    path: dir.to_owned(),
                }
            }
            // sled reports its lock as an error of no kind, in words.
            sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
                OpenError::InUse {
                    path: dir.to_owned(),
                }
            }
            sled::Error::Io(error) if is_systems(&error) => unusable(&database(dir), error),
            other => damaged(dir, format!("the database cannot be read: {other}")),
        })
    })
}

/// Whether the system refused, as opposed to sled not understanding what it read.
fn is_systems(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

/// Compares what is there with what must be, and marks a new database as ours.
fn believe(dir: &Path, db: &Db, manifest: &Manifest) -> Result<Census, OpenError> {
    let version = db
        .get(keys::SCHEMA)
        .map_err(|error| damaged(dir, error.to_string()))?;
    match version.as_deref().map(record::decode_schema) {
        Some(Some(SCHEMA_VERSION)) => {}
        Some(Some(found)) => return Err(schema(dir, found)),
        Some(None) => return Err(damaged(dir, "its version record is not whole".to_owned())),
        None if manifest.last_id == 0 && db.is_empty() => {
            let wrote = db
                .insert(keys::SCHEMA, record::encode_schema(SCHEMA_VERSION))
                .and_then(|_| db.flush());
            wrote.map_err(|error| damaged(dir, error.to_string()))?;
        }
        None => {
            return Err(damaged(
                dir,
                format!(
                    "it opens without its contents, of which there were {} messages",
                    manifest.messages
                ),
            ));
        }
    }
    let census = census::take(db).map_err(|what| damaged(dir, what))?;
    if census.read < manifest.read {
        return Err(damaged(
            dir,
            format!(
                "{} messages are marked as read, but {} had been",
                census.read, manifest.read
            ),
        ));
    }
    if census.last_id < manifest.last_id || census.messages < manifest.messages {
        return Err(damaged(
            dir,
            format!(
                "it ends at message {} with {} messages, but {} with {} had been acknowledged",
                census.last_id, census.messages, manifest.last_id, manifest.messages
            ),
        ));
    }
    Ok(census)
}

/// Runs what may meet a damaged file: sled answers some damage with a panic.
fn guarded<T>(dir: &Path, work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    // The panic becomes our error; its own words would only frighten beside it.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    outcome.unwrap_or_else(|_| Err(damaged(dir, "the database cannot be read".to_owned())))
}

fn damaged(dir: &Path, what: String) -> OpenError {
    OpenError::Damaged {
        path: dir.to_owned(),
        what,
    }
}

fn schema(dir: &Path, found: u64) -> OpenError {
    OpenError::Schema {
        path: dir.to_owned(),
        found,
        known: SCHEMA_VERSION,
    }
}

fn unusable(path: &Path, source: io::Error) -> OpenError {
    let advice = match source.kind() {
        io::ErrorKind::PermissionDenied => "It must belong to the user that runs imserver.",
        io::ErrorKind::ReadOnlyFilesystem => "The file system must be writable.",
        io::ErrorKind::StorageFull => "Make room on the disk.",
        io::ErrorKind::NotADirectory => "Name a directory in `store.path`.",
        _ => "See `store.path` in the configuration.",
    };
    OpenError::Directory {
        path: path.to_owned(),
        source,
        advice,
    }
}
