//! A store that nobody has open, in a copy of its database: for whoever reads all of it and
//! touches nothing.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::fcntl::Flock;

use super::believe;
use super::census::Census;
use super::folder::{self, database};
use super::log::Log;
use super::manifest;
use super::open;
use super::panics::guarded;
use super::record::{self, SCHEMA_VERSION};
use super::refusal::{OpenError, damaged, met, schema, unfinished, unusable};
use super::rehearsal::Rehearsal;
use super::staging;

/// The copy, every row of which was counted. The directory is locked as long as it is there.
#[derive(Debug)]
pub(super) struct Aside {
    // In the order in which they go: the database is closed before its copy is removed.
    pub(super) log: Log,
    _copy: Rehearsal,
    _lock: Flock<File>,
    pub(super) census: Census,
}

impl Aside {
    /// Opens a copy of the store in `dir`.
    ///
    /// # Errors
    /// What is in the way, or does not fit; the directory is left as it was.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        folder::prepare(dir)?;
        let lock = folder::lock(dir)?;
        if staging::is_unfinished(dir) {
            return Err(unfinished(dir));
        }
        let Some(manifest) = open::read_manifest(dir)? else {
            return Err(damaged(dir, "there is no manifest.json in it".to_owned()));
        };
        if !record::is_known(manifest.schema) {
            return Err(schema(dir, manifest.schema));
        }
        if manifest.schema < SCHEMA_VERSION {
            return Err(OpenError::Older { path: dir.to_owned(), found: manifest.schema });
        }
        let original = database(dir);
        let copy = Rehearsal::of(&original).map_err(|error| unusable(&original, error))?;
        let copy =
            copy.ok_or_else(|| unusable(&manifest::path(dir), io::ErrorKind::StorageFull.into()))?;
        let (log, census) = guarded(dir, || {
            let db = open::open_sled(dir, copy.path(), cache_bytes)?;
            let census = believe::believe(dir, &db, &manifest)?;
            let log = Log::load(dir, (*db).clone());
            Ok((log.map_err(|error| met(dir, error))?, census))
        })?;
        Ok(Self { log, _copy: copy, _lock: lock, census })
    }
}
