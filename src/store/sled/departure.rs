//! A store that nobody has open, read by somebody who takes everything along to another one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::aside::Aside;
use super::export;
use super::folder;
use super::keys::Pair;
use super::reader;
use super::record::ResendMark;
use super::refusal::OpenError;
use crate::ids::{MessageId, Sender, UserId};
use crate::message::StoredAt;
use crate::store::{PacketDigest, Record, StoreError};

/// A whole store, in a copy of its database: nothing of it is touched, and no server can
/// begin to write to it.
#[derive(Debug)]
pub struct Departure {
    aside: Aside,
    dir: PathBuf,
}

impl Departure {
    /// Opens the store in `dir` to be read: every row of it is counted first.
    ///
    /// # Errors
    /// What is in the way, or does not fit; the directory is left as it was.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        folder::must_exist(dir)?;
        let aside = Aside::open(dir, cache_bytes)?;
        Ok(Self { aside, dir: dir.to_owned() })
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The highest id that was given or passed over; 0: none.
    pub fn last_id(&self) -> u64 {
        self.aside.census.last_id
    }

    /// Up to which id they had lapsed before they came here.
    pub fn lapsed(&self) -> u64 {
        self.aside.log.lapsed
    }

    /// How many messages there are.
    pub fn messages(&self) -> u64 {
        self.aside.census.kept()
    }

    /// Gives everything as an export does: profiles, revocations, what is gone, then
    /// messages by id. Every block is read, and checked as it is.
    ///
    /// # Errors
    /// Those of `take`, and what cannot be read.
    pub fn walk<E: From<StoreError>>(
        &self,
        take: &mut impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        export::all(&self.aside.log, u64::MAX, take)
    }

    /// What a reader has read of a peer: ordinals, as ranges that rise.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read_of(&self, reader: UserId, peer: Sender) -> Result<Vec<(u64, u64)>, StoreError> {
        let state = reader::read_state(&self.aside.log, Pair { to: reader, from: peer })?;
        let floor = (state.floor.ordinal > 0).then_some((1, state.floor.ordinal));
        let islands = state.chunks.values().flatten().map(|island| (island.first, island.last));
        Ok(floor.into_iter().chain(islands).collect())
    }

    /// By what a packet without a name is known again, of the messages that are not older
    /// than `window`.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn packets(
        &self,
        window: Duration,
    ) -> Result<HashMap<MessageId, PacketDigest>, StoreError> {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let since = StoredAt(StoredAt::now().0.saturating_sub(window));
        let mut packets = HashMap::new();
        for commit in reader::commits(&self.aside.log, 0).rev() {
            let commit = commit?;
            if commit.stored_at < since {
                break;
            }
            for (entry, id) in commit.entries.iter().zip(commit.first.get()..) {
                if let Some(ResendMark::Packet(digest)) = entry.as_ref().map(|entry| entry.resend)
                    && let Some(id) = MessageId::new(id)
                {
                    packets.insert(id, PacketDigest(digest));
                }
            }
        }
        Ok(packets)
    }

    /// Users whose erasure was cut short, and the last message that it is about.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn erasures(&self) -> Result<Vec<(UserId, u64)>, StoreError> {
        let begun = reader::erasures(&self.aside.log)?.into_iter();
        Ok(begun.map(|(user, erasure)| (user, erasure.up_to)).collect())
    }
}
