//! A consistent cut of a store that goes on being written.
//!
//! Walking sled's tree is no snapshot: rows come and change meanwhile. The cut is made by
//! what only grows. *First* the read flags, which name only messages that were durable;
//! *then* the watermark, which is the end of a commit; *then* everything else as far as
//! it belongs to messages up to there, and these never change. Only removal takes
//! something away, so it is held off meanwhile ([`Shared::hold_still`]).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::gone::Gone;
use super::super::keys::{self, Pair};
use super::super::log::Log;
use super::super::names::Names;
use super::super::packer::Known;
use super::super::read_state::{encode_floor, encode_islands};
use super::super::reader;
use super::super::record::{CommitRecord, LogPiece, ROWS_VERSION, decode_profile};
use super::super::revoked::{self, Tally};
use super::super::shared::Shared;
use super::super::stream::{Line, Stop};
use super::format::{Framer, Header};
use super::{LOG, TORN, is_companion};
use crate::message::StoredAt;
use crate::store::StoreError;

/// While messages are written, the copy rests this many times as long as it works: what
/// it takes of the processor and the disk, the writer does not have.
const REST: u32 = 8;

/// The longest it rests at once: a stall of the disk is no reason to sleep.
const REST_MAX: Duration = Duration::from_millis(100);

/// How much of the log goes into a frame.
const PIECE: usize = 64 << 10;

/// Copies the store into `out`, and what lies beside it in `dir`.
pub(super) fn copy(shared: &Shared, dir: &Path, out: &Line<Bytes>) -> Result<(), Stop> {
    let suspensions = shared.suspensions();
    let log = &shared.log()?;
    let made = StoredAt::now().0;
    let header = Header { layout: ROWS_VERSION, made, messages: shared.messages() };
    let (framer, begin) = Framer::begin(&header);
    let mut copy = Copy { log, shared, framer, out, end: 0, seen: 0, since: Instant::now() };
    copy.send(begin)?;
    copy.read_flags()?;
    copy.end = shared.head().get();
    let messages = copy.rows()?;
    if shared.suspensions() != suspensions {
        // The watermark may be one of the tree that took the place of this one.
        return Err(StoreError::Unavailable.into());
    }
    copy.audit(&dir.join(LOG))?;
    // Behind the log: what a line of it names is there.
    copy.torn(dir)?;
    out.send(Ok(copy.framer.end(copy.end, messages)))
}

struct Copy<'a> {
    log: &'a Log,
    shared: &'a Shared,
    framer: Framer,
    out: &'a Line<Bytes>,
    /// The watermark of the cut.
    end: u64,
    /// The watermark when the last frame was sent.
    seen: u64,
    since: Instant,
}

/// What becomes of a row.
enum Fate {
    Copied,
    /// A revocation, which is counted.
    Revocation,
    /// It belongs to what came behind the cut, or to this layout alone.
    LeftOut,
}

impl Copy<'_> {
    /// The flags of one pair after another, each as they were at one moment.
    fn read_flags(&mut self) -> Result<(), Stop> {
        let mut from = keys::READ.to_vec();
        loop {
            let behind = keys::read_end();
            let Some(row) = self.log.range(from..behind).next() else {
                return Ok(());
            };
            let (key, _) = row.map_err(reader::unreadable)?;
            let (pair, _) =
                keys::parse_read(&key).ok_or_else(|| reader::not_whole("read", &key))?;
            let mut state = reader::read_state(self.log, pair)?;
            // Islands may have come since the floor was read, which counts them.
            let islands = state.chunks.values().flatten();
            state.floor.beyond = islands.map(|island| island.last - island.first + 1).sum();
            let key = keys::read(pair);
            self.row(&key, &encode_floor(&key, state.floor))?;
            for (chunk, islands) in state.chunks.iter().filter(|(_, found)| !found.is_empty()) {
                let key = keys::read_chunk(pair, *chunk);
                self.row(&key, &encode_islands(&key, *chunk, islands))?;
            }
            from = keys::read_chunk(pair, u64::MAX);
        }
    }

    /// Everything else; gives how many messages that is.
    ///
    /// A backup holds a row for each message and for each commit, whatever the layout of the
    /// store: neither is to be younger than the other.
    fn rows(&mut self) -> Result<u64, Stop> {
        let mut revoked = 0;
        for row in self.log.iter() {
            let (key, value) = row.map_err(reader::unreadable)?;
            match self.fate(&key, &value)? {
                Fate::LeftOut => continue,
                Fate::Revocation => revoked += 1,
                Fate::Copied => {}
            }
            self.row(&key, &value)?;
        }
        let decrees = Tally::read(self.log).map_err(StoreError::Damaged)?.decrees;
        if decrees > 0 {
            // As many as were copied: their own count may be of another moment.
            let tally = Tally { rows: revoked, decrees };
            self.row(keys::REVOCATIONS, &tally.encode())?;
        }
        let (messages, committed) = self.messages()?;
        match messages == committed {
            true => Ok(messages),
            false => Err(StoreError::Damaged(format!(
                "the commits up to message {} name {committed} messages, but {messages} are there",
                self.end
            ))
            .into()),
        }
    }

    /// The messages and the commits, from volumes and from the log: how many are there, and
    /// how many are named.
    fn messages(&mut self) -> Result<(u64, u64), Stop> {
        let (mut messages, mut committed) = (0, 0);
        let log = self.log;
        let mut gone = Known { log, pairs: HashMap::new() };
        let packed_up_to = log.shelf.packed_up_to();
        for volume in log.shelf.volumes().iter().filter(|volume| volume.row.last <= packed_up_to) {
            for number in 0..volume.blocks() {
                for (pair, id, value) in volume.block(number)?.iter() {
                    if *id > gone.of(*pair)?.id {
                        self.row(&keys::message(*pair, *id), value)?;
                        messages += 1;
                    }
                }
            }
            for number in 0..volume.commit_blocks() {
                for commit in volume.commit_block(number)?.iter() {
                    let mut commit = commit.clone();
                    if gone.take_from(&mut commit)? {
                        committed += self.commit(&commit)?;
                    }
                }
            }
        }
        for row in log.range(keys::commit(packed_up_to + 1)..=keys::commit(u64::MAX)) {
            let (key, value) = row.map_err(reader::unreadable)?;
            let commit = CommitRecord::decode(&key, &value)
                .ok_or_else(|| reader::not_whole("commit", &key))?;
            if commit.last() > self.end {
                break;
            }
            let piece =
                LogPiece::decode(&key, &value).ok_or_else(|| reader::not_whole("commit", &key))?;
            for (pair, id, value) in piece.messages() {
                self.row(&keys::message(pair, id), value)?;
                messages += 1;
            }
            committed += self.commit(&commit)?;
        }
        Ok((messages, committed))
    }

    /// A commit as a row of its own; gives how many messages it names.
    fn commit(&mut self, commit: &CommitRecord) -> Result<u64, Stop> {
        let key = keys::commit(commit.first.get());
        self.row(&key, &commit.encode(&key))?;
        Ok(commit.messages())
    }

    /// Decides about a row, and sees that it is whole.
    fn fate(&self, key: &[u8], value: &[u8]) -> Result<Fate, StoreError> {
        let of = |id: u64, fate: Fate| if id <= self.end { fate } else { Fate::LeftOut };
        Ok(match key.first_chunk::<1>().unwrap_or(&[0]).as_slice() {
            // Copied before, or written anew where the backup is restored.
            keys::READ | keys::SCHEMA => Fate::LeftOut,
            // What they hold is copied behind all this.
            keys::COMMITS | keys::VOLUMES | keys::PACKED => Fate::LeftOut,
            keys::NAMES => {
                let names =
                    Names::decode(key, value).ok_or_else(|| reader::not_whole("name", key))?;
                of(names.last.get(), Fate::Copied)
            }
            keys::PEERS => {
                let (user, peer) =
                    keys::parse_peer(key).ok_or_else(|| reader::not_whole("peer", key))?;
                match self.any_begun(&reader::pairs(user, peer))? {
                    true => Fate::Copied,
                    false => Fate::LeftOut,
                }
            }
            keys::PROFILES => {
                decode_profile(key, value).ok_or_else(|| reader::not_whole("profile", key))?;
                Fate::Copied
            }
            keys::REVOCATIONS if key == keys::REVOCATIONS => Fate::LeftOut,
            keys::REVOCATIONS => {
                revoked::decode(key, value).ok_or_else(|| reader::not_whole("revocation", key))?;
                Fate::Revocation
            }
            keys::GONE => {
                Gone::decode(key, value).ok_or_else(|| reader::not_whole("gone", key))?;
                Fate::Copied
            }
            _ => Fate::Copied,
        })
    }

    /// Whether one of them has a message of the cut, or had one that is gone.
    fn any_begun(&self, pairs: &[Pair]) -> Result<bool, StoreError> {
        for &pair in pairs {
            // What leaves the log meanwhile is packed before.
            if self.log.hot.next(pair, 0..=self.end).is_some()
                || reader::packed(self.log, pair)?.last(self.end).id > 0
            {
                return Ok(true);
            }
            if reader::gone(self.log, pair)?.ordinal > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What there is of the log, up to the end of a line.
    fn audit(&mut self, path: &Path) -> Result<(), Stop> {
        let unreadable = |error| unreadable(path, &error);
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(unreadable)?,
        };
        let mut held = Vec::new();
        loop {
            let read = file.by_ref().take(PIECE as u64).read_to_end(&mut held);
            let at_end = read.map_err(unreadable)? == 0;
            // A line that is being written is not there yet.
            let lines = held.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let rest = held.split_off(lines);
            if !held.is_empty() {
                let frame = self.framer.file(LOG, &held);
                self.send(frame)?;
            }
            held = rest;
            if at_end {
                return Ok(());
            }
        }
    }

    /// What power cuts left of lines of the log: each less than a line.
    fn torn(&mut self, dir: &Path) -> Result<(), Stop> {
        for entry in fs::read_dir(dir).map_err(|error| unreadable(dir, &error))? {
            let entry = entry.map_err(|error| unreadable(dir, &error))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !name.starts_with(TORN) || !is_companion(&name) {
                continue;
            }
            let bytes =
                fs::read(entry.path()).map_err(|error| unreadable(&entry.path(), &error))?;
            let frame = self.framer.file(&name, &bytes);
            self.send(frame)?;
        }
        Ok(())
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        match self.framer.row(key, value) {
            Some(frame) => self.send(frame),
            None => Ok(()),
        }
    }

    /// Hands a frame over, and rests where somebody else has something to do.
    fn send(&mut self, frame: Bytes) -> Result<(), Stop> {
        let worked = self.since.elapsed();
        self.out.send(Ok(frame))?;
        let head = self.shared.head().get();
        if head != self.seen {
            std::thread::sleep(worked.saturating_mul(REST).min(REST_MAX));
        }
        self.seen = head;
        self.since = Instant::now();
        Ok(())
    }
}

/// No backup is whole without the files beside the database.
fn unreadable(path: &Path, error: &io::Error) -> Stop {
    Stop::Beside(StoreError::Damaged(format!("{} cannot be read: {error}", path.display())))
}
