//! A data directory that is filled whole before it is one.
//!
//! What is built lies in `restoring/` inside the directory, so that it is on the same file
//! system also where the directory is a mount point. At the end it is moved up, the
//! manifest last: a directory with a manifest is complete, and one that has `restoring/`
//! and no manifest is refused by a server and begun anew by the next restore. However
//! this is cut short, nothing passes for a store that is none.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use sled::{Batch, Db};

use super::census::{self, Census};
use super::fingerprint::{self, Findings};
use super::folder::{self, database};
use super::gone::Skipped;
use super::keys;
use super::log::Log;
use super::manifest::{self, Manifest};
use super::open;
use super::panics::guarded;
use super::record::{self, ROWS_VERSION, SCHEMA_VERSION};
use super::refusal::{OpenError, damaged, met, unusable};
use super::renew::renew;
use super::room::{MARGIN, free};
use super::seal::Seal;
use super::volume;
use crate::ids::ID_END;

/// Where the new store is built.
const BUILT: &str = "restoring";

/// How the names of the audit log's files begin. They may be there already: the command
/// line writes them before there ever was a store.
const LOGS: &str = "audit.";

/// What an empty file system holds.
const FOUND: &str = "lost+found";

/// Rows of a batch: enough that the tree is walked for many at once.
const BATCH: usize = 512;

/// How many ids a restored store passes over: a server that gives ten thousand a second
/// needs five days for them, and it can be restored two million times.
const PASSED_OVER: u64 = 1 << 32;

/// Why a directory was not filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// There is something in it.
    #[error(
        "{path} is not empty: it holds {found}. Nothing was changed; name an empty or absent \
         directory in `store.path`, or move this one away first"
    )]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// The first thing in it.
        found: String,
    },
    /// The directory cannot be used, or what was built in it is not whole.
    #[error(transparent)]
    Directory(#[from] OpenError),
    /// What it was to be filled with is not right.
    #[error("{0}")]
    Source(String),
}

/// A new store under construction; what was built is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
    cache_bytes: u64,
    /// Gone once it is closed.
    db: Option<Db>,
    batch: Batch,
    rows: usize,
    lock: Flock<File>,
}

/// Whether a restore into `dir` was cut short. Tidies up behind one that was not.
pub(super) fn is_unfinished(dir: &Path) -> bool {
    let built = dir.join(BUILT);
    if built.exists() && manifest::path(dir).exists() {
        // Everything was moved; only this was left to do.
        let _ = fs::remove_dir(&built);
        return false;
    }
    built.exists()
}

impl Staging {
    /// Takes `dir` for a new store, if there is nothing in it.
    pub(super) fn begin(dir: &Path, cache_bytes: u64) -> Result<Self, FillError> {
        let occupied = |found: String| FillError::Occupied { path: dir.to_owned(), found };
        folder::prepare(dir)?;
        let lock = folder::lock(dir)?;
        let built = dir.join(BUILT);
        let failed = |error: io::Error| unusable(dir, error);
        if is_unfinished(dir) {
            // The manifest was to come last, so that none of this was ever served. What says so
            // goes last.
            for left in [&database(dir), &volume::folder(dir), &built]
                .into_iter()
                .filter(|left| left.exists())
            {
                fs::remove_dir_all(left).map_err(failed)?;
            }
        }
        for entry in fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name != FOUND && !name.starts_with(LOGS) {
                return Err(occupied(name));
            }
        }
        DirBuilder::new().mode(0o700).create(&built).map_err(failed)?;
        let mut staging = Self {
            dir: dir.to_owned(),
            cache_bytes,
            db: None,
            batch: Batch::default(),
            rows: 0,
            lock,
        };
        staging.db = Some(open::open_sled(dir, &database(&built), cache_bytes)?);
        staging.insert(keys::SCHEMA, &record::encode_schema(ROWS_VERSION))?;
        Ok(staging)
    }

    fn built(&self) -> PathBuf {
        self.dir.join(BUILT)
    }

    pub(super) fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), FillError> {
        self.batch.insert(key, value);
        self.rows += 1;
        if self.rows < BATCH { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), FillError> {
        self.rows = 0;
        // sled does not survive to find none.
        let room = free(&self.lock).map_err(|error| unusable(&self.dir, error))?;
        if room < MARGIN {
            return Err(unusable(&self.dir, io::ErrorKind::StorageFull.into()).into());
        }
        let Some(db) = &self.db else { return Ok(()) };
        db.apply_batch(std::mem::take(&mut self.batch))
            .map_err(|error| damaged(&self.dir, error.to_string()))?;
        // As the writer does: sled's garbage is collected a little at every pin.
        for _ in 0..16 {
            crossbeam_epoch::pin().flush();
        }
        Ok(())
    }

    /// Adds to a file that comes to lie beside the database.
    pub(super) fn append(&self, name: &str, piece: &[u8]) -> Result<(), FillError> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.built().join(name);
        let file = File::options().append(true).create(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(piece)).map_err(|e| unusable(&path, e).into())
    }

    /// Brings everything to the disk, reads it back and counts it, and makes it the store.
    ///
    /// `check` says what is wrong with what was found.
    pub(super) fn publish(
        mut self,
        check: impl FnOnce(&Findings) -> Result<(), String>,
    ) -> Result<Findings, FillError> {
        self.write()?;
        let db = self.db.take();
        if let Some(db) = db {
            db.flush().map_err(|error| damaged(&self.dir, error.to_string()))?;
        }
        let built = self.built();
        folder::released(&database(&built));
        let (census, findings) = self.counted()?;
        check(&findings).map_err(FillError::Source)?;
        let failed = |error: io::Error| unusable(&self.dir, error);
        sync_all(&built).map_err(failed)?;
        let seal = Seal::of(&database(&built)).map_err(failed)?;
        manifest::write(&built, &Manifest::new(SCHEMA_VERSION, census, Some(seal)))
            .map_err(failed)?;
        self.move_up().map_err(failed)?;
        Ok(findings)
    }

    /// Opens what was built from the disk and reads all of it.
    fn counted(&self) -> Result<(Census, Findings), FillError> {
        let built = self.built();
        // What it was filled with are rows.
        let rows = guarded(&self.dir, || {
            let db = open::open_sled(&self.dir, &database(&built), self.cache_bytes)?;
            census::of_rows(&db).map_err(|what| damaged(&self.dir, what))
        })?;
        folder::released(&database(&built));
        renew(&self.dir, &built, self.cache_bytes, rows)?;
        let counted = guarded(&self.dir, || {
            let db = open::open_sled(&self.dir, &database(&built), self.cache_bytes)?;
            let log = Log::load(&built, (*db).clone()).map_err(|error| met(&self.dir, error))?;
            let census = census::take(&log).map_err(|what| damaged(&self.dir, what))?;
            census::peers(&log).map_err(|what| damaged(&self.dir, what))?;
            census::volumes(&log).map_err(|what| damaged(&self.dir, what))?;
            let findings = fingerprint::of(&log, census)
                .map_err(|error| damaged(&self.dir, error.to_string()))?;
            Ok((census, findings))
        })?;
        folder::released(&database(&built));
        Ok(counted)
    }

    fn move_up(&self) -> io::Result<()> {
        let (built, dir) = (self.built(), &self.dir);
        fs::rename(database(&built), database(dir))?;
        if volume::folder(&built).exists() {
            fs::rename(volume::folder(&built), volume::folder(dir))?;
        }
        let logs = logs(&built)?;
        if !logs.is_empty() {
            set_aside(dir)?;
        }
        for log in logs {
            fs::rename(built.join(&log), dir.join(&log))?;
        }
        manifest::sync_dir(dir)?;
        // From here on it is a store.
        fs::rename(manifest::path(&built), manifest::path(dir))?;
        manifest::sync_dir(dir)?;
        fs::remove_dir(&built)?;
        manifest::sync_dir(dir)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.db.take().is_some() {
            folder::released(&database(&self.built()));
        }
        // What cannot be removed now is removed by the next one. After the last move there
        // is nothing any more.
        let _ = fs::remove_dir_all(self.built());
    }
}

/// Passes over so many ids behind `last_id` that none is given again that may have been
/// given after a backup was made; `skipped` is what had been passed over before.
pub(super) fn pass_over(skipped: Skipped, last_id: u64) -> Result<Skipped, FillError> {
    let up_to = last_id.checked_add(PASSED_OVER).filter(|&up_to| up_to < ID_END);
    let ids = skipped.ids.checked_add(PASSED_OVER);
    let both = ids.zip(up_to).map(|(ids, up_to)| Skipped { ids, up_to, ..skipped });
    both.ok_or_else(|| {
        FillError::Source("no message ids are left behind those of this backup".to_owned())
    })
}

/// The files of the audit log in a folder.
fn logs(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_file() && name.to_string_lossy().starts_with(LOGS) {
            found.push(name);
        }
    }
    Ok(found)
}

/// Moves a log out of the way of the one that was restored, and loses neither.
fn set_aside(dir: &Path) -> io::Result<()> {
    let logs = logs(dir)?;
    if logs.is_empty() {
        return Ok(());
    }
    let mut number = 1;
    let aside = loop {
        let aside = dir.join(format!("audit.before-restore-{number}"));
        match DirBuilder::new().mode(0o700).create(&aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => break made.map(|()| aside)?,
        }
    };
    for log in logs {
        fs::rename(dir.join(&log), aside.join(&log))?;
    }
    manifest::sync_dir(&aside)
}

/// Brings every file below `folder` to the disk.
fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_all(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    manifest::sync_dir(folder)
}
