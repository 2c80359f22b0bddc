//! From the log into volumes, and from volumes that hold much of what is gone into new ones.
//!
//! Every step leaves a whole store, wherever it is cut short. A volume is on the disk before
//! its row is written; with the row it counts, and what it holds is taken out of the log
//! behind that, piece by piece. Until then the same messages lie in both and say the same. A
//! file without a row is removed at the next start.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use tracing::{debug, warn};

use super::gone::Gone;
use super::keys::{self, Pair};
use super::log::Log;
use super::reader;
use super::record::{CommitRecord, MessageView};
use super::removal::Piece;
use super::volume::{Volume, VolumeError, VolumeRow, Writing};
use crate::store::{AppendError, StoreError};

/// Bytes of messages in a volume, about, where messages are long.
const VOLUME_BYTES: u64 = 64 << 20;

/// Rows that are entered in one step: some milliseconds of the writer's time.
const STEP: usize = 512;

/// The part of a volume that may be gone before it is written anew, as a divisor.
const DEAD: u64 = 4;

/// Why a step was not made.
#[derive(Debug)]
pub(super) enum Hindrance {
    /// The disk, or the room on it.
    Io(io::Error),
    /// What was read is damaged, or gone for the moment.
    Store(StoreError),
    /// Nothing is written at present.
    Entry,
}

impl From<io::Error> for Hindrance {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for Hindrance {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<VolumeError> for Hindrance {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::System { error, .. } => Self::Io(error),
            VolumeError::Store(error) => Self::Store(error),
        }
    }
}

impl From<AppendError> for Hindrance {
    fn from(_: AppendError) -> Self {
        Self::Entry
    }
}

/// Who has steps made durable. Meanwhile the database may have been opened anew.
pub(super) trait Desk {
    /// The log as it is now.
    fn log(&self) -> Result<Log, StoreError>;
    /// Up to which message it is durable.
    fn head(&self) -> u64;
    /// Has a step entered, and waits until it is durable.
    fn enter(&self, piece: Piece) -> Result<(), AppendError>;
}

/// Writes a volume if the log has grown long enough for one of `size` messages; says whether
/// it did.
pub(super) fn pack(desk: &impl Desk, size: u64) -> Result<bool, Hindrance> {
    let log = desk.log()?;
    let (messages, bytes) = log.hot.size();
    if messages < 2 * size && bytes < 2 * VOLUME_BYTES {
        return Ok(false);
    }
    let Some((first, end, count)) = range(&log, desk.head(), size)? else { return Ok(false) };
    let end_before = log.shelf.packed_up_to();
    let mut lasts = HashMap::new();
    let mut writing = Writing::begin(log.shelf.folder(), first, 0)?;
    let mut written = 0;
    for (pair, id, value) in log.hot.up_to(end) {
        let key = keys::message(pair, id);
        let view = MessageView::decode(&key, &value);
        let ordinal = view.ok_or_else(|| reader::not_whole("message", &key))?.ordinal;
        writing.message(pair, id, &value)?;
        lasts.insert(pair, Gone { ordinal, id });
        written += 1;
    }
    if written != count {
        let what = format!("the log names {count} messages up to {end}, but {written} are there");
        return Err(StoreError::Damaged(what).into());
    }
    for commit in reader::commits(&log, first) {
        let commit = commit?;
        if commit.first.get() > end {
            break;
        }
        writing.commit(&commit)?;
    }
    let row = writing.finish(log.shelf.folder(), end)?;
    let volume = Volume::open(log.shelf.folder(), row)?;
    let mut piece = Piece::default();
    for (pair, last) in lasts {
        let key = keys::packed(pair);
        let mut packed = reader::packed(&log, pair)?;
        packed.add(first, end_before, last);
        let value = packed.encode(&key);
        piece.rows.push((key, Some(value)));
        if piece.rows.len() == STEP {
            desk.enter(std::mem::take(&mut piece))?;
        }
    }
    piece.rows.push((keys::volume(first), Some(row.encode())));
    desk.enter(piece)?;
    // It counts. Who looks for a message finds it in the volume before it leaves the log.
    let log = desk.log()?;
    log.shelf.put(volume);
    log.shelf.raise();
    log.hot.remove_up_to(end);
    debug!(first, end, messages = row.messages, bytes = row.bytes, "a volume was written");
    clear(desk)?;
    Ok(true)
}

/// The ids that a volume is to hold, and how many messages that is: whole commits, as many
/// as make its size.
fn range(log: &Log, head: u64, size: u64) -> Result<Option<(u64, u64, u64)>, StoreError> {
    let begin = log.shelf.packed_up_to() + 1;
    let (mut first, mut messages, mut bytes) = (None, 0, 0);
    for row in log.range(keys::commit(begin)..=keys::commit(head)) {
        let (key, value) = row.map_err(reader::unreadable)?;
        let commit =
            CommitRecord::decode(&key, &value).ok_or_else(|| reader::not_whole("commit", &key))?;
        if commit.last() > head {
            break;
        }
        let first = *first.get_or_insert(commit.first.get());
        messages += commit.messages();
        bytes += value.len() as u64;
        if messages >= size || bytes >= VOLUME_BYTES {
            return Ok(Some((first, commit.last(), messages)));
        }
    }
    Ok(None)
}

/// Takes out of the log what lies in volumes.
pub(super) fn clear(desk: &impl Desk) -> Result<(), Hindrance> {
    loop {
        let log = desk.log()?;
        let mut piece = Piece::default();
        for row in log.range(keys::commit(0)..=keys::commit(log.shelf.packed_up_to())).take(STEP) {
            let (key, _) = row.map_err(reader::unreadable)?;
            piece.rows.push((key.to_vec(), None));
        }
        if piece.is_empty() {
            return Ok(());
        }
        desk.enter(piece)?;
    }
}

/// Writes volumes anew of which much is gone, or anything where that is to be `wholly` so.
pub(super) fn rewrite(desk: &impl Desk, wholly: bool) -> Result<(), Hindrance> {
    let volumes = desk.log()?.shelf.volumes();
    for volume in volumes.iter() {
        let log = desk.log()?;
        let key = keys::volume(volume.row.first);
        let Some(value) = log.get(&key).map_err(reader::unreadable)? else { continue };
        let row =
            VolumeRow::decode(&key, &value).ok_or_else(|| reader::not_whole("volume", &key))?;
        if row.dead > 0 && (wholly || row.dead >= row.messages / DEAD) {
            rewrite_one(desk, volume, row)?;
        }
    }
    Ok(())
}

fn rewrite_one(desk: &impl Desk, old: &Volume, row: VolumeRow) -> Result<(), Hindrance> {
    let log = desk.log()?;
    let folder = log.shelf.folder();
    // The last one stays: where it ends the log begins.
    if row.dead == row.messages && log.shelf.packed_up_to() != row.last {
        let rows = vec![(keys::volume(row.first), None)];
        desk.enter(Piece { rows, ..Piece::default() })?;
        desk.log()?.shelf.remove(row.first);
    } else {
        let mut gone = Known { log: &log, pairs: HashMap::new() };
        let mut writing = Writing::begin(folder, row.first, row.generation + 1)?;
        for number in 0..old.blocks() {
            for (pair, id, value) in old.block(number)?.iter() {
                if *id > gone.of(*pair)?.id {
                    writing.message(*pair, *id, value)?;
                }
            }
        }
        for number in 0..old.commit_blocks() {
            for commit in old.commit_block(number)?.iter() {
                let mut commit = commit.clone();
                if gone.take_from(&mut commit)? {
                    writing.commit(&commit)?;
                }
            }
        }
        let new = writing.finish(folder, row.last)?;
        let volume = Volume::open(folder, new)?;
        let rows = vec![(keys::volume(row.first), Some(new.encode()))];
        desk.enter(Piece { rows, ..Piece::default() })?;
        desk.log()?.shelf.put(volume);
    }
    if let Err(error) = old.remove() {
        warn!(%error, "a file that is a volume no more is left for the next start to remove");
    }
    Ok(())
}

/// What is gone of the pairs that come by.
pub(super) struct Known<'a> {
    pub(super) log: &'a Log,
    pub(super) pairs: HashMap<Pair, Gone>,
}

impl Known<'_> {
    pub(super) fn of(&mut self, pair: Pair) -> Result<Gone, StoreError> {
        Ok(match self.pairs.entry(pair) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(room) => *room.insert(reader::gone(self.log, pair)?),
        })
    }

    /// Takes the places of messages that are gone out of a commit; says whether others are
    /// left.
    pub(super) fn take_from(&mut self, commit: &mut CommitRecord) -> Result<bool, StoreError> {
        for place in &mut commit.entries {
            if let Some(entry) = place
                && entry.ordinal <= self.of(entry.pair)?.ordinal
            {
                *place = None;
            }
        }
        Ok(commit.entries.iter().any(Option::is_some))
    }
}
