//! What is told of what the streams take in, once it is its turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::log::Pair;
use super::names::Names;
use super::raw::Raw;
use super::read_state::ReadState;
use super::record::Kept;
use super::revoked;
use super::shared::Shared;
use crate::ids::{Sender, UserId};
use crate::message::Profile;
use crate::store::{Announcement, Cursor, Entry, ReadReceipt, Stored};

/// What was heard and is told at once.
pub(super) const BATCH: usize = 256;

/// Inboxes whose last message is kept in mind; past it all are forgotten.
const INBOXES: usize = 200_000;

/// How long the name of a sender is waited for whom this node does not know: until the second
/// try of a question. Everybody's messages wait for it.
const NAME: Duration = Duration::from_millis(500);

/// For how long no name is asked for after one that did not come: its leader hangs, and would
/// be waited for with the message of every stranger.
const NAMELESS: Duration = Duration::from_secs(2);

/// Keeps in mind what is known by what was heard, and tells of it.
pub(super) struct Telling {
    shared: Arc<Shared>,
    latest: Latest,
    /// Until when no name is asked for.
    nameless_until: Option<Instant>,
    announce: mpsc::Sender<Vec<Announcement>>,
    batch: Vec<Announcement>,
}

/// The last message of each inbox that was told.
#[derive(Default)]
struct Latest(HashMap<UserId, Cursor>);

impl Telling {
    pub(super) fn new(shared: &Arc<Shared>, announce: mpsc::Sender<Vec<Announcement>>) -> Self {
        let (latest, batch) = (Latest::default(), Vec::new());
        Self { shared: Arc::clone(shared), latest, nameless_until: None, announce, batch }
    }

    /// Whether so much waits that it should be told now.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len() >= BATCH
    }

    /// Tells what waits.
    pub(super) async fn tell(&mut self) {
        if !self.batch.is_empty() {
            // Nobody listening is no fault.
            let _ = self.announce.send(std::mem::take(&mut self.batch)).await;
        }
    }

    /// There is a message.
    pub(super) async fn message(&mut self, part: u64, raw: &Raw) {
        let shared = &self.shared;
        let kept = match Kept::parse(&shared.log.names, part, raw) {
            Ok(kept) => kept,
            Err(error) => return error!(%error, "a message is not understood"),
        };
        let (to, from, ordinal) = (kept.message.to, kept.message.from, kept.chain.ordinal);
        shared.tallies.stored(to, from, ordinal);
        shared.clock.heard(Pair { to, from }, kept.message.stored_at);
        shared.lately.heard(part, raw.seq, (Pair { to, from }, ordinal));
        if let Some(name) = &kept.client_id {
            shared.claims.heard(from, name, to, kept.message.stored_at);
        }
        let previous = self.latest.replace(to, kept.message.id.into());
        let origin = kept.origin;
        let sender = self.sender(from).await;
        let entry = Entry { message: kept.message, sender, client_id: kept.client_id };
        let stored = Stored { entry: Arc::new(entry), previous, origin };
        self.batch.push(Announcement::Stored(stored));
    }

    /// Something of a partition was passed over, because nothing lies there: whoever follows
    /// one of its inboxes looks for themselves whether that is so.
    pub(super) fn passed_over(&mut self, part: u64) {
        self.latest.forget(&self.shared.log.names, part);
    }

    /// Somebody has read something: of whom, and all that they have.
    pub(super) fn state(&self, raw: &Raw) -> Option<(Pair, ReadState)> {
        let parsed = Names::pair(&raw.subject).zip(ReadState::parse(&raw.payload).ok());
        let Some(((to, from), state)) = parsed else {
            error!(subject = raw.subject, "a read state is not understood");
            return None;
        };
        let pair = Pair { to, from };
        self.shared.tallies.marked(to, from, &state);
        self.shared.states.heard(pair, raw.seq, &state);
        Some((pair, state))
    }

    /// Tells what of it is new, once the messages themselves were told.
    pub(super) fn receipt(&mut self, part: u64, Pair { to, from }: Pair, state: &ReadState) {
        let names = &self.shared.log.names;
        let ids = state.news.iter().filter_map(|seq| names.id(part, *seq)).collect();
        let receipt = ReadReceipt { reader: to, from, ids, origin: state.origin };
        self.batch.push(Announcement::Read(receipt));
    }

    /// Something was taken back.
    pub(super) fn revocation(&mut self, raw: &Raw) {
        match revoked::announced(raw) {
            Ok(news) => self.batch.extend(news),
            Err(error) => error!(%error, "a revocation is not understood"),
        }
    }

    /// What is known of who sent something. A name that cannot be had now is had by whoever
    /// reads the message.
    async fn sender(&mut self, from: Sender) -> Arc<Profile> {
        if let Some(known) = self.shared.known_profile(from) {
            return known;
        }
        if self.nameless_until.is_some_and(|until| Instant::now() < until) {
            return Arc::default();
        }
        let asked = timeout(NAME, self.shared.profile(from)).await;
        asked.ok().and_then(Result::ok).unwrap_or_else(|| {
            self.nameless_until = Some(Instant::now() + NAMELESS);
            Arc::default()
        })
    }
}

impl Latest {
    /// Takes note of a message, and gives the one before it where that is known.
    fn replace(&mut self, inbox: UserId, id: Cursor) -> Option<Cursor> {
        if self.0.len() >= INBOXES {
            self.0.clear();
        }
        self.0.insert(inbox, id)
    }

    /// Forgets the inboxes of a partition.
    fn forget(&mut self, names: &Names, part: u64) {
        self.0.retain(|inbox, _| names.part(*inbox) != part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_what_was_passed_over_nobody_is_told_what_came_before() {
        let (names, mut latest) = (Names::new("im", 3), Latest::default());
        let inboxes = [1, 2, 3, 4].map(|id| UserId::new(id).unwrap());
        assert!(inboxes.iter().all(|inbox| latest.replace(*inbox, Cursor(5)).is_none()));
        let part = names.part(inboxes[0]);
        latest.forget(&names, part);
        let known = inboxes.map(|inbox| latest.replace(inbox, Cursor(9)));
        assert_eq!(known, inboxes.map(|inbox| (names.part(inbox) != part).then_some(Cursor(5))));
        assert!(known.iter().any(Option::is_some), "the others are");
        assert_eq!(latest.replace(inboxes[0], Cursor(12)), Some(Cursor(9)));
    }
}
