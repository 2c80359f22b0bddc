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

use std::hash::BuildHasher;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use foldhash::HashMap;
use foldhash::fast::RandomState;
use tokio::sync::Notify;

use self::news::Waiting;
pub use self::news::{Delivery, Event, News};
pub use self::roll::{About, Connected, Wanted};
use crate::auth::{Revocations, TokenRef};
use crate::ids::{ConnectionId, Sender, UserId};
use crate::store::{Announcement, ReadReceipt, Stored, Tail};

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

    /// Whether a user has a connection.
    pub fn is_connected(&self, user: UserId) -> bool {
        self.shard(user).is_some_and(|shard| locked(shard).contains_key(&user))
    }

    /// Feeds what the store announces to whom it concerns, until the store is closed.
    /// Revocations concern all who check tokens.
    pub async fn follow(self: Arc<Self>, mut tail: Tail, revocations: Revocations) {
        while let Some(commit) = tail.recv().await {
            for announcement in commit {
                // A fault of ours in here costs a wake-up, which the next one makes good,
                // and not everybody's.
                let telling = AssertUnwindSafe(|| self.tell(announcement, &revocations));
                let _ = panic::catch_unwind(telling);
            }
        }
    }

    fn tell(&self, announcement: Announcement, revocations: &Revocations) {
        match announcement {
            Announcement::Stored(stored) => self.announce(stored),
            Announcement::Read(receipt) => self.announce_read(receipt),
            Announcement::Revoked(revocation) => revocations.add(revocation),
            Announcement::Enabled(user) => revocations.enable(user),
            Announcement::Typing { from, to } => self.typing(from, to),
        }
    }

    fn announce(&self, stored: Stored) {
        let message = &stored.entry.message;
        let (to, from, origin) = (message.to, message.from, stored.origin);
        if let Sender::User(from) = from
            && from != to
        {
            // A note to oneself is in the inbox already.
            let mut sent = None;
            self.tell_others(from, origin, || {
                let delivery = || Arc::new(Delivery::new(stored.clone()));
                Event::Sent(Arc::clone(sent.get_or_insert_with(delivery)))
            });
        }
        let mut delivery = None;
        self.at_each(to, |slot| {
            let shared = delivery.get_or_insert_with(|| Arc::new(Delivery::new(stored.clone())));
            slot.put(Event::Message(Arc::clone(shared)));
        });
    }

    fn announce_read(&self, receipt: ReadReceipt) {
        let receipt = Arc::new(receipt);
        let told = || Event::Read(Arc::clone(&receipt));
        self.tell_others(receipt.reader, receipt.origin, told);
        if let Sender::User(from) = receipt.from
            && from != receipt.reader
        {
            self.tell_others(from, None, told);
        }
    }

    fn typing(&self, from: UserId, to: UserId) {
        self.tell_others(to, None, || Event::Typing(from));
    }

    /// Tells those connections of `user` that want everything, but for `origin`.
    fn tell_others(
        &self,
        user: UserId,
        origin: Option<ConnectionId>,
        mut event: impl FnMut() -> Event,
    ) {
        self.at_each(user, |slot| {
            if slot.wants == Wants::Everything && origin != Some(slot.connection) {
                slot.put(event());
            }
        });
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

/// A connection's place in the hub; leaves on drop, and never evicts a successor.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    user: UserId,
    slot: Arc<Slot>,
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

    /// Lets the roll know of a token that the connection lives by from now on too.
    pub fn refreshed(&self, token: Arc<TokenRef>) {
        let now = SystemTime::now();
        let mut refreshed = locked(&self.slot.refreshed);
        refreshed.retain(|token| !token.has_ended(now));
        refreshed.push(token);
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
    use super::news::IN_HAND;
    use super::*;
    use crate::ids::MessageId;
    use crate::message::{Message, StoredAt};
    use crate::store::{Cursor, Entry};

    fn stored(to: u64, id: u64, bytes: usize) -> Stored {
        let message = Message {
            id: MessageId::new(id).unwrap(),
            from: Sender::new(1).unwrap(),
            to: UserId::new(to).unwrap(),
            ordinal: id,
            stored_at: StoredAt(0),
            timestamp: String::new(),
            content: "x".repeat(bytes),
        };
        let entry = Arc::new(Entry { message, sender: Arc::default(), client_id: None });
        Stored { entry, previous: MessageId::new(id - 1).map(Cursor::from), origin: None }
    }

    #[test]
    fn a_connection_that_does_not_listen_keeps_a_flag_and_no_queue() {
        let hub = Hub::new();
        let user = UserId::new(2).unwrap();
        let (idle, large) = (
            hub.subscribe(About::of(user, "k"), Wants::Inbox, 2).unwrap(),
            hub.subscribe(About::of(user, "k"), Wants::Inbox, 2).unwrap(),
        );
        for id in 2..2 + IN_HAND as u64 {
            hub.announce(stored(2, id, 10));
        }
        assert_eq!(large.take().events.len(), IN_HAND);
        hub.announce(stored(2, 100, 10));
        let news = idle.take();
        assert!(news.behind && news.events.is_empty());
        assert!(!idle.take().behind, "taken once");
        for id in 101..110 {
            hub.announce(stored(2, id, 16 * 1024));
        }
        assert!(idle.take().behind, "bytes count too");
    }

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

    #[test]
    fn only_those_who_want_it_hear_of_what_the_user_did_elsewhere() {
        let hub = Hub::new();
        let (writer, reader) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let [here, there] =
            [(); 2].map(|()| hub.subscribe(About::of(writer, "k"), Wants::Everything, 3).unwrap());
        let plain = hub.subscribe(About::of(writer, "k"), Wants::Inbox, 3).unwrap();
        let message = Stored { origin: Some(here.connection()), ..stored(2, 2, 10) };
        hub.announce(message);
        assert!(here.take().events.is_empty(), "it wrote this itself");
        assert!(matches!(there.take().events[..], [Event::Sent(_)]));
        let ids = vec![MessageId::new(2).unwrap()];
        hub.announce_read(ReadReceipt { reader, from: writer.into(), ids, origin: None });
        assert!(matches!(here.take().events[..], [Event::Read(_)]));
        hub.subscribe(About::of(reader, "k"), Wants::Inbox, 3).unwrap().typing(writer);
        assert!(matches!(there.take().events[..], [Event::Read(_), Event::Typing(_)]));
        assert!(plain.take().events.is_empty());
    }

    #[test]
    fn who_is_slow_is_told_that_something_was_lost_for_good() {
        let hub = Hub::new();
        let writer = UserId::new(1).unwrap();
        let slow = hub.subscribe(About::of(writer, "k"), Wants::Everything, 1).unwrap();
        for id in 2..2 + IN_HAND as u64 {
            hub.announce(stored(1, id, 10));
        }
        slow.typing(writer);
        hub.announce(stored(1, 100, 10));
        let news = slow.take();
        assert!(news.behind && !news.lost, "the inbox has it all, and typing is for now");
        for id in 101..=101 + IN_HAND as u64 {
            hub.announce(stored(2, id, 10));
        }
        assert!(slow.take().lost);
    }
}
