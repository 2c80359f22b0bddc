//! Who is connected, and how they learn that there is news.
//!
//! A wake-up is a hint: it may come late or twice, and one that is missed costs a
//! read of the log. With it goes the committed message itself, shared and never
//! looked into here, for those who stand right before it; whoever does not keep
//! up loses these and is only told to read from the store. So a connection that
//! does not listen costs a flag, not a queue.
//!
//! What lies in no inbox (what the user wrote or read on another device, who is typing)
//! goes the same way to those who asked for it, and they are told when some was lost.

mod news;
mod roll;
mod subscription;
mod telling;
#[cfg(test)]
mod testing;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use foldhash::fast::RandomState;
use tokio::sync::Notify;

use self::news::Waiting;
pub use self::news::{Delivery, Event, News};
pub use self::roll::{About, Connected, Wanted};
pub use self::subscription::Subscription;
use crate::auth::TokenRef;
use crate::ids::{ConnectionId, UserId};

/// Locks the connections are spread over, so that two cores rarely meet.
const SHARDS: usize = 64;

type Shard = Mutex<HashMap<UserId, Vec<Arc<Slot>>>>;

/// The connections of all users.
#[derive(Debug)]
pub struct Hub {
    shards: Vec<Shard>,
    hasher: RandomState,
    connections: AtomicUsize,
}

/// What a connection wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Messages to its user.
    Inbox,
    /// These, and what the user does on other devices and others do with their messages.
    Everything,
}

#[derive(Debug)]
struct Slot {
    connection: ConnectionId,
    wants: Wants,
    about: About,
    /// What refreshed its first token, and may be taken back too.
    refreshed: Mutex<Vec<Arc<TokenRef>>>,
    news: Mutex<Waiting>,
    wake: Notify,
    sent_away: AtomicBool,
}

impl Slot {
    fn put(&self, event: Event) {
        locked(&self.news).put(event);
        self.wake.notify_one();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Makes a hub without connections.
    pub fn new() -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let hasher = RandomState::default();
        Arc::new(Self { shards, hasher, connections: AtomicUsize::new(0) })
    }

    /// Enters a connection, or nothing when its user has `at_most` already.
    ///
    /// Subscribe before the first read: a message committed between the two is
    /// then either in the read or announced; the other order could miss it.
    pub fn subscribe(
        self: &Arc<Self>,
        about: About,
        wants: Wants,
        at_most: usize,
    ) -> Option<Subscription> {
        let user = about.token.user;
        let slot = Arc::new(Slot {
            connection: ConnectionId::draw(),
            wants,
            about,
            refreshed: Mutex::default(),
            news: Mutex::default(),
            wake: Notify::new(),
            sent_away: AtomicBool::new(false),
        });
        {
            let mut shard = locked(self.shard(user)?);
            let slots = shard.entry(user).or_default();
            if slots.len() >= at_most {
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

    /// How many users have one at least.
    pub fn users(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).len()).sum()
    }

    /// How many connections a user has.
    pub fn connections_of(&self, user: UserId) -> usize {
        self.shard(user).and_then(|shard| locked(shard).get(&user).map(Vec::len)).unwrap_or(0)
    }

    /// Whether a user has a connection.
    pub fn is_connected(&self, user: UserId) -> bool {
        self.shard(user).is_some_and(|shard| locked(shard).contains_key(&user))
    }

    fn at_each(&self, user: UserId, mut work: impl FnMut(&Slot)) {
        let Some(shard) = self.shard(user) else {
            return;
        };
        if let Some(slots) = locked(shard).get(&user) {
            for slot in slots {
                work(slot);
            }
        }
    }

    fn shard(&self, user: UserId) -> Option<&Shard> {
        let at = self.hasher.hash_one(user) % (SHARDS as u64);
        self.shards.get(usize::try_from(at).ok()?)
    }
}
