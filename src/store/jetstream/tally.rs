//! How many unread messages the inboxes have that are being written to.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::names::Names;
use super::read_state::ReadState;
use crate::ids::{Sender, UserId};

/// Inboxes that are kept in mind; past it all are counted anew.
const INBOXES: usize = 20_000;

/// Counts by inbox. What is not here is counted from the streams when it is asked for.
///
/// Fed by what every node hears, so that it holds what others write and mark too.
#[derive(Default)]
pub(super) struct Tallies(Mutex<HashMap<UserId, Tally>>);

/// One inbox.
#[derive(Default)]
struct Tally {
    /// Everything from before has been counted.
    whole: bool,
    peers: HashMap<Sender, Peer>,
    unread: u64,
}

#[derive(Default)]
struct Peer {
    /// The newest ordinal.
    newest: u64,
    state: ReadState,
    unread: u64,
}

impl Tallies {
    /// How many unread messages there are, where that is known.
    pub(super) fn unread(&self, inbox: UserId) -> Option<u64> {
        self.locked().get(&inbox).filter(|tally| tally.whole).map(|tally| tally.unread)
    }

    /// Begins to keep an inbox in mind: what is heard from now on is counted, and what was
    /// before comes by [`Tallies::count`].
    pub(super) fn begin(&self, inbox: UserId) {
        let mut tallies = self.locked();
        if tallies.len() >= INBOXES {
            tallies.clear();
        }
        tallies.entry(inbox).or_default();
    }

    /// Adds what the streams say, and gives how many unread messages that makes. It is not
    /// kept in mind where the inbox was forgotten since [`Tallies::begin`]: of what was heard
    /// meanwhile nobody took note.
    pub(super) fn count(
        &self,
        inbox: UserId,
        newest: impl Iterator<Item = (Sender, u64)>,
        states: impl Iterator<Item = (Sender, ReadState)>,
    ) -> u64 {
        let mut tallies = self.locked();
        let mut forgotten = Tally::default();
        let tally = tallies.get_mut(&inbox).unwrap_or(&mut forgotten);
        newest.for_each(|(peer, ordinal)| tally.stored(peer, ordinal));
        states.for_each(|(peer, state)| tally.marked(peer, &state));
        tally.whole = true;
        tally.unread
    }

    /// There is a message.
    pub(super) fn stored(&self, inbox: UserId, from: Sender, ordinal: u64) {
        if let Some(tally) = self.locked().get_mut(&inbox) {
            tally.stored(from, ordinal);
        }
    }

    /// Something was read.
    pub(super) fn marked(&self, reader: UserId, peer: Sender, state: &ReadState) {
        if let Some(tally) = self.locked().get_mut(&reader) {
            tally.marked(peer, state);
        }
    }

    /// Forgets a partition, of which something was missed.
    pub(super) fn forget(&self, names: &Names, part: u64) {
        self.locked().retain(|inbox, _| names.part(*inbox) != part);
    }

    /// Forgets an inbox, to be counted anew.
    pub(super) fn forget_one(&self, inbox: UserId) {
        self.locked().remove(&inbox);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<UserId, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn stored(&mut self, from: Sender, ordinal: u64) {
        let peer = self.peers.entry(from).or_default();
        peer.newest = peer.newest.max(ordinal);
        self.unread = self.unread - peer.unread + peer.counted();
    }

    fn marked(&mut self, from: Sender, state: &ReadState) {
        let peer = self.peers.entry(from).or_default();
        // It only grows: the one that holds more is the later one.
        let (known, new) = (&peer.state, state);
        if (new.gone, new.read.len()) >= (known.gone, known.read.len()) {
            peer.state = ReadState { news: Vec::new(), ..state.clone() };
        }
        peer.newest = peer.newest.max(peer.state.gone);
        self.unread = self.unread - peer.unread + peer.counted();
    }
}

impl Peer {
    fn counted(&mut self) -> u64 {
        self.unread = self.state.unread(self.newest);
        self.unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_while_it_is_counted_counts() {
        let (tallies, inbox) = (Tallies::default(), UserId::new(2).unwrap());
        tallies.stored(inbox, Sender::System, 1);
        tallies.begin(inbox);
        tallies.stored(inbox, Sender::System, 5);
        assert_eq!(tallies.unread(inbox), None);
        let mut state = ReadState::default();
        state.read.add(2, 3);
        let newest = [(Sender::System, 4), (inbox.into(), 7)];
        let states = [(Sender::System, state)];
        let counted = tallies.count(inbox, newest.into_iter(), states.into_iter());
        assert_eq!(counted, 3 + 7);
        assert_eq!(tallies.unread(inbox), Some(3 + 7));
        // What is older changes nothing.
        tallies.marked(inbox, Sender::System, &ReadState::default());
        assert_eq!(tallies.unread(inbox), Some(10));
        let names = Names::new("im", 1);
        tallies.forget(&names, 0);
        assert_eq!(tallies.unread(inbox), None);
    }

    #[test]
    fn an_inbox_that_is_forgotten_while_it_is_counted_is_counted_all_the_same() {
        let (tallies, inbox) = (Tallies::default(), UserId::new(2).unwrap());
        tallies.begin(inbox);
        tallies.forget_one(inbox);
        let newest = [(Sender::System, 4)];
        assert_eq!(tallies.count(inbox, newest.into_iter(), std::iter::empty()), 4);
        assert_eq!(tallies.unread(inbox), None);
    }
}
