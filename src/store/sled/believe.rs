//! What a database holds, compared with what its manifest says that it must.

use std::path::Path;

use sled::Db;

use super::census::{self, Census};
use super::keys;
use super::log::Log;
use super::manifest::Manifest;
use super::record::{self, LOG_VERSION, SCHEMA_VERSION};
use super::refusal::{OpenError, damaged, met, schema};

/// Compares what is there with what must be, and marks a new database as ours.
pub(super) fn believe(dir: &Path, db: &Db, manifest: &Manifest) -> Result<Census, OpenError> {
    let is_new = db.get(keys::SCHEMA).map_err(|error| damaged(dir, error.to_string()))?.is_none()
        && manifest.census().is_new()
        && db.is_empty();
    if is_new {
        is_ours(dir, db)?;
    }
    let census = match layout(dir, db)? {
        Some(LOG_VERSION..) => {
            let log = Log::load(dir, (**db).clone());
            census::take(&log.map_err(|error| met(dir, error))?)
        }
        Some(_) => census::of_rows(db),
        None => {
            return Err(damaged(
                dir,
                format!(
                    "it opens without its contents, of which there were {} messages",
                    manifest.messages
                ),
            ));
        }
    };
    let census = census.map_err(|what| damaged(dir, what))?;
    for (found, before, what) in
        [(census.read, manifest.read, "marked as read"), (census.gone, manifest.gone, "gone")]
    {
        if found < before {
            let what = format!("{found} messages are {what}, but {before} had been");
            return Err(damaged(dir, what));
        }
    }
    if census.decrees < manifest.decrees {
        let (found, before) = (census.decrees, manifest.decrees);
        let what = format!("it knows of {found} revocations, but {before} had been made");
        return Err(damaged(dir, what));
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

/// Marks a database as one of this layout.
pub(super) fn is_ours(dir: &Path, db: &Db) -> Result<(), OpenError> {
    let wrote =
        db.insert(keys::SCHEMA, record::encode_schema(SCHEMA_VERSION)).and_then(|_| db.flush());
    wrote.map(drop).map_err(|error| damaged(dir, error.to_string()))
}

/// The layout of a database that has one.
pub(super) fn layout(dir: &Path, db: &Db) -> Result<Option<u64>, OpenError> {
    let version = db.get(keys::SCHEMA).map_err(|error| damaged(dir, error.to_string()))?;
    match version.as_deref().map(record::decode_schema) {
        None => Ok(None),
        Some(Some(known)) if record::is_known(known) => Ok(Some(known)),
        Some(Some(found)) => Err(schema(dir, found)),
        Some(None) => Err(damaged(dir, "its version record is not whole".to_owned())),
    }
}
