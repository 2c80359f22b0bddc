//! A volume: the messages of a closed range of ids, in a file that never changes.
//!
//! The messages stand in the order of their keys, pair by pair, in blocks of some 16 KiB,
//! and behind them what the commits said of them. Every block carries a checksum that ties it
//! to its place. Which blocks there are stands at the end, and is all of a volume that is kept
//! in memory; where it stands is in the volume's row of the database. A file without a row is
//! nothing: what is to count is on the disk before its row is written.

#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sled::IVec;

pub(super) use self::write::Writing;
use super::codec::{Decoder, Encoder};
use super::keys::{self, Pair};
use super::record::CommitRecord;
use crate::ids::{Sender, UserId};
use crate::store::StoreError;

/// What the file begins with, for whoever looks into it.
const HEAD: &[u8] = b"imserver volume 1\n";

/// Layout versions of the parts.
const ROW: u8 = 1;
const BLOCK: u8 = 1;
const INDEX: u8 = 1;

/// Where the volumes of a store lie.
pub(super) fn folder(dir: &Path) -> PathBuf {
    dir.join("volumes")
}

/// What the database knows of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VolumeRow {
    /// The first id of the range.
    pub(super) first: u64,
    /// The last one.
    pub(super) last: u64,
    /// How often it was written: each time into a file of its own.
    pub(super) generation: u64,
    /// Messages in it, be they gone or not.
    pub(super) messages: u64,
    /// How many of them are gone.
    pub(super) dead: u64,
    /// Where the blocks end and the index begins.
    index: u64,
    /// The length of the file.
    pub(super) bytes: u64,
}

impl VolumeRow {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut value = Encoder::new(ROW, 32);
        for number in [self.last, self.generation, self.messages, self.dead, self.index, self.bytes]
        {
            value.number(number);
        }
        value.seal(&keys::volume(self.first))
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let first = keys::parse_volume(key)?.get();
        let mut read = Decoder::open(ROW, key, value)?;
        let row = Self {
            first,
            last: read.number()?,
            generation: read.number()?,
            messages: read.number()?,
            dead: read.number()?,
            index: read.number()?,
            bytes: read.number()?,
        };
        (read.at_end() && row.last >= first && row.dead <= row.messages).then_some(row)
    }

    /// The name of its file.
    pub(super) fn name(&self) -> String {
        format!("{:016x}-{}", self.first, self.generation)
    }
}

/// To which place of which file something belongs.
fn place(first: u64, generation: u64, at: u64) -> Vec<u8> {
    let mut key = keys::volume(first);
    key.extend_from_slice(&generation.to_be_bytes());
    key.extend_from_slice(&at.to_be_bytes());
    key
}

/// Where a block lies and what it begins with.
#[derive(Clone, Copy, Debug)]
struct Place<K> {
    first: K,
    at: u64,
    len: u64,
}

/// Why a volume is not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    /// The system does not let this process have it: of what is in it nothing is known.
    #[error("{}: {error}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is not what was written, or what names it is not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A message in a volume.
pub(super) type Held = (Pair, u64, IVec);

/// The block that was read last: whoever walks wants the next message of it.
type Latest<T> = Mutex<Option<(usize, Arc<Vec<T>>)>>;

/// An open volume.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) row: VolumeRow,
    path: PathBuf,
    file: File,
    messages: Vec<Place<(Pair, u64)>>,
    commits: Vec<Place<u64>>,
    latest: Latest<Held>,
    latest_commits: Latest<CommitRecord>,
}

impl Volume {
    /// Opens the file that `row` speaks of, below `folder`.
    ///
    /// # Errors
    /// Why it cannot be that file, or that nobody can say.
    pub(super) fn open(folder: &Path, row: VolumeRow) -> Result<Self, VolumeError> {
        let path = folder.join(row.name());
        let damaged = |what: String| StoreError::Damaged(format!("{}: {what}", path.display()));
        let refused = |error: io::Error| match error.kind() {
            // The file was on the disk before the row that names it.
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::UnexpectedEof => damaged(error.to_string()).into(),
            _ => VolumeError::System { path: path.clone(), error },
        };
        let file = File::open(&path).map_err(refused)?;
        let len = file.metadata().map_err(refused)?.len();
        let size = row.bytes.checked_sub(row.index).filter(|_| len == row.bytes);
        let size = size.and_then(|size| usize::try_from(size).ok());
        let size = size.ok_or_else(|| {
            damaged(format!("it has {len} bytes, but {} had been written", row.bytes))
        })?;
        let mut index = vec![0; size];
        file.read_exact_at(&mut index, row.index).map_err(refused)?;
        let Some((messages, commits)) = decode_index(&row, &index) else {
            return Err(damaged("its index is not whole".to_owned()).into());
        };
        let (latest, latest_commits) = (Latest::default(), Latest::default());
        Ok(Self { row, path, file, messages, commits, latest, latest_commits })
    }

    /// The first message of `pair` with one of `ids`.
    pub(super) fn next(
        &self,
        pair: Pair,
        ids: RangeInclusive<u64>,
    ) -> Result<Option<(u64, IVec)>, StoreError> {
        let (from, to) = ((pair, *ids.start()), (pair, *ids.end()));
        let begin = self.messages.partition_point(|block| block.first <= from).saturating_sub(1);
        for (number, place) in self.messages.iter().enumerate().skip(begin) {
            if number > begin && place.first > to {
                break;
            }
            let block = self.block(number)?;
            let at = block.partition_point(|&(pair, id, _)| (pair, id) < from);
            if let Some((pair, id, value)) = block.get(at) {
                return Ok(((*pair, *id) <= to).then(|| (*id, value.clone())));
            }
        }
        Ok(None)
    }

    /// The last message of `pair` with one of `ids`.
    pub(super) fn next_back(
        &self,
        pair: Pair,
        ids: RangeInclusive<u64>,
    ) -> Result<Option<(u64, IVec)>, StoreError> {
        let (from, to) = ((pair, *ids.start()), (pair, *ids.end()));
        let behind = self.messages.partition_point(|block| block.first <= to);
        let Some(number) = behind.checked_sub(1) else { return Ok(None) };
        let block = self.block(number)?;
        let at = block.partition_point(|&(pair, id, _)| (pair, id) <= to);
        let found = at.checked_sub(1).and_then(|at| block.get(at));
        let found = found.filter(|&&(pair, id, _)| (pair, id) >= from);
        Ok(found.map(|(_, id, value)| (*id, value.clone())))
    }

    /// How many blocks of messages there are.
    pub(super) fn blocks(&self) -> usize {
        self.messages.len()
    }

    /// The messages of a block, in the order of their keys.
    pub(super) fn block(&self, number: usize) -> Result<Arc<Vec<Held>>, StoreError> {
        read(&self.latest, number, || {
            let place = self.messages.get(number)?;
            let bytes = self.bytes(place.at, place.len)?;
            decode_messages(&place_of(&self.row, place.at), &bytes)
        })
        .ok_or_else(|| self.not_whole(self.messages.get(number).map(|place| place.at)))
    }

    /// How many blocks of commits there are.
    pub(super) fn commit_blocks(&self) -> usize {
        self.commits.len()
    }

    /// What a block says of commits.
    pub(super) fn commit_block(&self, number: usize) -> Result<Arc<Vec<CommitRecord>>, StoreError> {
        read(&self.latest_commits, number, || {
            let place = self.commits.get(number)?;
            let bytes = self.bytes(place.at, place.len)?;
            decode_commits(&place_of(&self.row, place.at), &bytes)
        })
        .ok_or_else(|| self.not_whole(self.commits.get(number).map(|place| place.at)))
    }

    /// The last commit that begins with `id` or before it.
    pub(super) fn commit_before(&self, id: u64) -> Result<Option<CommitRecord>, StoreError> {
        let behind = self.commits.partition_point(|block| block.first <= id);
        let Some(number) = behind.checked_sub(1) else { return Ok(None) };
        let block = self.commit_block(number)?;
        let at = block.partition_point(|commit| commit.first.get() <= id);
        Ok(at.checked_sub(1).and_then(|at| block.get(at)).cloned())
    }

    /// The first commit that begins with `id` or behind it.
    pub(super) fn commit_from(&self, id: u64) -> Result<Option<CommitRecord>, StoreError> {
        let begin = self.commits.partition_point(|block| block.first <= id).saturating_sub(1);
        for number in begin..self.commits.len() {
            let block = self.commit_block(number)?;
            let at = block.partition_point(|commit| commit.first.get() < id);
            if let Some(commit) = block.get(at) {
                return Ok(Some(commit.clone()));
            }
        }
        Ok(None)
    }

    fn bytes(&self, at: u64, len: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    fn not_whole(&self, at: Option<u64>) -> StoreError {
        let at = at.unwrap_or_default();
        StoreError::Damaged(format!("{}: what lies at {at} is not whole", self.path.display()))
    }

    /// Removes the file; whoever has it open keeps it.
    pub(super) fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

fn place_of(row: &VolumeRow, at: u64) -> Vec<u8> {
    place(row.first, row.generation, at)
}

/// Gives the block `number`, which mostly is the one that was read last.
fn read<T>(
    latest: &Latest<T>,
    number: usize,
    read: impl FnOnce() -> Option<Vec<T>>,
) -> Option<Arc<Vec<T>>> {
    // What lies under the lock is never half done.
    let known = latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, block)) = known.filter(|(known, _)| *known == number) {
        return Some(block);
    }
    let block = Arc::new(read()?);
    let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
    *latest = Some((number, Arc::clone(&block)));
    Some(block)
}

type Places = (Vec<Place<(Pair, u64)>>, Vec<Place<u64>>);

fn decode_index(row: &VolumeRow, index: &[u8]) -> Option<Places> {
    let key = place_of(row, row.index);
    let mut read = Decoder::open(INDEX, &key, index)?;
    let mut at = HEAD.len() as u64;
    let (mut messages, mut commits) = (Vec::new(), Vec::new());
    for _ in 0..read.number()? {
        let (to, from) = (UserId::new(read.number()?)?, Sender::new(read.number()?)?);
        let first = (Pair { to, from }, read.number()?);
        let len = read.number()?;
        messages.push(Place { first, at, len });
        at = at.checked_add(len)?;
    }
    for _ in 0..read.number()? {
        let (first, len) = (read.number()?, read.number()?);
        commits.push(Place { first, at, len });
        at = at.checked_add(len)?;
    }
    (read.at_end() && at == row.index).then_some((messages, commits))
}

fn decode_messages(key: &[u8], bytes: &[u8]) -> Option<Vec<Held>> {
    let whole = IVec::from(bytes);
    let mut read = Decoder::open(BLOCK, key, bytes)?;
    let mut held = Vec::new();
    while !read.at_end() {
        let (to, from) = (UserId::new(read.number()?)?, Sender::new(read.number()?)?);
        let (id, len) = (read.number()?, read.number()?);
        // Behind what is left there is only the checksum.
        let at = bytes.len().checked_sub(read.left() + Decoder::CHECKSUM)?;
        let len = read.bytes(len)?.len();
        held.push((Pair { to, from }, id, whole.subslice(at, len)));
    }
    Some(held)
}

fn decode_commits(key: &[u8], bytes: &[u8]) -> Option<Vec<CommitRecord>> {
    let mut read = Decoder::open(BLOCK, key, bytes)?;
    let mut commits = Vec::new();
    while !read.at_end() {
        let (first, len) = (read.number()?, read.number()?);
        commits.push(CommitRecord::decode(&keys::commit(first), read.bytes(len)?)?);
    }
    Some(commits)
}
