//! The store without a disk, for tests and for programs that embed the server in theirs.
//!
//! It keeps every promise of the contract except the one it cannot: what it holds
//! ends with the process. Written to be believed by reading it once; it forgets
//! nothing and so grows for as long as it lives.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, ready};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{
    Announcement, AppendError, Appended, ClaimedProfile, Conversations, Cursor, Draft, Entry,
    Health, History, HistoryCursor, PAGE_BYTES, PAGE_MESSAGES, PacketDigest, Page, Receipt,
    ResendKey, Seen, Span, Store, StoreError, Stored, Stretch, Tail,
};
use crate::config;
use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::message::{ClientMsgId, Message, Profile, StoredAt};

/// Messages that wait to be announced. Past it, who appends waits.
const TAIL: usize = 64;

/// A handle on a store in memory.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("head", &self.locked().contents.head)
            .finish_non_exhaustive()
    }
}

struct Shared {
    config: config::Store,
    unread_max: u64,
    contents: Contents,
    /// Gone once the store is closed.
    tail: Option<mpsc::Sender<Vec<Announcement>>>,
}

/// Everything that a store on a disk would have on the disk.
#[derive(Default)]
struct Contents {
    /// The highest id given; 0: none.
    head: u64,
    inboxes: HashMap<UserId, Inbox>,
    ordinals: HashMap<(UserId, Sender), u64>,
    profiles: HashMap<UserId, Arc<Profile>>,
    packets: HashMap<PacketDigest, FirstTry>,
    names: HashMap<(Sender, ClientMsgId), FirstTry>,
}

#[derive(Default)]
struct Inbox {
    messages: Vec<Message>,
    unread: BTreeSet<MessageId>,
}

/// The message that a packet became, and when.
#[derive(Clone, Copy)]
struct FirstTry {
    to: UserId,
    id: MessageId,
    at: Instant,
}

/// Makes an empty store and gives it with the tail of what is appended to it.
///
/// Of `config` it looks at the windows alone. Resend windows go by tokio's time, so
/// that a test can move it.
pub fn open(config: &config::Store, limits: &config::Limits) -> (MemoryStore, Tail) {
    MemoryStore::with(config.clone(), limits.unread_per_user, Contents::default())
}

impl MemoryStore {
    fn with(config: config::Store, unread_max: u64, contents: Contents) -> (Self, Tail) {
        let (announce, tail) = mpsc::channel(TAIL);
        let shared = Shared { config, unread_max, contents, tail: Some(announce) };
        let shared = Arc::new(Mutex::new(shared));
        (Self { shared }, tail)
    }

    /// Closes this store and opens what it holds anew, as the next process would.
    pub fn reopen(&self) -> (Self, Tail) {
        let mut shared = self.locked();
        shared.tail = None;
        let contents = std::mem::take(&mut shared.contents);
        Self::with(shared.config.clone(), shared.unread_max, contents)
    }

    fn locked(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, work: impl FnOnce(&mut Contents)) -> Receipt<()> {
        let mut shared = self.locked();
        Box::pin(ready(match shared.tail {
            Some(_) => {
                work(&mut shared.contents);
                Ok(())
            }
            None => Err(AppendError::Unavailable),
        }))
    }
}

impl Store for MemoryStore {
    fn append(&self, draft: Draft) -> BoxFuture<'_, Result<Receipt<Appended>, AppendError>> {
        Box::pin(async move {
            let tail = self.locked().tail.clone();
            let tail = tail.ok_or(AppendError::Unavailable)?;
            // Nobody listening is no fault.
            let room = tail.reserve().await.ok();
            let mut shared = self.locked();
            if shared.tail.is_none() {
                return Err(AppendError::Unavailable);
            }
            let outcome = shared.append(draft);
            // Announced under the lock: the order of the ids is the order of the news.
            let outcome = outcome.map(|(appended, news)| {
                if let (Some(room), Some(news)) = (room, news) {
                    room.send(vec![news]);
                }
                appended
            });
            let receipt: Receipt<Appended> = Box::pin(ready(outcome));
            Ok(receipt)
        })
    }

    fn read_inbox(&self, inbox: UserId, span: Span) -> BoxFuture<'_, Result<Page, StoreError>> {
        let shared = self.locked();
        let page = match shared.tail {
            Some(_) => Ok(shared.contents.page(inbox, span)),
            None => Err(StoreError::Unavailable),
        };
        Box::pin(ready(page))
    }

    fn inbox_head(&self, _: UserId) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        Box::pin(std::future::ready(Err(StoreError::Unavailable)))
    }

    fn history(
        &self,
        _: UserId,
        _: Sender,
        _: Stretch,
        _: usize,
    ) -> BoxFuture<'_, Result<Option<History>, StoreError>> {
        Box::pin(std::future::ready(Err(StoreError::Unavailable)))
    }

    fn conversations(
        &self,
        _: UserId,
        _: Option<HistoryCursor>,
        _: usize,
    ) -> BoxFuture<'_, Result<Conversations, StoreError>> {
        Box::pin(std::future::ready(Err(StoreError::Unavailable)))
    }

    fn profile(&self, _: UserId) -> BoxFuture<'_, Result<Arc<Profile>, StoreError>> {
        Box::pin(std::future::ready(Err(StoreError::Unavailable)))
    }

    fn mark_read(&self, reader: UserId, seen: Seen, _: Option<ConnectionId>) -> Receipt<()> {
        let Seen::Ids(ids) = seen else {
            return Box::pin(ready(Err(AppendError::Unavailable)));
        };
        self.change(|contents| {
            if let Some(inbox) = contents.inboxes.get_mut(&reader) {
                for id in ids {
                    inbox.unread.remove(&id);
                }
            }
        })
    }

    fn set_profile(&self, user: UserId, claimed: ClaimedProfile) -> Receipt<()> {
        self.change(|contents| {
            let profile = contents.profiles.entry(user).or_default();
            *profile = Arc::new(claimed.over(profile));
        })
    }

    fn health(&self) -> Health {
        match self.locked().tail {
            Some(_) => Health::Ready,
            None => Health::Closed,
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let closed = self.locked().tail.take();
        Box::pin(ready(closed.map(drop).ok_or(StoreError::Unavailable)))
    }
}

impl Shared {
    fn append(&mut self, draft: Draft) -> Result<(Appended, Option<Announcement>), AppendError> {
        if let Some(id) = self.first_try(&draft)? {
            let duplicate = true;
            return Ok((Appended { id, duplicate }, None));
        }
        let contents = &mut self.contents;
        let inbox = contents.inboxes.entry(draft.to).or_default();
        if inbox.unread.len() as u64 >= self.unread_max {
            return Err(AppendError::InboxFull);
        }
        let id = MessageId::new(contents.head + 1).ok_or(AppendError::Unavailable)?;
        contents.head = id.get();
        let ordinal = contents.ordinals.entry((draft.to, draft.from)).or_default();
        *ordinal += 1;
        let message = Message {
            id,
            from: draft.from,
            to: draft.to,
            ordinal: *ordinal,
            stored_at: StoredAt::now(),
            timestamp: draft.timestamp,
            content: draft.content,
        };
        let previous = inbox.messages.last().map(|last| Cursor::from(last.id));
        inbox.messages.push(message.clone());
        inbox.unread.insert(id);
        let (to, at) = (draft.to, Instant::now());
        let first = FirstTry { to, id, at };
        match draft.resend {
            ResendKey::None => {}
            ResendKey::Packet(digest) => _ = contents.packets.insert(digest, first),
            ResendKey::Client { id, .. } => _ = contents.names.insert((draft.from, id), first),
        }
        let news = Announcement::Stored(Stored {
            entry: contents.entry(message),
            previous: Some(previous.unwrap_or(Cursor::START)),
            origin: draft.origin,
        });
        let duplicate = false;
        Ok((Appended { id, duplicate }, Some(news)))
    }

    /// The message that an earlier try of the same packet became.
    fn first_try(&self, draft: &Draft) -> Result<Option<MessageId>, AppendError> {
        let contents = &self.contents;
        match &draft.resend {
            ResendKey::None => Ok(None),
            ResendKey::Packet(digest) => {
                let first = contents.packets.get(digest);
                let known = first.filter(|first| first.at.elapsed() < self.config.resend_window);
                Ok(known.map(|first| first.id))
            }
            ResendKey::Client { id, again } => {
                let first = contents.names.get(&(draft.from, id.clone()));
                let known =
                    first.filter(|first| *again || first.at.elapsed() < self.config.dedup_window);
                match known {
                    Some(first) if !contents.is_same(first, draft) => Err(AppendError::IdReused),
                    Some(first) => Ok(Some(first.id)),
                    None => Ok(None),
                }
            }
        }
    }
}

impl Contents {
    fn is_same(&self, first: &FirstTry, draft: &Draft) -> bool {
        let inbox = self.inboxes.get(&first.to);
        let mut messages = inbox.into_iter().flat_map(|inbox| &inbox.messages);
        let message = messages.find(|message| message.id == first.id);
        first.to == draft.to && message.is_some_and(|message| message.content == draft.content)
    }

    fn page(&self, inbox: UserId, span: Span) -> Page {
        let head = Cursor(self.head);
        let end = span.until.map_or(head, |until| until.min(head));
        let mut page = Page { entries: Vec::new(), up_to: end.max(span.after), head };
        let mut bytes = 0;
        let inbox = self.inboxes.get(&inbox);
        for (inbox, message) in inbox.iter().flat_map(|i| i.messages.iter().map(move |m| (i, m))) {
            let at = Cursor::from(message.id);
            let wanted = !span.unread_only || inbox.unread.contains(&message.id);
            if at <= span.after || at > end || !wanted {
                continue;
            }
            if page.entries.len() == PAGE_MESSAGES || bytes >= PAGE_BYTES {
                page.up_to = Cursor(message.id.get() - 1);
                break;
            }
            bytes += message.content.len();
            page.entries.push(self.entry(message.clone()));
        }
        page
    }

    fn entry(&self, message: Message) -> Arc<Entry> {
        let sender = match message.from {
            Sender::User(user) => self.profiles.get(&user).cloned().unwrap_or_default(),
            Sender::System => Arc::default(),
        };
        Arc::new(Entry { message, sender, client_id: None })
    }
}
