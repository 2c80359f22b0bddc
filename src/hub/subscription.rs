//! A connection's place in the hub, as the connection holds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::{Hub, News, Slot, locked};
use crate::auth::TokenRef;
use crate::ids::{ConnectionId, UserId};

/// A connection's place in the hub; leaves on drop, and never evicts a successor.
#[derive(Debug)]
pub struct Subscription {
    pub(super) hub: Arc<Hub>,
    pub(super) user: UserId,
    pub(super) slot: Arc<Slot>,
}

impl Subscription {
    /// The connection that this place is for.
    pub fn connection(&self) -> ConnectionId {
        self.slot.connection
    }

    /// How many connections there are in all.
    pub fn connections(&self) -> usize {
        self.hub.connections()
    }

    /// The token that it was opened with.
    pub fn token(&self) -> Arc<TokenRef> {
        Arc::clone(&self.slot.about.token)
    }

    /// Lets the roll know of a token that the connection lives by from now on too. One that it
    /// knows of already takes no room a second time: clients may send it as often as they like.
    pub fn refreshed(&self, token: Arc<TokenRef>) {
        let now = SystemTime::now();
        let mut refreshed = locked(&self.slot.refreshed);
        refreshed.retain(|token| !token.has_ended(now));
        if token != self.slot.about.token && !refreshed.contains(&token) {
            refreshed.push(token);
        }
    }

    /// Whether the connection was told to go, and come back later.
    pub fn is_sent_away(&self) -> bool {
        self.slot.sent_away.load(Ordering::Acquire)
    }

    /// Waits until there may be news. Cancel safe.
    pub async fn woken(&self) {
        self.slot.wake.notified().await;
    }

    /// Takes the news.
    pub fn take(&self) -> News {
        std::mem::take(&mut *locked(&self.slot.news)).news
    }

    /// Tells `to` that this user is typing, where they are connected to this node; kept
    /// nowhere.
    pub fn typing(&self, to: UserId) {
        self.hub.typing(self.user, to);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(shard) = self.hub.shard(self.user) else {
            return;
        };
        let mut shard = locked(shard);
        if let Some(slots) = shard.get_mut(&self.user) {
            slots.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
            if slots.is_empty() {
                shard.remove(&self.user);
            }
        }
        drop(shard);
        self.hub.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::stored;
    use crate::hub::{About, Wants};

    #[test]
    fn leaving_evicts_nobody_else() {
        let hub = Hub::new();
        let user = UserId::new(2).unwrap();
        let first = hub.subscribe(About::of(user, "k"), Wants::Inbox, 2).unwrap();
        let second = hub.subscribe(About::of(user, "k"), Wants::Inbox, 2).unwrap();
        assert!(
            hub.subscribe(About::of(user, "k"), Wants::Inbox, 2).is_none(),
            "as many as they may"
        );
        assert_eq!((hub.connections(), hub.users()), (2, 1));
        drop(first);
        assert_eq!((hub.connections(), hub.users()), (1, 1));
        hub.announce(stored(2, 2, 1));
        assert_eq!(second.take().events.len(), 1);
        drop(second);
        assert!(hub.shards.iter().all(|shard| locked(shard).is_empty()));
    }

    /// Each of them used to take room until the token ended, which may be in a month.
    #[test]
    fn the_same_token_once_more_takes_no_room() {
        let hub = Hub::new();
        let user = UserId::new(2).unwrap();
        let inside = hub.subscribe(About::of(user, "first"), Wants::Inbox, 1).unwrap();
        for _ in 0..100 {
            for kid in ["first", "second", "third"] {
                inside.refreshed(About::of(user, kid).token);
            }
        }
        assert_eq!(locked(&inside.slot.refreshed).len(), 2);
    }
}
