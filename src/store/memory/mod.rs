//! The store without a disk, for tests and for programs that embed the server in theirs.
//!
//! It keeps every promise of the contract except the one it cannot: what it holds
//! ends with the process. Written to be believed by reading it once; it forgets
//! nothing and so grows for as long as it lives.

mod contents;
mod conversations;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, ready};
use tokio::sync::mpsc;

use self::contents::Contents;
use super::rules::Rules;
use super::{
    Announcement, AppendError, Appended, Backup, ClaimedProfile, Conversations, Cursor, Draft,
    Erased, Export, Health, History, HistoryCursor, Page, Piece, Receipt, Seen, Span, Store,
    StoreError, Stretch, Tail,
};
use crate::auth::Revocation;
use crate::config;
use crate::ids::{ConnectionId, Sender, UserId};
use crate::message::Profile;

/// What waits to be announced. Past it, who appends or marks waits.
const TAIL: usize = 64;

/// A handle on a store in memory.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("head", &self.locked().contents.head())
            .finish_non_exhaustive()
    }
}

struct Shared {
    rules: Rules,
    contents: Contents,
    /// Gone once the store is closed.
    tail: Option<mpsc::Sender<Vec<Announcement>>>,
}

/// Makes an empty store and gives it with the tail of what is appended to it.
///
/// Of `config` it looks at the windows alone. Resend windows go by tokio's time, so
/// that a test can move it.
pub fn open(config: &config::Store, limits: &config::Limits) -> (MemoryStore, Tail) {
    MemoryStore::with(Rules::of(config, limits), Contents::default())
}

impl MemoryStore {
    fn with(rules: Rules, contents: Contents) -> (Self, Tail) {
        let (announce, tail) = mpsc::channel(TAIL);
        let shared = Shared { rules, contents, tail: Some(announce) };
        let shared = Arc::new(Mutex::new(shared));
        (Self { shared }, tail)
    }

    /// Closes this store and opens what it holds anew, as the next process would.
    pub fn reopen(&self) -> (Self, Tail) {
        let mut shared = self.locked();
        shared.tail = None;
        let contents = std::mem::take(&mut shared.contents);
        Self::with(shared.rules, contents)
    }

    fn locked(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is there at this moment.
    fn read<T>(
        &self,
        work: impl FnOnce(&Contents) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let shared = self.locked();
        match shared.tail {
            Some(_) => work(&shared.contents),
            None => Err(StoreError::Unavailable),
        }
    }

    /// Changes what is there and announces what came of it, in one step: the order of the
    /// changes is the order of the news.
    async fn change<T>(
        &self,
        work: impl FnOnce(&mut Contents, Rules) -> Result<(T, Vec<Announcement>), AppendError>,
    ) -> Result<T, AppendError> {
        let tail = self.locked().tail.clone().ok_or(AppendError::Unavailable)?;
        // Nobody listening is no fault.
        let room = tail.reserve().await.ok();
        let mut shared = self.locked();
        if shared.tail.is_none() {
            return Err(AppendError::Unavailable);
        }
        let rules = shared.rules;
        let (outcome, news) = work(&mut shared.contents, rules)?;
        if let Some(room) = room.filter(|_| !news.is_empty()) {
            room.send(news);
        }
        Ok(outcome)
    }
}

impl Store for MemoryStore {
    fn append(&self, draft: Draft) -> BoxFuture<'_, Result<Receipt<Appended>, AppendError>> {
        Box::pin(async move {
            let outcome = self.change(|contents, rules| contents.append(draft, rules)).await;
            if outcome == Err(AppendError::Unavailable) {
                return Err(AppendError::Unavailable);
            }
            let receipt: Receipt<Appended> = Box::pin(ready(outcome));
            Ok(receipt)
        })
    }

    fn read_inbox(&self, inbox: UserId, span: Span) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(ready(self.read(|contents| Ok(contents.page(inbox, span)))))
    }

    fn inbox_head(&self, inbox: UserId) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        Box::pin(ready(self.read(|contents| Ok(contents.inbox_head(inbox)))))
    }

    fn mark_read(&self, reader: UserId, seen: Seen, origin: Option<ConnectionId>) -> Receipt<()> {
        let store = self.clone();
        Box::pin(async move {
            store.change(|contents, _| Ok(((), contents.mark_read(reader, seen, origin)))).await
        })
    }

    fn history(
        &self,
        user: UserId,
        peer: Sender,
        stretch: Stretch,
        limit: usize,
    ) -> BoxFuture<'_, Result<Option<History>, StoreError>> {
        Box::pin(ready(self.read(|contents| contents.history(user, peer, stretch, limit))))
    }

    fn conversations(
        &self,
        user: UserId,
        after: Option<HistoryCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Conversations, StoreError>> {
        Box::pin(ready(self.read(|contents| contents.conversations(user, after, limit))))
    }

    fn profile(&self, user: UserId) -> BoxFuture<'_, Result<Arc<Profile>, StoreError>> {
        Box::pin(ready(self.read(|contents| Ok(contents.profile(user.into())))))
    }

    fn users(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<UserId>, StoreError>> {
        Box::pin(ready(self.read(|contents| Ok(contents.users(after, limit)))))
    }

    fn set_profile(&self, user: UserId, claimed: ClaimedProfile) -> Receipt<()> {
        let mut shared = self.locked();
        let outcome = match shared.tail {
            Some(_) => {
                shared.contents.set_profile(user, &claimed);
                Ok(())
            }
            None => Err(AppendError::Unavailable),
        };
        Box::pin(ready(outcome))
    }

    fn erase(&self, user: UserId) -> Receipt<Erased> {
        let mut shared = self.locked();
        let outcome = match shared.tail {
            Some(_) => Ok(shared.contents.erase(user)),
            None => Err(AppendError::Unavailable),
        };
        Box::pin(ready(outcome))
    }

    fn revoke(&self, revocation: Revocation) -> Receipt<()> {
        let store = self.clone();
        Box::pin(
            async move { store.change(|contents, _| Ok(((), contents.revoke(revocation)))).await },
        )
    }

    fn enable(&self, user: UserId) -> Receipt<()> {
        let store = self.clone();
        Box::pin(async move { store.change(|contents, _| Ok(((), contents.enable(user)))).await })
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        Box::pin(ready(self.read(|contents| Ok(contents.revocations()))))
    }

    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>> {
        Box::pin(ready(Err(StoreError::Unavailable)))
    }

    fn export(&self, whose: Option<UserId>) -> BoxFuture<'_, Result<Export, StoreError>> {
        let held = self.read(|contents| Ok((contents.head(), contents.records(whose))));
        Box::pin(ready(held.map(|(last_id, records)| {
            let (pieces, taken) = mpsc::channel(2);
            for piece in [Piece::Records(records), Piece::End] {
                // There is room for both.
                let _ = pieces.try_send(Ok(piece));
            }
            Export { last_id, lapsed: 0, pieces: taken }
        })))
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
