//! Looking at a store that nobody has open, without touching it.

use std::io;
use std::path::Path;

use super::census;
use super::fingerprint::{self, Findings};
use super::log::Log;
use super::manifest;
use super::open::{self, database};
use super::record::{self, SCHEMA_VERSION};
use super::refusal::{OpenError, damaged, schema, unfinished, unusable};
use super::rehearsal::Rehearsal;
use super::staging;

/// Reads every row of the store in `dir`, in a copy of it, and checks that all fits
/// together: both ways, as far as two things name each other.
///
/// # Errors
/// What is in the way, or does not fit; the directory is left as it was.
pub fn verify(dir: &Path, cache_bytes: u64) -> Result<Findings, OpenError> {
    if !dir.exists() {
        return Err(unusable(dir, io::ErrorKind::NotFound.into()));
    }
    open::prepare(dir)?;
    let _lock = open::lock(dir)?;
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
    open::guarded(dir, || {
        let db = open::open_sled(dir, copy.path(), cache_bytes)?;
        let census = open::believe(dir, &db, &manifest)?;
        let log = Log::load(dir, (*db).clone()).map_err(|error| damaged(dir, error.to_string()))?;
        census::peers(&log).map_err(|what| damaged(dir, what))?;
        census::volumes(&log).map_err(|what| damaged(dir, what))?;
        fingerprint::of(&log, census).map_err(|error| damaged(dir, error.to_string()))
    })
}
