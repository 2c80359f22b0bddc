//! Writing a volume, from its first message to its index.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::super::codec::Encoder;
use super::super::keys::{self, Pair};
use super::super::manifest;
use super::super::record::CommitRecord;
use super::{BLOCK, HEAD, INDEX, VolumeRow, place};

/// Bytes of a block, about: what is read for a single message.
const BLOCK_BYTES: usize = 16 << 10;

/// A volume while it is written. Messages come in the order of their keys, then commits.
#[derive(Debug)]
pub(in super::super) struct Writing {
    file: BufWriter<File>,
    first: u64,
    generation: u64,
    at: u64,
    block: Encoder,
    /// What the block begins with.
    begun: Option<Begin>,
    messages: Vec<([u64; 3], u64)>,
    commits: Vec<(u64, u64)>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
enum Begin {
    Message([u64; 3]),
    Commit(u64),
}

impl Writing {
    /// Begins the volume of the ids from `first` on, in a file below `folder` that no row
    /// names yet.
    pub(in super::super) fn begin(folder: &Path, first: u64, generation: u64) -> io::Result<Self> {
        if !folder.exists() {
            DirBuilder::new().mode(0o700).create(folder)?;
            folder.parent().map_or(Ok(()), manifest::sync_dir)?;
        }
        let row =
            VolumeRow { first, last: first, generation, messages: 0, dead: 0, index: 0, bytes: 0 };
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = BufWriter::new(file.open(folder.join(row.name()))?);
        file.write_all(HEAD)?;
        Ok(Self {
            file,
            first,
            generation,
            at: HEAD.len() as u64,
            block: Encoder::new(BLOCK, BLOCK_BYTES),
            begun: None,
            messages: Vec::new(),
            commits: Vec::new(),
            count: 0,
        })
    }

    /// Adds a message: its pair, its id, and the value as it lies in the log.
    pub(in super::super) fn message(
        &mut self,
        pair: Pair,
        id: u64,
        value: &[u8],
    ) -> io::Result<()> {
        let numbers = [pair.to.get(), pair.from.get(), id];
        self.begun.get_or_insert(Begin::Message(numbers));
        for number in numbers {
            self.block.number(number);
        }
        self.block.number(value.len() as u64).bytes(value);
        self.count += 1;
        self.end_if_full()
    }

    /// Adds a commit, all messages having been added.
    pub(in super::super) fn commit(&mut self, commit: &CommitRecord) -> io::Result<()> {
        if matches!(self.begun, Some(Begin::Message(_))) {
            self.end_block()?;
        }
        let first = commit.first.get();
        let value = commit.encode(&keys::commit(first));
        self.begun.get_or_insert(Begin::Commit(first));
        self.block.number(first).number(value.len() as u64).bytes(&value);
        self.end_if_full()
    }

    fn end_if_full(&mut self) -> io::Result<()> {
        if self.block.len() < BLOCK_BYTES { Ok(()) } else { self.end_block() }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let Some(begun) = self.begun.take() else { return Ok(()) };
        let block = std::mem::replace(&mut self.block, Encoder::new(BLOCK, BLOCK_BYTES));
        let block = block.seal(&place(self.first, self.generation, self.at));
        self.file.write_all(&block)?;
        let len = block.len() as u64;
        match begun {
            Begin::Message(numbers) => self.messages.push((numbers, len)),
            Begin::Commit(first) => self.commits.push((first, len)),
        }
        self.at += len;
        Ok(())
    }

    /// Ends the volume with the id `last` and brings it to the disk; gives the row that makes
    /// it count.
    pub(in super::super) fn finish(mut self, folder: &Path, last: u64) -> io::Result<VolumeRow> {
        self.end_block()?;
        let mut index = Encoder::new(INDEX, self.messages.len() * 16);
        index.number(self.messages.len() as u64);
        for (numbers, len) in &self.messages {
            for &number in numbers {
                index.number(number);
            }
            index.number(*len);
        }
        index.number(self.commits.len() as u64);
        for &(first, len) in &self.commits {
            index.number(first).number(len);
        }
        let index = index.seal(&place(self.first, self.generation, self.at));
        self.file.write_all(&index)?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        manifest::sync_dir(folder)?;
        let bytes = self.at + index.len() as u64;
        let (first, generation, messages) = (self.first, self.generation, self.count);
        Ok(VolumeRow { first, last, generation, messages, dead: 0, index: self.at, bytes })
    }
}
