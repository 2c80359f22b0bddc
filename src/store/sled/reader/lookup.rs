//! Single things: who wrote with whom, what is known of somebody, where a message lies.

use std::sync::Arc;

use sled::{IVec, Tree};

use super::super::keys;
use super::super::log::Log;
use super::super::record::{CommitRecord, MessageRecord, decode_profile};
use super::{Result, not_whole, row, unreadable};
use crate::ids::{MessageId, Sender, UserId};
use crate::message::Profile;

/// Everybody who has a conversation with `user`.
pub(in super::super) fn peers(tree: &Tree, user: UserId) -> impl Iterator<Item = Result<Sender>> {
    tree.scan_prefix(keys::peers_of(user)).map(|row| {
        let (key, _) = row.map_err(unreadable)?;
        keys::parse_peer(&key).map(|(_, peer)| peer).ok_or_else(|| not_whole("peer", &key))
    })
}

/// What is known of a sender; empty for the system and for strangers.
pub(in super::super) fn profile(tree: &Tree, sender: Sender) -> Result<Arc<Profile>> {
    let Sender::User(user) = sender else {
        return Ok(Arc::default());
    };
    let key = keys::profile(user);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => {
            let profile = decode_profile(&key, &value).ok_or_else(|| not_whole("profile", &key))?;
            Ok(Arc::new(profile))
        }
        None => Ok(Arc::default()),
    }
}

/// The commits from that of the message `first` on, oldest first.
pub(in super::super) fn commits(log: &Log, first: u64) -> Commits {
    Commits { log: log.clone(), from: first, to: u64::MAX }
}

/// A walk through commits, from either end, while some may go from the log into a volume,
/// as with [`Rows`].
///
/// [`Rows`]: super::Rows
pub(in super::super) struct Commits {
    log: Log,
    from: u64,
    to: u64,
}

impl Commits {
    fn step(&mut self) -> Result<Option<CommitRecord>> {
        if self.from > self.to {
            return Ok(None);
        }
        loop {
            let end = self.log.shelf.packed_up_to();
            if self.from <= end
                && let Some(commit) = self.packed()?
            {
                return Ok(self.take(Some(commit)));
            }
            // What volumes hold may still lie in the log.
            let from = self.from.max(end + 1);
            let found = match from <= self.to {
                true => self.log.range(keys::commit(from)..=keys::commit(self.to)).next(),
                false => None,
            };
            let found = found.map(decode).transpose()?;
            if self.log.shelf.packed_up_to() == end {
                return Ok(self.take(found));
            }
        }
    }

    /// The next commit that lies in a volume.
    fn packed(&self) -> Result<Option<CommitRecord>> {
        let volumes = self.log.shelf.volumes();
        let behind = volumes.partition_point(|volume| volume.row.last < self.from);
        for volume in volumes.iter().skip(behind) {
            if let Some(commit) = volume.commit_from(self.from)? {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }

    fn take(&mut self, found: Option<CommitRecord>) -> Option<CommitRecord> {
        let found = found.filter(|commit| commit.first.get() <= self.to);
        self.from = found.as_ref().map_or(u64::MAX, |commit| commit.last() + 1);
        if found.is_none() {
            self.to = 0;
        }
        found
    }

    fn step_back(&mut self) -> Result<Option<CommitRecord>> {
        if self.from > self.to {
            return Ok(None);
        }
        let found = self.log.range(keys::commit(self.from)..=keys::commit(self.to)).next_back();
        let found = found.map(decode).transpose()?;
        let end = self.log.shelf.packed_up_to();
        let mut found = found.filter(|commit| commit.first.get() > end);
        if found.is_none() {
            let volumes = self.log.shelf.volumes();
            for volume in volumes.iter().rev().filter(|volume| volume.row.first <= self.to) {
                found = volume.commit_before(self.to)?;
                if found.is_some() {
                    break;
                }
            }
        }
        let found = found.filter(|commit| commit.first.get() >= self.from);
        self.to = found.as_ref().map_or(0, |commit| commit.first.get() - 1);
        if found.is_none() {
            self.from = u64::MAX;
        }
        Ok(found)
    }
}

impl Iterator for Commits {
    type Item = Result<CommitRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl DoubleEndedIterator for Commits {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step_back().transpose()
    }
}

fn decode(row: sled::Result<(IVec, IVec)>) -> Result<CommitRecord> {
    let (key, value) = row.map_err(unreadable)?;
    CommitRecord::decode(&key, &value).ok_or_else(|| not_whole("commit", &key))
}

/// The commit that may hold `id`.
pub(in super::super) fn commit(log: &Log, id: MessageId) -> Result<Option<CommitRecord>> {
    let found = log.range(keys::commit(0)..=keys::commit(id.get())).next_back();
    if id.get() <= log.shelf.packed_up_to() {
        let volume = log.shelf.holding(id.get());
        return Ok(volume.map(|volume| volume.commit_before(id.get())).transpose()?.flatten());
    }
    found.map(decode).transpose()
}

/// The message `id`, wherever it lies; nothing where it is gone.
pub(in super::super) fn message(log: &Log, id: MessageId) -> Result<Option<MessageRecord>> {
    let commit = commit(log, id)?;
    let Some(entry) = commit.as_ref().and_then(|commit| commit.entry(id)) else {
        return Ok(None);
    };
    row(log, entry.pair, id.get())?.map(|row| row.record()).transpose()
}
