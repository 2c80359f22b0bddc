//! The list of a user's conversations.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::log::{Log, Pair};
use super::record::Kept;
use crate::ids::{ID_END, Sender, UserId};
use crate::store::{Conversation, Conversations, HistoryCursor, HistoryEntry, StoreError};

/// Heads of other inboxes that are looked at together.
const AT_ONCE: usize = 64;

/// A conversation while the list is made.
struct Listed {
    peer: Sender,
    unread: u64,
    last: Kept,
    /// Whether `last` is read, where that is known already.
    read: Option<bool>,
}

impl Log {
    /// As the contract says.
    pub(super) async fn conversations(
        &self,
        user: UserId,
        after: Option<HistoryCursor>,
        limit: usize,
    ) -> Result<Conversations, StoreError> {
        if after.is_some_and(|HistoryCursor(place)| place.iter().any(|at| *at >= ID_END)) {
            return Err(StoreError::BadCursor);
        }
        if self.names.partitions() > 1 && after.is_some_and(|HistoryCursor(place)| place[1] == 0) {
            // Of the store that was moved in here, whose list had another order.
            return Err(StoreError::BadCursor);
        }
        let (mut heads, states) = self.inbox(user).await?;
        // Of whom nothing came they have the state alone that the first message left.
        let peers: BTreeSet<Sender> = heads.keys().chain(states.keys()).copied().collect();
        let sent: Vec<_> = peers.iter().map(|peer| self.sent(user, *peer)).collect();
        let sent: Vec<Option<Kept>> = stream::iter(sent).buffered(AT_ONCE).try_collect().await?;
        let mut list = Vec::new();
        let mut unread_total = 0;
        for (peer, sent) in peers.into_iter().zip(sent) {
            let (received, state) = (heads.remove(&peer), states.get(&peer));
            let mut unread = 0;
            let mut listed = sent.map(|last| Listed { peer, unread, last, read: None });
            if let Some(received) = received {
                let ordinal = received.chain.ordinal;
                unread = state.map_or(ordinal, |state| state.unread(ordinal));
                let is_newer =
                    listed.as_ref().is_none_or(|sent| self.key(&sent.last) < self.key(&received));
                if is_newer {
                    let read = state.is_some_and(|state| state.is_read(ordinal));
                    listed = Some(Listed { peer, unread, last: received, read: Some(read) });
                }
            }
            unread_total += unread;
            list.extend(listed.map(|listed| Listed { unread, ..listed }));
        }
        list.sort_unstable_by_key(|listed| Reverse(self.key(&listed.last)));
        list.retain(|listed| {
            after.is_none_or(|HistoryCursor(after)| self.key(&listed.last) < after)
        });
        let more = list.len() > limit;
        list.truncate(limit);
        let next = list.last().filter(|_| more).map(|last| HistoryCursor(self.key(&last.last)));
        let shown: Vec<_> = list.into_iter().map(|listed| self.shown(user, listed)).collect();
        let conversations = stream::iter(shown).buffered(AT_ONCE).try_collect().await?;
        Ok(Conversations { conversations, unread_total, next })
    }

    /// The newest message that `user` wrote to a peer.
    async fn sent(&self, user: UserId, peer: Sender) -> Result<Option<Kept>, StoreError> {
        let received = Pair { to: user, from: peer };
        match received.answers().filter(|sent| *sent != received) {
            Some(sent) => self.head(sent).await,
            None => Ok(None),
        }
    }

    async fn shown(&self, user: UserId, listed: Listed) -> Result<Conversation, StoreError> {
        let Listed { peer, unread, last, read } = listed;
        let profile = match peer {
            Sender::User(peer) => self.profile(peer).await?,
            Sender::System => Default::default(),
        };
        let read = match (read, peer) {
            (Some(read), _) => read,
            (None, Sender::User(peer)) => {
                let state = self.state(Pair { to: peer, from: user.into() }).await?;
                state.is_read(last.chain.ordinal)
            }
            (None, Sender::System) => false,
        };
        let last = HistoryEntry { message: last.message, read };
        Ok(Conversation { peer, profile, unread, last })
    }

    /// A message's place in the list: with one partition its id alone.
    fn key(&self, kept: &Kept) -> [u64; 2] {
        match self.names.partitions() {
            1 => [kept.message.id.get(), 0],
            _ => kept.moment(),
        }
    }
}
