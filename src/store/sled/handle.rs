//! The handle on the open store: reads go to a blocking thread, unless their answer is known by
//! heart, everything else in line for the writer.

use std::fmt;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::claims::Print;
use super::inboxes::Inboxes;
use super::keys::Pair;
use super::log::Log;
use super::reader::{self, Mark};
use super::remover::Order;
use super::shared::Shared;
use super::writer::Request;
use super::{backup, export, revoked};
use crate::auth::Revocation;
use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::message::Profile;
use crate::store::{
    AppendError, Appended, Backup, ClaimedProfile, Conversations, Cursor, Draft, Erased, Export,
    Health, History, HistoryCursor, Page, Receipt, ResendKey, Seen, Span, Store, StoreError,
    Stretch,
};

/// Marks that go to the writer at once: as many as one frame can hold.
const MARKS_PIECE: usize = 1000;

/// A handle on the open store.
#[derive(Clone)]
pub struct SledStore {
    pub(super) shared: Arc<Shared>,
    pub(super) line: mpsc::Sender<Request>,
    pub(super) dir: Arc<Path>,
    pub(super) order: mpsc::Sender<Order>,
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("head", &self.shared.head()).finish_non_exhaustive()
    }
}

impl SledStore {
    /// Runs a read on a blocking thread: it may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Log, Cursor) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || {
            let suspensions = shared.suspensions();
            let log = shared.log()?;
            let outcome = work(&log, shared.head());
            if let Err(StoreError::Unavailable) = &outcome {
                shared.meet_full(suspensions);
            }
            outcome
        });
        let outcome = reading.await.unwrap_or_else(|_| {
            // sled panics on some damage.
            Err(StoreError::Damaged("the database failed in the middle of a read".to_owned()))
        });
        if let Err(StoreError::Damaged(what)) = &outcome {
            self.shared.damaged(what.clone());
        }
        outcome
    }

    /// What can be said without a read.
    pub(super) fn by_heart<T>(&self, say: impl FnOnce(&Inboxes, Cursor) -> Option<T>) -> Option<T> {
        // Before the look: what is durable up to there was entered before it.
        let head = self.shared.head();
        say(&self.shared.log().ok()?.inboxes, head)
    }

    /// Puts a request in line for the writer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, AppendError>>) -> Request,
    ) -> Result<Receipt<T>, AppendError> {
        let (reply, outcome) = oneshot::channel();
        self.line.send(request(reply)).await.map_err(|_| AppendError::Unavailable)?;
        Ok(Box::pin(async { outcome.await.unwrap_or(Err(AppendError::Unavailable)) }))
    }

    /// Finds what an earlier try of `draft` came to, if the client says that this is a
    /// later one.
    ///
    /// First by asking the writer, who knows the names of the last minutes by heart, also
    /// those of messages that are not durable yet. What it does not know is older, and so
    /// durable: that is looked for here, for the writer must hold up nobody.
    async fn first_try(&self, draft: &Draft) -> Result<Option<Appended>, AppendError> {
        let ResendKey::Client { id, again: true } = &draft.resend else {
            return Ok(None);
        };
        let known = self.ask(|reply| Request::Known(draft.clone(), reply)).await?.await?;
        if known.is_some() {
            return Ok(known);
        }
        let (pair, id) = (Pair { to: draft.to, from: draft.from }, id.clone());
        let found = self.read(move |log, head| reader::find_named(log, pair, &id, head));
        match found.await.map_err(|_| AppendError::Unavailable)? {
            Some(record) if record.message.content != draft.content => Err(AppendError::IdReused),
            Some(record) => Ok(Some(Appended { id: record.message.id, duplicate: true })),
            None => Ok(None),
        }
    }

    /// Marks what is unread of a pair up to `id`, in pieces, each durable before the next
    /// is looked for: neither the writer nor memory is filled by a long absence.
    async fn mark_up_to(
        &self,
        pair: Pair,
        id: MessageId,
        origin: Option<ConnectionId>,
    ) -> Result<(), AppendError> {
        // What comes in meanwhile was not seen.
        let end = self.shared.head().min(id.into());
        let mut after = Cursor::START;
        loop {
            let piece =
                self.read(move |log, _| reader::unread_up_to(log, pair, after, end, MARKS_PIECE));
            let piece = piece.await.map_err(|_| AppendError::Unavailable)?;
            let Some(last) = piece.last() else {
                return Ok(());
            };
            after = last.id.into();
            self.mark(pair.to, piece, origin).await?;
        }
    }

    async fn mark(
        &self,
        reader: UserId,
        marks: Vec<Mark>,
        origin: Option<ConnectionId>,
    ) -> Result<(), AppendError> {
        if marks.is_empty() {
            return Ok(());
        }
        self.ask(|reply| Request::MarkRead(reader, marks, origin, reply)).await?.await
    }
}

impl Store for SledStore {
    fn append(&self, draft: Draft) -> BoxFuture<'_, Result<Receipt<Appended>, AppendError>> {
        Box::pin(async move {
            if let Some(first) = self.first_try(&draft).await? {
                let receipt: Receipt<Appended> = Box::pin(ready(Ok(first)));
                return Ok(receipt);
            }
            self.ask(|reply| Request::Append(draft, reply)).await
        })
    }

    fn read_inbox(&self, inbox: UserId, span: Span) -> BoxFuture<'_, Result<Page, StoreError>> {
        if let Some(nothing) = self.by_heart(|known, head| known.page(inbox, span, head)) {
            return Box::pin(ready(Ok(nothing)));
        }
        Box::pin(self.read(move |log, head| {
            let page = reader::page(log, inbox, span, head)?;
            if span.unread_only
                && span.after == Cursor::START
                && page.entries.is_empty()
                && page.up_to == head
            {
                log.inboxes.found_nothing_unread(inbox, head);
            }
            Ok(page)
        }))
    }

    fn inbox_head(&self, inbox: UserId) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        if let Some(newest) = self.by_heart(|known, head| known.head(inbox, head)) {
            return Box::pin(ready(Ok(newest)));
        }
        Box::pin(self.read(move |log, head| {
            let removals = log.inboxes.removals();
            let newest = reader::inbox_head(log, inbox, head)?;
            log.inboxes.found_head(inbox, newest, removals);
            Ok(newest)
        }))
    }

    fn history(
        &self,
        user: UserId,
        peer: Sender,
        stretch: Stretch,
        limit: usize,
    ) -> BoxFuture<'_, Result<Option<History>, StoreError>> {
        Box::pin(self.read(move |log, head| reader::history(log, user, peer, stretch, limit, head)))
    }

    fn conversations(
        &self,
        user: UserId,
        after: Option<HistoryCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Conversations, StoreError>> {
        Box::pin(self.read(move |log, head| reader::conversations(log, user, after, limit, head)))
    }

    fn profile(&self, user: UserId) -> BoxFuture<'_, Result<Arc<Profile>, StoreError>> {
        Box::pin(self.read(move |log, _| reader::profile(log, user.into())))
    }

    fn lapsed(&self) -> Cursor {
        // Where there is no log there is nothing to read either.
        self.shared.log().map_or(Cursor::START, |log| Cursor(log.lapsed))
    }

    fn mark_read(&self, reader: UserId, seen: Seen, origin: Option<ConnectionId>) -> Receipt<()> {
        let store = self.clone();
        Box::pin(async move {
            match seen {
                Seen::Ids(mut ids) => {
                    let mut marks = store.shared.recent_marks(reader, &mut ids);
                    if !ids.is_empty() {
                        let older =
                            store.read(move |log, head| reader::marks(log, reader, ids, head));
                        marks.extend(older.await.map_err(|_| AppendError::Unavailable)?);
                    }
                    marks.sort_unstable();
                    marks.dedup();
                    store.mark(reader, marks, origin).await
                }
                Seen::UpTo { peer, id } => {
                    store.mark_up_to(Pair { to: reader, from: peer }, id, origin).await
                }
            }
        })
    }

    fn users(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<UserId>, StoreError>> {
        Box::pin(self.read(move |log, _| reader::users(log, after, limit)))
    }

    fn set_profile(&self, user: UserId, claimed: ClaimedProfile) -> Receipt<()> {
        let store = self.clone();
        Box::pin(async move {
            if claimed == ClaimedProfile::default() {
                return Ok(());
            }
            // Mostly it says what it said at the last connect.
            let print = Print::of(&claimed);
            if store.shared.log().is_ok_and(|log| log.claims.say_nothing_new(user, print)) {
                return Ok(());
            }
            let said = claimed.clone();
            let is_known = store.read(move |log, _| {
                let changes = log.claims.changes();
                let known = reader::profile(log, user.into())?;
                let is_known = said.over(&known) == *known;
                if is_known {
                    log.claims.found_the_same(user, print, changes);
                }
                Ok(is_known)
            });
            if is_known.await.map_err(|_| AppendError::Unavailable)? {
                return Ok(());
            }
            store.ask(|reply| Request::SetProfile(user, claimed, reply)).await?.await
        })
    }

    fn erase(&self, user: UserId) -> Receipt<Erased> {
        let order = self.order.clone();
        Box::pin(async move {
            let (reply, outcome) = oneshot::channel();
            order.send((user, reply)).await.map_err(|_| AppendError::Unavailable)?;
            outcome.await.unwrap_or(Err(AppendError::Unavailable))
        })
    }

    fn revoke(&self, revocation: Revocation) -> Receipt<()> {
        let store = self.clone();
        Box::pin(async move { store.ask(|reply| Request::Revoke(revocation, reply)).await?.await })
    }

    fn enable(&self, user: UserId) -> Receipt<()> {
        let store = self.clone();
        Box::pin(async move { store.ask(|reply| Request::Enable(user, reply)).await?.await })
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        Box::pin(self.read(|log, _| revoked::in_force(log)))
    }

    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>> {
        Box::pin(backup::begin(Arc::clone(&self.shared), Arc::clone(&self.dir)))
    }

    fn export(&self, whose: Option<UserId>) -> BoxFuture<'_, Result<Export, StoreError>> {
        Box::pin(export::begin(Arc::clone(&self.shared), whose))
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
