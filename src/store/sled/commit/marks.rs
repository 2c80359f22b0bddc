//! The part of a commit by which messages are marked read.

use std::collections::hash_map::Entry;

use super::{Answer, Commit, Reply};
use crate::ids::{ConnectionId, UserId};
use crate::store::sled::keys::{self, Pair};
use crate::store::sled::log::Log;
use crate::store::sled::read_state::{ReadState, encode_floor, encode_islands};
use crate::store::sled::reader::{self, Mark};
use crate::store::{ReadReceipt, StoreError};

impl Commit<'_> {
    /// Adds read flags; `marks` are sorted by sender and ordinal. Those that are new
    /// become a receipt for each sender.
    pub(in super::super) fn mark_read(
        &mut self,
        reader: UserId,
        marks: &[Mark],
        origin: Option<ConnectionId>,
        reply: Reply<()>,
    ) -> Result<(), StoreError> {
        // Counted before the marks of this group, which the tree does not show yet.
        self.books.inbox(reader)?;
        let mut newly: Vec<Mark> = Vec::new();
        for &mark in marks {
            let pair = Pair { to: reader, from: mark.from };
            let (state, log) = self.read_state(pair)?;
            let load = |chunk| reader::islands(log, pair, chunk);
            if state.mark(mark.ordinal, mark.id.get(), load)? {
                newly.push(mark);
            }
        }
        for of_one in newly.chunk_by(|a, b| a.from == b.from) {
            let ids = of_one.iter().map(|mark| mark.id).collect();
            if let Some(&Mark { from, .. }) = of_one.first() {
                self.receipts.push(ReadReceipt { reader, from, ids, origin });
            }
        }
        let count = newly.len() as u64;
        self.books.read(reader, count);
        self.newly_read += count;
        self.answers.push(Answer::Done(reply));
        Ok(())
    }

    /// The read state of a pair as this commit leaves it, and where its chunks lie.
    pub(super) fn read_state(&mut self, pair: Pair) -> Result<(&mut ReadState, &Log), StoreError> {
        let log = &self.books.log;
        let state = match self.reads.entry(pair) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(room) => {
                let floor = reader::floor(log, pair)?;
                room.insert(ReadState { floor, ..ReadState::default() })
            }
        };
        Ok((state, log))
    }

    /// Adds the rows of the read states that were touched.
    pub(super) fn write_read_states(&mut self) {
        for (pair, state) in std::mem::take(&mut self.reads) {
            let key = keys::read(pair);
            let value = encode_floor(&key, state.floor);
            self.insert(key, value);
            if !state.touched.is_empty() {
                // A floor belongs to the islands beyond it.
                self.rows.show_at_once();
            }
            for &chunk in &state.touched {
                let key = keys::read_chunk(pair, chunk);
                match state.chunks.get(&chunk).filter(|islands| !islands.is_empty()) {
                    Some(islands) => {
                        let value = encode_islands(&key, chunk, islands);
                        self.insert(key, value);
                    }
                    None => self.delete(key),
                }
            }
        }
    }
}
