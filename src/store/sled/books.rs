//! What the writer knows by heart so that an append costs no read of the tree.
//!
//! All of it can be derived again, so the caches are simply emptied when they
//! have grown too large.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use foldhash::{HashMap, HashMapExt};

use super::inboxes::{Change, State};
use super::keys::Pair;
use super::log::Log;
use super::names;
use super::reader;
use super::record::{CommitRecord, ResendMark};
use super::resend_index::ResendIndex;
use super::revoked::{self, Tally};
use super::rows::Rows;
use crate::ids::{MessageId, Sender, UserId};
use crate::message::{Profile, StoredAt};
use crate::store::StoreError;
use crate::store::rules::Rules;

/// Entries a cache may hold: some 50 MB when all three are full.
const CACHE_MAX: usize = 500_000;

/// How far the messages of a pair go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    /// How many there ever were.
    pub(super) ordinal: u64,
    /// Whether one of them is still there, and so the peer rows of the two.
    pub(super) kept: bool,
    /// Whether a message of the stretch that is not full yet may have a name.
    named: bool,
}

/// The state of an inbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbox {
    /// Unread messages in it.
    pub(super) unread: u64,
    /// Its newest message of those that are there, or more; 0: none.
    head: u64,
    /// It is the newest that there ever was.
    is_head: bool,
}

/// The resend index of each kind of key.
#[derive(Debug)]
pub(super) struct Resends {
    packets: ResendIndex,
    client_ids: ResendIndex,
}

impl Resends {
    pub(super) fn get(&self, mark: ResendMark) -> Option<u64> {
        match mark {
            ResendMark::None => None,
            ResendMark::Packet(digest) => self.packets.get(&digest),
            ResendMark::Client(digest) => self.client_ids.get(&digest),
        }
    }

    pub(super) fn insert(&mut self, mark: ResendMark, id: u64, at: Instant) {
        match mark {
            ResendMark::None => {}
            ResendMark::Packet(digest) => self.packets.insert(digest, id, at),
            ResendMark::Client(digest) => self.client_ids.insert(digest, id, at),
        }
    }

    /// Inserts what is `age` old, unless that is too old for its kind.
    fn recall(&mut self, mark: ResendMark, id: u64, at: Instant, age: Duration) {
        let window = match mark {
            ResendMark::None => return,
            ResendMark::Packet(_) => self.packets.window(),
            ResendMark::Client(_) => self.client_ids.window(),
        };
        if age <= window {
            self.insert(mark, id, at);
        }
    }

    fn expire(&mut self, now: Instant) {
        self.packets.expire(now);
        self.client_ids.expire(now);
    }
}

/// The writer's memory.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) log: Log,
    pub(super) next_id: u64,
    pub(super) unread_max: u64,
    pub(super) resends: Resends,
    pairs: HashMap<Pair, Newest>,
    inboxes: HashMap<UserId, Inbox>,
    /// The inboxes that the commit under way changes, and whether it removes something of them.
    changed: Vec<(UserId, bool)>,
    profiles: HashMap<UserId, Arc<Profile>>,
    /// Whose profiles are changed by the commit under way.
    renamed: Vec<UserId>,
    pub(super) revoked: Tally,
}

impl Books {
    /// Opens the books behind the last message, with the resend keys of the windows.
    pub(super) fn open(log: Log, last_id: u64, rules: Rules) -> Result<Self, StoreError> {
        let Rules { resend_window, dedup_window, unread_max } = rules;
        let mut books = Self {
            log,
            next_id: last_id + 1,
            unread_max,
            resends: Resends {
                packets: ResendIndex::new(resend_window),
                client_ids: ResendIndex::new(dedup_window),
            },
            pairs: HashMap::new(),
            inboxes: HashMap::new(),
            changed: Vec::new(),
            profiles: HashMap::new(),
            renamed: Vec::new(),
            revoked: Tally::default(),
        };
        books.revoked = Tally::read(&books.log).map_err(StoreError::Damaged)?;
        books.recall(resend_window.max(dedup_window))?;
        Ok(books)
    }

    /// Rebuilds the resend index from the commits of the last `window`, each entry
    /// as old as it is.
    fn recall(&mut self, window: Duration) -> Result<(), StoreError> {
        let (wall, now) = (StoredAt::now().0, Instant::now());
        let age =
            |commit: &CommitRecord| Duration::from_millis(wall.saturating_sub(commit.stored_at.0));
        // Back to where the window begins, then forward: oldest first, so that of two
        // equal packets the later one counts, and none is kept longer than it should.
        let mut first = None;
        for commit in reader::commits(&self.log, 0).rev() {
            let commit = commit?;
            if age(&commit) > window {
                break;
            }
            first = Some(commit.first.get());
        }
        let Some(first) = first else { return Ok(()) };
        for commit in reader::commits(&self.log, first) {
            let commit = commit?;
            let (age, at) = (age(&commit), now.checked_sub(age(&commit)).unwrap_or(now));
            for (entry, id) in commit.entries.iter().zip(commit.first.get()..) {
                if let Some(entry) = entry {
                    self.resends.recall(entry.resend, id, at, age);
                }
            }
        }
        Ok(())
    }

    /// What removes some revocations that are over; says how many.
    pub(super) fn sweep(&mut self, now: SystemTime) -> sled::Result<(Rows, usize)> {
        revoked::sweep(&self.log, &mut self.revoked, now)
    }

    /// Forgets what is old or too much.
    pub(super) fn tidy(&mut self) {
        self.resends.expire(Instant::now());
        if self.pairs.len() > CACHE_MAX {
            self.pairs = HashMap::new();
        }
        if self.inboxes.len() > CACHE_MAX {
            self.inboxes = HashMap::new();
        }
        if self.profiles.len() > CACHE_MAX {
            self.profiles = HashMap::new();
        }
    }

    /// How far the messages of a pair go, be they gone or not.
    pub(super) fn newest(&mut self, pair: Pair) -> Result<Newest, StoreError> {
        if let Some(&newest) = self.pairs.get(&pair) {
            return Ok(newest);
        }
        let last = reader::last(&self.log, pair)?;
        let kept = last.is_some();
        let ordinal = match last {
            Some((ordinal, _)) => ordinal,
            None => reader::gone(&self.log, pair)?.ordinal,
        };
        // Whether there are names in the stretch would have to be looked up: say so if asked.
        let newest = Newest { ordinal, kept, named: names::full_with(ordinal).is_none() };
        self.pairs.insert(pair, newest);
        Ok(newest)
    }

    /// The state of an inbox, counted at its first use.
    pub(super) fn inbox(&mut self, user: UserId) -> Result<Inbox, StoreError> {
        if let Some(&inbox) = self.inboxes.get(&user) {
            return Ok(inbox);
        }
        let mut inbox = Inbox { unread: 0, head: 0, is_head: false };
        for peer in reader::peers(&self.log, user) {
            let pair = Pair { to: user, from: peer? };
            if let Some((ordinal, id)) = reader::last(&self.log, pair)? {
                let floor = reader::floor(&self.log, pair)?;
                let read = floor.ordinal.saturating_add(floor.beyond);
                inbox.unread += ordinal.saturating_sub(read);
                inbox.head = inbox.head.max(id.get());
            }
        }
        self.inboxes.insert(user, inbox);
        Ok(inbox)
    }

    /// Enters whether the next message of a pair, the `ordinal`-th, has a name. Gives the
    /// stretch that is full with it, if there may be names to be written down.
    pub(super) fn named(&mut self, pair: Pair, ordinal: u64, named: bool) -> Option<u64> {
        let before = self.pairs.get(&pair).is_none_or(|newest| newest.named);
        let full = names::full_with(ordinal);
        let named = before || named;
        let newest = Newest { ordinal, kept: true, named: named && full.is_none() };
        self.pairs.insert(pair, newest);
        full.filter(|_| named)
    }

    /// Enters a message and gives the one before it in its inbox.
    pub(super) fn appended(&mut self, pair: Pair, id: MessageId) -> u64 {
        self.next_id = id.get() + 1;
        self.change(pair.to, false);
        self.inboxes.get_mut(&pair.to).map_or(0, |inbox| {
            inbox.unread += 1;
            inbox.is_head = true;
            std::mem::replace(&mut inbox.head, id.get())
        })
    }

    /// Enters that nothing of a pair is left.
    pub(super) fn parted(&mut self, pair: Pair) {
        if let Some(newest) = self.pairs.get_mut(&pair) {
            newest.kept = false;
        }
    }

    /// Enters that `count` messages of an inbox were read.
    pub(super) fn read(&mut self, user: UserId, count: u64) {
        if count > 0 {
            self.change(user, false);
        }
        if let Some(inbox) = self.inboxes.get_mut(&user) {
            inbox.unread = inbox.unread.saturating_sub(count);
        }
    }

    /// Enters that messages of an inbox go.
    pub(super) fn removed(&mut self, user: UserId) {
        self.change(user, true);
        if let Some(inbox) = self.inboxes.get_mut(&user) {
            inbox.is_head = false;
        }
    }

    fn change(&mut self, user: UserId, is_removal: bool) {
        // With a busy inbox one after the other.
        if self.changed.last() != Some(&(user, is_removal)) {
            self.changed.push((user, is_removal));
        }
    }

    /// Lets readers know of what the commit has changed, which is durable now.
    pub(super) fn publish(&mut self) {
        let inboxes = &self.inboxes;
        let changes = self.changed.drain(..).map(|(inbox, is_removal)| {
            let state = inboxes.get(&inbox).map(|inbox| State {
                head: inbox.head,
                is_head: inbox.is_head,
                is_read: inbox.unread == 0,
            });
            Change { inbox, state: state.unwrap_or_default(), is_removal }
        });
        self.log.inboxes.enter(changes);
        self.log.claims.changed(self.renamed.drain(..));
    }

    /// What is known of a sender.
    pub(super) fn profile(&mut self, sender: Sender) -> Result<Arc<Profile>, StoreError> {
        let Sender::User(user) = sender else {
            return Ok(Arc::default());
        };
        if let Some(profile) = self.profiles.get(&user) {
            return Ok(Arc::clone(profile));
        }
        let profile = reader::profile(&self.log, sender)?;
        self.profiles.insert(user, Arc::clone(&profile));
        Ok(profile)
    }

    pub(super) fn set_profile(&mut self, user: UserId, profile: Profile) {
        self.renamed.push(user);
        self.profiles.insert(user, Arc::new(profile));
    }
}
