//! The stores that are held to the contract, and how a test meets them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imserver::config::{self, Limits};
use imserver::ids::{MessageId, Sender, UserId};
use imserver::message::ClientMsgId;
use imserver::metrics::StoreMetrics;
use imserver::store::memory::{self, MemoryStore};
use imserver::store::{
    Announcement, AppendError, Appended, Cursor, Draft, Entry, PacketDigest, Page, ReadReceipt,
    Receipt, ResendKey, Seen, Span, Store, StoreError, Stored, Tail, jetstream, sled,
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::nats::{self, Streams};

/// What a store is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub unread_max: u64,
    pub resend_window: Duration,
    pub dedup_window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unread_max: 100_000,
            resend_window: Duration::from_secs(120),
            dedup_window: Duration::from_secs(600),
        }
    }
}

/// One implementation of [`Store`].
pub trait Backend: Sized {
    /// Whether ids of different inboxes tell which message came first.
    const ONE_ORDER: bool = true;

    /// A store of its own, empty.
    fn open(settings: Settings) -> impl Future<Output = (Self, Arc<dyn Store>, Tail)>;

    /// The same data, opened by the next process; the store before it is closed.
    fn reopen(&mut self) -> impl Future<Output = (Arc<dyn Store>, Tail)>;
}

/// The store in memory.
pub struct Memory(MemoryStore);

impl Backend for Memory {
    async fn open(settings: Settings) -> (Self, Arc<dyn Store>, Tail) {
        let (store, tail) = memory::open(&store_config(settings), &limits(settings));
        (Self(store.clone()), Arc::new(store), tail)
    }

    async fn reopen(&mut self) -> (Arc<dyn Store>, Tail) {
        let (store, tail) = self.0.reopen();
        self.0 = store.clone();
        (Arc::new(store), tail)
    }
}

/// The store on sled, in a folder of its own.
pub struct Sled {
    folder: TempDir,
    settings: Settings,
}

impl Sled {
    fn start(&self) -> (Arc<dyn Store>, Tail) {
        let config = config::Store {
            path: self.folder.path().to_owned(),
            cache_bytes: 16 << 20,
            ..store_config(self.settings)
        };
        let metrics = StoreMetrics::register(&mut Registry::default());
        let (store, tail) = sled::open(&config, &limits(self.settings), metrics).unwrap();
        (Arc::new(store), tail)
    }
}

impl Backend for Sled {
    async fn open(settings: Settings) -> (Self, Arc<dyn Store>, Tail) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let backend = Self { folder, settings };
        let (store, tail) = backend.start();
        (backend, store, tail)
    }

    async fn reopen(&mut self) -> (Arc<dyn Store>, Tail) {
        self.start()
    }
}

/// The store on three NATS servers, which all tests share, in streams of its own.
pub struct JetStream<const PARTITIONS: u16> {
    streams: Streams,
    settings: Settings,
}

/// All inboxes in one stream, and so in one order.
pub type OnePartition = JetStream<1>;

/// Inboxes in several streams: the directions of a conversation have ids that tell nothing of
/// each other.
pub type ThreePartitions = JetStream<3>;

impl<const PARTITIONS: u16> JetStream<PARTITIONS> {
    async fn start(&self) -> (Arc<dyn Store>, Tail) {
        let place = self.streams.place();
        let jetstream = config::JetStream {
            servers: place.urls(),
            ca: Some(place.ca()),
            user: Some(place.user().to_owned()),
            password_file: Some(place.password_file()),
            prefix: self.streams.prefix().to_owned(),
            partitions: PARTITIONS,
            create: true,
            synced: true,
            ..config::JetStream::default()
        };
        let backend = config::Backend::JetStream;
        let config = config::Store { backend, jetstream, ..store_config(self.settings) };
        let metrics = StoreMetrics::register(&mut Registry::default());
        let opened = jetstream::open(&config, &limits(self.settings), metrics).await;
        let (store, tail) = opened.unwrap();
        (Arc::new(store), tail)
    }
}

impl<const PARTITIONS: u16> Backend for JetStream<PARTITIONS> {
    const ONE_ORDER: bool = PARTITIONS == 1;

    async fn open(settings: Settings) -> (Self, Arc<dyn Store>, Tail) {
        let backend = Self { streams: Streams::on(&nats::shared()), settings };
        let (store, tail) = backend.start().await;
        (backend, store, tail)
    }

    async fn reopen(&mut self) -> (Arc<dyn Store>, Tail) {
        self.start().await
    }
}

fn store_config(settings: Settings) -> config::Store {
    config::Store {
        resend_window: settings.resend_window,
        dedup_window: settings.dedup_window,
        // So few that even these tests fill some.
        volume_messages: 16,
        ..config::Store::default()
    }
}

fn limits(settings: Settings) -> Limits {
    Limits { unread_per_user: settings.unread_max, ..Limits::default() }
}

/// A store under test, with everything it has announced.
pub struct Bench<B> {
    backend: B,
    pub store: Arc<dyn Store>,
    news: Arc<Mutex<Vec<Announcement>>>,
    listening: JoinSet<()>,
}

impl<B: Backend> Bench<B> {
    pub async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let (backend, store, tail) = B::open(settings).await;
        let news = Arc::default();
        let listening = listen(tail, &news);
        Self { backend, store, news, listening }
    }

    /// Closes the store and opens its data again.
    pub async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        while self.listening.join_next().await.is_some() {}
        let (store, tail) = self.backend.reopen().await;
        self.store = store;
        self.listening = listen(tail, &self.news);
    }

    /// Closes the store and gives all that it announced since the first opening.
    pub async fn closed(mut self) -> Vec<Announcement> {
        self.store.close().await.unwrap();
        while self.listening.join_next().await.is_some() {}
        std::mem::take(&mut self.news.lock().unwrap())
    }

    /// The announcements up to the last reopening, and the store by itself.
    pub fn into_parts(self) -> (Vec<Announcement>, Arc<dyn Store>, JoinSet<()>, B) {
        let news = std::mem::take(&mut *self.news.lock().unwrap());
        (news, self.store, self.listening, self.backend)
    }

    /// Puts a message in line.
    pub async fn line_up(&self, draft: Draft) -> Receipt<Appended> {
        self.store.append(draft).await.unwrap()
    }

    /// Appends and waits for the outcome.
    pub async fn try_append(&self, draft: Draft) -> Result<Appended, AppendError> {
        self.store.append(draft).await?.await
    }

    /// Appends what must be new, and gives its id.
    pub async fn append(&self, draft: Draft) -> MessageId {
        let appended = self.try_append(draft).await.unwrap();
        assert!(!appended.duplicate);
        appended.id
    }

    /// Appends as many messages as `contents` holds, in one go.
    pub async fn append_all(&self, from: u64, to: u64, contents: &[&str]) -> Vec<MessageId> {
        let mut receipts = Vec::new();
        for content in contents {
            receipts.push(self.line_up(draft(from, to, content)).await);
        }
        let mut ids = Vec::new();
        for receipt in receipts {
            ids.push(receipt.await.unwrap().id);
        }
        ids
    }

    pub async fn mark(&self, reader: u64, ids: &[MessageId]) {
        let seen = Seen::Ids(ids.to_vec());
        self.store.mark_read(user(reader), seen, None).await.unwrap();
    }

    /// Marks what `peer` wrote to `reader` up to a message.
    pub async fn mark_up_to(&self, reader: u64, peer: u64, id: MessageId) {
        let seen = Seen::UpTo { peer: sender(peer), id };
        self.store.mark_read(user(reader), seen, None).await.unwrap();
    }

    pub async fn page(&self, inbox: u64, span: Span) -> Page {
        self.store.read_inbox(user(inbox), span).await.unwrap()
    }

    /// Everything in an inbox, page by page.
    pub async fn all(&self, inbox: u64) -> Vec<Arc<Entry>> {
        pages(&*self.store, inbox, EVERYTHING).await.unwrap()
    }

    /// The ids of the unread messages, page by page.
    pub async fn unread(&self, inbox: u64) -> Vec<MessageId> {
        ids(&pages(&*self.store, inbox, UNREAD).await.unwrap())
    }
}

fn listen(mut tail: Tail, news: &Arc<Mutex<Vec<Announcement>>>) -> JoinSet<()> {
    let news = Arc::clone(news);
    let mut listening = JoinSet::new();
    listening.spawn(async move {
        while let Some(batch) = tail.recv().await {
            news.lock().unwrap().extend(batch);
        }
    });
    listening
}

/// The whole inbox.
pub const EVERYTHING: Span = Span { after: Cursor::START, until: None, unread_only: false };

/// What was not marked read.
pub const UNREAD: Span = Span { unread_only: true, ..EVERYTHING };

/// Reads a span to its end, as a session does, and checks what every page promises.
pub async fn pages(
    store: &dyn Store,
    inbox: u64,
    span: Span,
) -> Result<Vec<Arc<Entry>>, StoreError> {
    let mut found: Vec<Arc<Entry>> = Vec::new();
    let mut at = span;
    loop {
        let page = store.read_inbox(user(inbox), at).await?;
        for entry in &page.entries {
            let id = Cursor::from(entry.message.id);
            assert!(at.after < id && id <= page.up_to && id <= page.head);
            assert!(span.until.is_none_or(|until| id <= until));
            assert!(found.last().is_none_or(|last| last.message.id < entry.message.id));
            assert_eq!(entry.message.to, user(inbox));
            found.push(Arc::clone(entry));
        }
        let end = span.until.map_or(page.head, |until| until.min(page.head));
        if page.up_to >= end {
            return Ok(found);
        }
        assert!(at.after < page.up_to, "a page that moves nobody forward");
        at.after = page.up_to;
    }
}

pub fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

/// 0 is the system.
pub fn sender(id: u64) -> Sender {
    Sender::new(id).unwrap()
}

/// A message of which every append is one of its own.
pub fn draft(from: u64, to: u64, content: &str) -> Draft {
    Draft {
        from: sender(from),
        to: user(to),
        timestamp: "1589790567".to_owned(),
        content: content.to_owned(),
        resend: ResendKey::None,
        origin: None,
    }
}

/// A packet without a name: known by its digest, here made from `mark`.
pub fn packet(from: u64, to: u64, content: &str, mark: u64) -> Draft {
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&mark.to_be_bytes());
    Draft { resend: ResendKey::Packet(PacketDigest(digest)), ..draft(from, to, content) }
}

/// A packet that the client has named; `again` on its later tries.
pub fn named(from: u64, to: u64, content: &str, name: &str, again: bool) -> Draft {
    let id = ClientMsgId::new(name).unwrap();
    Draft { resend: ResendKey::Client { id, again }, ..draft(from, to, content) }
}

/// The messages among the announcements.
pub fn stored(news: &[Announcement]) -> Vec<Stored> {
    let stored = news.iter().filter_map(|news| match news {
        Announcement::Stored(stored) => Some(stored.clone()),
        _ => None,
    });
    stored.collect()
}

/// The read receipts among the announcements.
pub fn receipts(news: &[Announcement]) -> Vec<ReadReceipt> {
    let receipts = news.iter().filter_map(|news| match news {
        Announcement::Read(receipt) => Some(receipt.clone()),
        _ => None,
    });
    receipts.collect()
}

pub fn ids(entries: &[Arc<Entry>]) -> Vec<MessageId> {
    entries.iter().map(|entry| entry.message.id).collect()
}

pub fn contents(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.message.content.as_str()).collect()
}
