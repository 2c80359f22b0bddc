//! The store on sled 0.34: one tree, one writer thread, group commit.
//!
//! Durable means `sync_data` on sled's own file after its `flush`; a message is
//! visible to readers only then, by the watermark. A failed write is final for
//! the process: reading goes on, writing does not, because nobody can say any
//! more what is on the disk.

mod books;
mod census;
mod codec;
mod commit;
mod keys;
mod manifest;
mod open;
mod read_state;
mod reader;
mod record;
mod refusal;
mod rehearsal;
mod resend_index;
mod seal;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::BoxFuture;
use sled::Tree;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use self::books::Books;
use self::keys::Pair;
pub use self::refusal::OpenError;
use self::writer::{Request, Writer};
use super::{
    AppendError, Appended, ClaimedProfile, Conversations, Cursor, Draft, Health, History,
    HistoryCursor, Page, Receipt, ResendKey, Seen, Span, Store, StoreError, Stretch, Tail,
};
use crate::config;
use crate::ids::{ConnectionId, Sender, UserId};
use crate::message::Profile;
use crate::metrics::StoreMetrics;

/// Requests that wait for the writer: several commits' worth. Past it, who appends waits.
const LINE: usize = 1024;

/// Commits that wait to be announced.
const TAIL: usize = 64;

/// Opens the store that `config` names, making it when there is none, and gives it
/// with the tail of what is committed from now on.
///
/// Checks first that nothing is missing: see [`OpenError::Damaged`]. Blocks meanwhile.
///
/// # Errors
/// Says what is in the way and what to do; the directory is left as it was.
pub fn open(
    config: &config::Store,
    limits: &config::Limits,
    metrics: StoreMetrics,
) -> Result<(SledStore, Tail), OpenError> {
    let began = Instant::now();
    let opened = open::open(&config.path, config.cache_bytes)?;
    let census = opened.census;
    let tree = (*opened.db).clone();
    let books = Books::open(
        tree.clone(),
        census.last_id,
        limits.unread_per_user,
        config.resend_window,
        config.dedup_window,
    )
    .map_err(|error| refusal::damaged(&config.path, error.to_string()))?;
    info!(
        path = %config.path.display(),
        messages = census.messages,
        took = ?began.elapsed(),
        "store opened and checked"
    );
    let shared = Arc::new(Shared {
        tree: Mutex::new(Some(tree)),
        watermark: AtomicU64::new(census.last_id),
        health: Mutex::new(Health::Ready),
    });
    let (line, requests) = mpsc::channel(LINE);
    let (announce, tail) = mpsc::channel(TAIL);
    let writer = Writer {
        db: opened.db,
        file: opened.file,
        lock: opened.lock,
        dir: config.path.clone(),
        manifest: opened.manifest,
        books,
        census,
        shared: Arc::clone(&shared),
        requests,
        tail: announce,
        metrics,
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || writer.run())
        .map_err(|source| OpenError::Directory {
            path: config.path.clone(),
            source,
            advice: "The system gives this process no more threads.",
        })?;
    Ok((SledStore { shared, line }, tail))
}

/// A handle on the open store.
#[derive(Clone)]
pub struct SledStore {
    shared: Arc<Shared>,
    line: mpsc::Sender<Request>,
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("head", &self.shared.head()).finish_non_exhaustive()
    }
}

/// What the writer and the readers have in common.
#[derive(Debug)]
struct Shared {
    /// Gone once the store is closed.
    tree: Mutex<Option<Tree>>,
    /// The highest id that is durable: nothing above it may be shown.
    watermark: AtomicU64,
    health: Mutex<Health>,
}

impl Shared {
    fn head(&self) -> Cursor {
        Cursor(self.watermark.load(Ordering::Acquire))
    }

    /// Lets readers see up to `id`; says whether there was nothing before.
    fn raise(&self, id: u64) -> bool {
        self.watermark.swap(id, Ordering::AcqRel) == 0
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, why: String) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::ReadOnly { why };
    }

    fn close(&self) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::Closed;
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tree(&self) -> Result<Tree, StoreError> {
        let tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        tree.clone().ok_or(StoreError::Unavailable)
    }
}

impl SledStore {
    /// Runs a read on a blocking thread: it may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree, Cursor) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || work(&shared.tree()?, shared.head()));
        let outcome = reading.await.unwrap_or_else(|_| {
            // sled panics on some damage.
            Err(StoreError::Damaged("the database failed in the middle of a read".to_owned()))
        });
        if let Err(StoreError::Damaged(what)) = &outcome {
            error!(what, "the store is damaged: stop, copy it away, restore a backup");
            self.shared.fail(format!("damaged: {what}"));
        }
        outcome
    }

    /// Puts a request in line for the writer.
    async fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, AppendError>>) -> Request,
    ) -> Result<Receipt<T>, AppendError> {
        let (reply, outcome) = oneshot::channel();
        self.line.send(request(reply)).await.map_err(|_| AppendError::Unavailable)?;
        Ok(Box::pin(async { outcome.await.unwrap_or(Err(AppendError::Unavailable)) }))
    }

    /// Looks for the first try of a packet that the client itself calls a later one.
    async fn first_try(&self, draft: &Draft) -> Result<Option<Appended>, AppendError> {
        let ResendKey::Client { id, again: true } = &draft.resend else {
            return Ok(None);
        };
        let (pair, id) = (Pair { to: draft.to, from: draft.from }, id.clone());
        let found = self
            .read(move |tree, head| {
                let found = reader::find_client_id(tree, pair, &id)?;
                Ok(found.filter(|record| Cursor::from(record.message.id) <= head))
            })
            .await
            .map_err(|_| AppendError::Unavailable)?;
        match found {
            Some(record) if record.message.content != draft.content => Err(AppendError::IdReused),
            Some(record) => Ok(Some(Appended { id: record.message.id, duplicate: true })),
            None => Ok(None),
        }
    }
}

impl Store for SledStore {
    fn append(&self, draft: Draft) -> BoxFuture<'_, Result<Receipt<Appended>, AppendError>> {
        Box::pin(async move {
            if let Some(first) = self.first_try(&draft).await? {
                let receipt: Receipt<Appended> = Box::pin(std::future::ready(Ok(first)));
                return Ok(receipt);
            }
            self.ask(|reply| Request::Append(draft, reply)).await
        })
    }

    fn read_inbox(&self, inbox: UserId, span: Span) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(self.read(move |tree, head| reader::page(tree, inbox, span, head)))
    }

    fn inbox_head(&self, inbox: UserId) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        Box::pin(self.read(move |tree, head| {
            let mut newest = Cursor::START;
            for peer in reader::peers(tree, inbox) {
                let pair = Pair { to: inbox, from: peer? };
                if let Some(row) =
                    tree.range(keys::message(pair, 0)..=keys::message(pair, head.get())).next_back()
                {
                    let (key, _) = row.map_err(|_| StoreError::Unavailable)?;
                    if let Some((_, id)) = keys::parse_message(&key) {
                        newest = newest.max(id.into());
                    }
                }
            }
            Ok(newest)
        }))
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
        let store = self.clone();
        let Seen::Ids(ids) = seen else {
            return Box::pin(std::future::ready(Err(AppendError::Unavailable)));
        };
        Box::pin(async move {
            let marks = store.read(move |tree, head| reader::marks(tree, reader, ids, head)).await;
            let marks = marks.map_err(|_| AppendError::Unavailable)?;
            if marks.is_empty() {
                return Ok(());
            }
            store.ask(|reply| Request::MarkRead(reader, marks, reply)).await?.await
        })
    }

    fn set_profile(&self, user: UserId, claimed: ClaimedProfile) -> Receipt<()> {
        let store = self.clone();
        Box::pin(async move {
            if claimed == ClaimedProfile::default() {
                return Ok(());
            }
            let known = store.read(move |tree, _| reader::profile(tree, user.into())).await;
            let known = known.map_err(|_| AppendError::Unavailable)?;
            // Mostly it says what it said at the last connect.
            if claimed.over(&known) == *known {
                return Ok(());
            }
            store.ask(|reply| Request::SetProfile(user, claimed, reply)).await?.await
        })
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            let (done, closed) = oneshot::channel();
            if self.line.send(Request::Close(done)).await.is_err() {
                return Err(StoreError::Unavailable);
            }
            if closed.await == Ok(true) { Ok(()) } else { Err(StoreError::Unavailable) }
        })
    }
}
