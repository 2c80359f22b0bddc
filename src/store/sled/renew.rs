//! From rows to a log: what layouts 1 and 2 had, and what backups and exports become first,
//! is written anew as layout 3.
//!
//! Into a new database beside the old one, and into volumes that only the new one names. The
//! two change places in one step, once the new one was read from the disk and counted. A crash
//! before that leaves the old one and files that nobody names.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use sled::Tree;
use tracing::info;

use super::census::{self, Census};
use super::commit::{PIECE_BYTES, PLACE_BYTES};
use super::compact::copy_rows;
use super::folder::{self, database};
use super::gone::Gone;
use super::keys::{self, Pair};
use super::log::Log;
use super::open;
use super::panics::guarded;
use super::record::{self, CommitRecord, LogPiece, SCHEMA_VERSION};
use super::refusal::{OpenError, damaged, met, unusable};
use super::rehearsal::Rehearsal;
use super::shelf::Packed;
use super::volume::{self, Writing};
use crate::ids::MessageId;

/// Messages of a volume, about. Tests make do with fewer.
const VOLUME: u64 = if cfg!(test) { 64 } else { 65_536 };

/// Writes the database in `at`, which was counted and is closed, anew. `dir` is what the
/// operator knows it by.
pub(super) fn renew(
    dir: &Path,
    at: &Path,
    cache_bytes: u64,
    counted: Census,
) -> Result<(), OpenError> {
    let original = database(at);
    let folder = volume::folder(at);
    let failed = |error: io::Error| unusable(&original, error);
    let fresh = Rehearsal::empty(&original).map_err(failed)?;
    if folder.exists() {
        // No row names any of them.
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    info!(path = %dir.display(), messages = counted.kept(), "the store gets a new layout");
    guarded(dir, || {
        let rows = open::open_sled(dir, &original, cache_bytes)?;
        let copy = open::open_sled(dir, fresh.path(), cache_bytes)?;
        let written = convert(&rows, &copy, &folder, counted.kept());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => damaged(dir, error.to_string()),
            _ => unusable(&original, error),
        })
    })?;
    folder::released(&original);
    folder::released(fresh.path());
    let found = guarded(dir, || {
        let copy = open::open_sled(dir, fresh.path(), cache_bytes)?;
        let log = Log::load(at, (*copy).clone()).map_err(|error| met(dir, error))?;
        census::take(&log).map_err(|what| damaged(dir, format!("in the new layout, {what}")))
    })?;
    folder::released(fresh.path());
    if found != counted {
        let what = format!("{counted:?} was written anew, but {found:?} came out of it");
        return Err(damaged(dir, what));
    }
    fresh.take_over(&original).map_err(failed)
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(super) fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => wrong(other.to_string()),
    }
}

fn convert(rows: &Tree, copy: &sled::Db, folder: &Path, messages: u64) -> io::Result<()> {
    let is_beside = |key: &[u8]| {
        ![keys::MESSAGES, keys::COMMITS, keys::SCHEMA].iter().any(|tag| key.starts_with(tag))
    };
    copy_rows(rows, copy, is_beside, &mut |_| {}).map_err(io_error)?;
    let mut renewal = Renewal { rows, copy, folder, packed: HashMap::new() };
    let (mut range, mut held, mut left) = (Vec::new(), 0, messages);
    for row in rows.scan_prefix(keys::COMMITS) {
        let (key, value) = row.map_err(io_error)?;
        let commit = CommitRecord::decode(&key, &value)
            .ok_or_else(|| wrong(format!("the commit record under {key:02x?} is not whole")))?;
        held += commit.messages();
        left = left.saturating_sub(commit.messages());
        range.push(commit);
        // As much stays in the log as a server leaves there.
        if held >= VOLUME && left >= VOLUME {
            renewal.volume(&range)?;
            range.clear();
            held = 0;
        }
    }
    for commit in &range {
        renewal.log(commit)?;
    }
    for (pair, packed) in &renewal.packed {
        let key = keys::packed(*pair);
        copy.insert(&key, packed.encode(&key)).map_err(io_error)?;
    }
    copy.insert(keys::SCHEMA, record::encode_schema(SCHEMA_VERSION)).map_err(io_error)?;
    copy.flush().map(drop).map_err(io_error)
}

struct Renewal<'a> {
    rows: &'a Tree,
    copy: &'a Tree,
    folder: &'a Path,
    packed: HashMap<Pair, Packed>,
}

impl Renewal<'_> {
    fn value(&self, pair: Pair, id: u64) -> io::Result<sled::IVec> {
        let found = self.rows.get(keys::message(pair, id)).map_err(io_error)?;
        found.ok_or_else(|| wrong(format!("the message {id} is missing")))
    }

    /// Writes commits and their messages into a volume.
    fn volume(&mut self, commits: &[CommitRecord]) -> io::Result<()> {
        let (Some(first), Some(last)) = (commits.first(), commits.last()) else { return Ok(()) };
        let (first, last) = (first.first.get(), last.last());
        let mut places = Vec::new();
        for commit in commits {
            for (entry, id) in commit.entries.iter().zip(commit.first.get()..) {
                places.extend(entry.as_ref().map(|entry| (entry.pair, id, entry.ordinal)));
            }
        }
        places.sort_unstable();
        let mut lasts = HashMap::new();
        let mut writing = Writing::begin(self.folder, first, 0)?;
        for (pair, id, ordinal) in places {
            writing.message(pair, id, &self.value(pair, id)?)?;
            lasts.insert(pair, Gone { ordinal, id });
        }
        for (pair, last) in lasts {
            self.packed.entry(pair).or_default().add(first, first - 1, last);
        }
        for commit in commits {
            writing.commit(commit)?;
        }
        let row = writing.finish(self.folder, last)?;
        self.copy.insert(keys::volume(first), row.encode()).map(drop).map_err(io_error)
    }

    /// Writes a commit and its messages into the log.
    fn log(&self, commit: &CommitRecord) -> io::Result<()> {
        let mut piece: Option<LogPiece> = None;
        let mut bytes = 0;
        for (entry, id) in commit.entries.iter().zip(commit.first.get()..) {
            let value = match entry {
                Some(entry) => Some(self.value(entry.pair, id)?),
                None => None,
            };
            let size = value.as_ref().map_or(1, |value| value.len() + PLACE_BYTES);
            bytes += size;
            if value.is_some() && bytes > PIECE_BYTES {
                self.write(piece.take())?;
                bytes = size;
            }
            if piece.is_none() && value.is_none() {
                // A piece begins with a message that is there.
                continue;
            }
            let Some(first) = MessageId::new(id) else { continue };
            let piece = piece.get_or_insert_with(|| LogPiece {
                commit: CommitRecord { first, stored_at: commit.stored_at, entries: Vec::new() },
                values: Vec::new(),
            });
            piece.commit.entries.push(entry.clone());
            piece.values.extend(value);
        }
        self.write(piece)
    }

    fn write(&self, piece: Option<LogPiece>) -> io::Result<()> {
        let Some(piece) = piece else { return Ok(()) };
        let key = keys::commit(piece.commit.first.get());
        let value = piece.encode(&key);
        self.copy.insert(key, value).map(drop).map_err(io_error)
    }
}
