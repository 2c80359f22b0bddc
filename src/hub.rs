//! Who is connected, and how they learn that there is news.
//!
//! A wake-up is a hint: it may come late or twice, and one that is missed costs a
//! read of the log. With it goes the committed message itself, shared and never
//! looked into here, for those who stand right before it; whoever does not keep
//! up loses these and is only told to read from the store. So a connection that
//! does not listen costs a flag, not a queue.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ids::UserId;
use crate::store::{Announcement, Cursor, Entry, PAGE_BYTES, Tail};

/// Locks the connections are spread over, so that two cores rarely meet.
const SHARDS: usize = 64;

/// Deliveries that a connection may have in hand before it must read the log.
const IN_HAND: usize = 64;

type Shard = Mutex<HashMap<UserId, Vec<Arc<Slot>>>>;

/// The connections of all users.
#[derive(Debug)]
pub struct Hub {
    shards: Vec<Shard>,
    hasher: RandomState,
    per_user: usize,
    connections: AtomicUsize,
}

/// A committed message on its way to its recipient's connections.
#[derive(Debug)]
pub struct Delivery {
    announcement: Announcement,
    frame: OnceLock<Bytes>,
}

impl Delivery {
    /// The message.
    pub fn entry(&self) -> &Entry {
        &self.announcement.entry
    }

    /// Whether a reader at `cursor` may take it without missing one before it.
    pub fn follows(&self, cursor: Cursor) -> bool {
        self.announcement.previous.is_some_and(|previous| previous <= cursor)
    }

    /// The frame of the message, made by the first connection that needs it.
    pub fn frame(&self, make: impl FnOnce(&Entry) -> Bytes) -> Bytes {
        self.frame.get_or_init(|| make(self.entry())).clone()
    }
}

/// What a connection finds when it was woken.
#[derive(Debug, Default)]
pub struct News {
    /// Messages in the order of the log.
    pub deliveries: Vec<Arc<Delivery>>,
    /// There was more than is kept: read the log.
    pub behind: bool,
}

#[derive(Debug, Default)]
struct Slot {
    news: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    news: News,
    bytes: usize,
}

impl Slot {
    fn put(&self, delivery: &Arc<Delivery>) {
        let mut waiting = locked(&self.news);
        if !waiting.news.behind {
            waiting.bytes += delivery.entry().message.content.len();
            if waiting.news.deliveries.len() < IN_HAND && waiting.bytes <= PAGE_BYTES {
                waiting.news.deliveries.push(Arc::clone(delivery));
            } else {
                // All of it: what is kept must have no gap.
                *waiting = Waiting { news: News { behind: true, ..News::default() }, bytes: 0 };
            }
        }
        drop(waiting);
        self.wake.notify_one();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Makes a hub that lets every user have `per_user` connections.
    pub fn new(per_user: usize) -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let hasher = RandomState::new();
        Arc::new(Self { shards, hasher, per_user, connections: AtomicUsize::new(0) })
    }

    /// Enters a connection of `user`, or nothing when they have as many as they may.
    ///
    /// Subscribe before the first read: a message committed between the two is
    /// then either in the read or announced; the other order could miss it.
    pub fn subscribe(self: &Arc<Self>, user: UserId) -> Option<Subscription> {
        let slot = Arc::<Slot>::default();
        {
            let mut shard = locked(self.shard(user)?);
            let slots = shard.entry(user).or_default();
            if slots.len() >= self.per_user {
                return None;
            }
            slots.push(Arc::clone(&slot));
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        Some(Subscription { hub: Arc::clone(self), user, slot })
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Feeds what the store announces to whom it concerns, until the store is closed.
    pub async fn follow(self: Arc<Self>, mut tail: Tail) {
        while let Some(commit) = tail.recv().await {
            for announcement in commit {
                self.announce(announcement);
            }
        }
    }

    fn announce(&self, announcement: Announcement) {
        let user = announcement.entry.message.to;
        let Some(shard) = self.shard(user) else {
            return;
        };
        let shard = locked(shard);
        if let Some(slots) = shard.get(&user) {
            let delivery = Arc::new(Delivery { announcement, frame: OnceLock::new() });
            for slot in slots {
                slot.put(&delivery);
            }
        }
    }

    fn shard(&self, user: UserId) -> Option<&Shard> {
        let at = self.hasher.hash_one(user) % (SHARDS as u64);
        self.shards.get(usize::try_from(at).ok()?)
    }
}

/// A connection's place in the hub; leaves on drop, and never evicts a successor.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    user: UserId,
    slot: Arc<Slot>,
}

impl Subscription {
    /// Waits until there may be news. Cancel safe.
    pub async fn woken(&self) {
        self.slot.wake.notified().await;
    }

    /// Takes the news.
    pub fn take(&self) -> News {
        std::mem::take(&mut *locked(&self.slot.news)).news
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
    use crate::ids::{MessageId, Sender};
    use crate::message::{Message, StoredAt};

    fn announcement(to: u64, id: u64, bytes: usize) -> Announcement {
        let message = Message {
            id: MessageId::new(id).unwrap(),
            from: Sender::new(1).unwrap(),
            to: UserId::new(to).unwrap(),
            ordinal: id,
            stored_at: StoredAt(0),
            timestamp: String::new(),
            content: "x".repeat(bytes),
        };
        let entry = Arc::new(Entry { message, sender: Arc::default() });
        Announcement { entry, previous: MessageId::new(id - 1).map(Cursor::from) }
    }

    #[test]
    fn a_connection_that_does_not_listen_keeps_a_flag_and_no_queue() {
        let hub = Hub::new(2);
        let user = UserId::new(2).unwrap();
        let (idle, large) = (hub.subscribe(user).unwrap(), hub.subscribe(user).unwrap());
        for id in 2..2 + IN_HAND as u64 {
            hub.announce(announcement(2, id, 10));
        }
        assert_eq!(large.take().deliveries.len(), IN_HAND);
        hub.announce(announcement(2, 100, 10));
        let news = idle.take();
        assert!(news.behind && news.deliveries.is_empty());
        assert!(!idle.take().behind, "taken once");
        for id in 101..110 {
            hub.announce(announcement(2, id, 16 * 1024));
        }
        assert!(idle.take().behind, "bytes count too");
    }

    #[test]
    fn leaving_evicts_nobody_else() {
        let hub = Hub::new(2);
        let user = UserId::new(2).unwrap();
        let first = hub.subscribe(user).unwrap();
        let second = hub.subscribe(user).unwrap();
        assert!(hub.subscribe(user).is_none(), "as many as they may");
        drop(first);
        assert_eq!(hub.connections(), 1);
        hub.announce(announcement(2, 2, 1));
        assert_eq!(second.take().deliveries.len(), 1);
        drop(second);
        assert!(hub.shards.iter().all(|shard| locked(shard).is_empty()));
    }
}
