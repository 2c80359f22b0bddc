//! Opening a data directory: made when it is new, refused when it is not as it was left.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::fcntl::Flock;
use sled::Db;
use tracing::warn;

use super::believe::{believe, is_ours, layout};
use super::census::Census;
use super::folder::{database, lock, prepare, released};
use super::journal::{self, Base};
use super::log::Log;
use super::manifest::{self, Manifest, Renewed};
use super::page_cache;
use super::panics::guarded;
use super::record::{self, LOG_VERSION, SCHEMA_VERSION};
use super::refusal::{OpenError, damaged, found_late, in_use, met, schema, unfinished, unusable};
use super::rehearsal::Rehearsal;
use super::renew::renew;
use super::seal::Seal;
use super::segment;
use super::staging;

/// An open database and what was counted in it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) db: Db,
    pub(super) log: Log,
    /// What brings it to the disk.
    pub(super) base: Base,
    pub(super) census: Census,
    pub(super) manifest: Renewed,
}

/// The part of `store.cache_bytes` that sled may fill with pages, as a divisor. The
/// rest is for what the writer knows by heart: ordinals, inboxes, resends.
const SLED_SHARE: u64 = 2;

/// A data directory in which everything that must be there is there.
#[derive(Debug)]
pub(super) struct Checked<'a> {
    dir: &'a Path,
    cache_bytes: u64,
    manifest: Manifest,
    /// What was counted, in a copy of the database or before it was sealed.
    census: Option<Census>,
}

/// Opens the store in `dir`, making it when there is none. The lock is to be held for as
/// long as the store is open.
pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<(Flock<File>, Opened), OpenError> {
    prepare(dir)?;
    let lock = lock(dir)?;
    if staging::is_unfinished(dir) {
        return Err(unfinished(dir));
    }
    // As large as the database itself, and of no use to anybody.
    Rehearsal::clear(&database(dir)).map_err(|error| unusable(dir, error))?;
    let opened = check(dir, cache_bytes)?.open()?;
    opened.log.shelf.clear().map_err(|error| unusable(opened.log.shelf.folder(), error))?;
    Ok((lock, opened))
}

/// Checks what lies in `dir`, which is locked for us, and changes nothing of it.
pub(super) fn check(dir: &Path, cache_bytes: u64) -> Result<Checked<'_>, OpenError> {
    let manifest = match read_manifest(dir)? {
        Some(manifest) => manifest,
        None if database(dir).exists() => {
            return Err(damaged(dir, "manifest.json is missing beside the database".to_owned()));
        }
        // First of all the manifest: from now on a database that vanishes is noticed.
        None => begin(dir)?,
    };
    if !record::is_known(manifest.schema) {
        return Err(schema(dir, manifest.schema));
    }
    let census = match is_sealed(dir, &manifest) {
        true => Some(manifest.census()),
        false => rehearse(dir, cache_bytes, &manifest)?,
    };
    Ok(Checked { dir, cache_bytes, manifest, census })
}

impl Checked<'_> {
    /// Opens the database itself.
    pub(super) fn open(self) -> Result<Opened, OpenError> {
        let Self { dir, cache_bytes, manifest, census } = self;
        let (mut db, census, layout) = guarded(dir, || {
            let db = open_sled(dir, &database(dir), cache_bytes)?;
            let census = match census {
                Some(census) => census,
                None => believe(dir, &db, &manifest).map_err(not_kept)?,
            };
            // sled made a new one, if nothing was ever acknowledged.
            let layout = layout(dir, &db)?.unwrap_or(SCHEMA_VERSION);
            Ok((db, census, layout))
        })?;
        if layout < LOG_VERSION {
            drop(db);
            released(&database(dir));
            renew(dir, dir, cache_bytes, census)?;
            db = guarded(dir, || open_sled(dir, &database(dir), cache_bytes))?;
        } else if layout < SCHEMA_VERSION {
            guarded(dir, || is_ours(dir, &db))?;
        }
        let log = guarded(dir, || {
            let log = Log::load(dir, (*db).clone());
            log.map_err(|error| met(dir, error))
        })
        .map_err(found_late)?;
        let path = database(dir).join("db");
        // What sled replayed from its log may still be on its way to the disk.
        let synced = File::options().write(true).open(&path).and_then(|file| file.sync_all());
        synced.map_err(|error| unusable(&path, error))?;
        // sled never syncs what it wrote down of its own settings.
        let settings = database(dir).join("conf");
        let synced = File::open(&settings).and_then(|settings| settings.sync_all());
        synced.map_err(|error| unusable(&settings, error))?;
        for dir in [dir, &database(dir)] {
            manifest::sync_dir(dir).map_err(|error| unusable(dir, error))?;
        }
        if manifest.schema != SCHEMA_VERSION {
            // Behind the database: a stop in between leaves a newer one beside an older
            // manifest, which is opened like this one.
            let manifest = Manifest::new(SCHEMA_VERSION, census, None);
            manifest::write(dir, &manifest).map_err(|error| unusable(dir, error))?;
        }
        let manifest = Renewed::open(dir).map_err(|error| unusable(&manifest::path(dir), error))?;
        let base = Base::of(&database(dir), &db).map_err(|error| unusable(&path, error))?;
        Ok(Opened { manifest, db, log, base, census })
    }
}

/// Puts a checked copy of the database in `dir` in its place and opens that. The old files
/// may still be open in this process.
pub(super) fn anew(dir: &Path, cache_bytes: u64) -> Result<Opened, OpenError> {
    let manifest = manifest::read(dir).map_err(|error| unusable(&manifest::path(dir), error))?;
    let Some(manifest) = manifest else {
        return Err(damaged(dir, "manifest.json is gone".to_owned()));
    };
    let original = database(dir);
    page_cache::forget(&original).map_err(|error| unusable(&original, error))?;
    let copy = Rehearsal::of(&original).map_err(|error| unusable(&original, error))?;
    let Some(copy) = copy else {
        return Err(unusable(&original, io::ErrorKind::StorageFull.into()));
    };
    let census = guarded(dir, || {
        let db = open_sled(dir, copy.path(), cache_bytes)?;
        believe(dir, &db, &manifest)
    })?;
    copy.take_over(&original).map_err(|error| unusable(&original, error))?;
    released(&database(dir));
    Checked { dir, cache_bytes, manifest, census: Some(census) }.open()
}

pub(super) fn read_manifest(dir: &Path) -> Result<Option<Manifest>, OpenError> {
    manifest::read(dir).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            damaged(dir, format!("manifest.json is not whole: {error}"))
        }
        _ => unusable(&manifest::path(dir), error),
    })
}

fn begin(dir: &Path) -> Result<Manifest, OpenError> {
    let manifest = Manifest::new(SCHEMA_VERSION, Census::default(), None);
    manifest::write(dir, &manifest).map_err(|error| unusable(dir, error))?;
    Ok(manifest)
}

/// Whether not a byte of the database has changed since it was closed.
fn is_sealed(dir: &Path, manifest: &Manifest) -> bool {
    manifest.seal.is_some_and(|seal| Seal::of(&database(dir)).is_ok_and(|found| found == seal))
}

/// Opens and counts a copy of the database, where there is one and room for a copy.
///
/// A database of which nothing was ever acknowledged and that cannot be read was cut
/// short while it was made: it makes room for a new one.
fn rehearse(
    dir: &Path,
    cache_bytes: u64,
    manifest: &Manifest,
) -> Result<Option<Census>, OpenError> {
    let original = database(dir);
    if !original.join("db").exists() {
        // sled would make an empty one.
        if !manifest.census().is_new() {
            return Err(damaged(dir, "the database is missing".to_owned()));
        }
        // It makes its settings first, and does not understand them where that was cut short.
        let settings = original.join("conf");
        return match fs::remove_file(&settings) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unusable(&settings, error))
            }
            _ => Ok(None),
        };
    }
    page_cache::forget(&original).map_err(|error| unusable(&original, error))?;
    let copy = Rehearsal::of(&original).map_err(|error| unusable(&original, error))?;
    let Some(copy) = copy else {
        warn!("there is no room to check a copy of the database: it is checked in its place");
        return Ok(None);
    };
    // The copy is closed in here too: sled may panic at that as well.
    let census = guarded(dir, || {
        let db = open_sled(dir, copy.path(), cache_bytes)?;
        believe(dir, &db, manifest)
    });
    match census {
        Err(OpenError::Damaged { .. }) if manifest.census().is_new() && is_small(&original) => {
            fs::remove_dir_all(&original).map_err(|error| unusable(&original, error))?;
            Ok(None)
        }
        // There is no schema yet: the original is given one.
        Ok(census) if census.is_new() => Ok(None),
        Ok(census) => Ok(Some(census)),
        Err(error) => Err(error),
    }
}

/// sled opened the original, and mends what it opens.
fn not_kept(mut error: OpenError) -> OpenError {
    if let OpenError::Damaged { changed, .. } = &mut error {
        *changed = "There was no room to check a copy, so the database may have changed";
    }
    error
}

/// Whether it holds no more than an empty database does.
fn is_small(database: &Path) -> bool {
    fs::metadata(database.join("db")).map_or(true, |db| db.len() < 1 << 20)
}

/// Opens the database in `at`, with all that its journal has.
pub(super) fn open_sled(dir: &Path, at: &Path, cache_bytes: u64) -> Result<Db, OpenError> {
    let config = sled::Config::new()
        .path(at)
        .segment_size(segment::bytes(at))
        .cache_capacity(cache_bytes / SLED_SHARE)
        .flush_every_ms(None);
    let db = config.open().map_err(|error| match error {
        sled::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock => in_use(dir),
        // sled reports its lock as an error of no kind, in words.
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            in_use(dir)
        }
        sled::Error::Io(error) if is_systems(&error) => unusable(&database(dir), error),
        // Its own words are for whoever works on sled.
        sled::Error::Corruption { at, .. } => {
            let place = at.map_or_else(String::new, |at| format!(" (sled: at {at:?})"));
            damaged(dir, format!("the database cannot be read: it is not what was written{place}"))
        }
        other => damaged(dir, format!("the database cannot be read: {other}")),
    })?;
    journal::recover(dir, at, &db)?;
    Ok(db)
}

/// Whether the system refused, as opposed to sled not understanding what it read.
fn is_systems(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}
