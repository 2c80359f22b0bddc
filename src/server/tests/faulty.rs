//! A store in memory in which faults of our own are met, on cue.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::auth::Revocation;
use crate::config::Config;
use crate::ids::{ConnectionId, Sender, UserId};
use crate::message::Profile;
use crate::store::memory::{self, MemoryStore};
use crate::store::{
    AppendError, Appended, Backup, ClaimedProfile, Conversations, Cursor, Draft, Erased, Export,
    Health, History, HistoryCursor, Page, Receipt, Seen, Span, Store, StoreError, Stretch, Tail,
};

/// The content that cannot be stored without a fault.
pub(super) const FAULT: &str = "panic";

/// The user for whom nothing can be read without one.
pub(super) const UNLUCKY: u64 = 13;

#[derive(Debug)]
pub(super) struct Faulty(MemoryStore);

impl Faulty {
    pub(super) fn open(config: &Config) -> (Self, Tail) {
        let (store, tail) = memory::open(&config.store, &config.limits);
        (Self(store), tail)
    }
}

/// Meets a fault where `user` is the unlucky one.
fn read_for(user: UserId) {
    assert!(user.get() != UNLUCKY, "a fault of ours");
}

impl Store for Faulty {
    fn append(&self, draft: Draft) -> BoxFuture<'_, Result<Receipt<Appended>, AppendError>> {
        assert!(draft.content != FAULT, "a fault of ours");
        self.0.append(draft)
    }

    fn read_inbox(&self, inbox: UserId, span: Span) -> BoxFuture<'_, Result<Page, StoreError>> {
        read_for(inbox);
        self.0.read_inbox(inbox, span)
    }

    fn inbox_head(&self, inbox: UserId) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        self.0.inbox_head(inbox)
    }

    fn mark_read(&self, reader: UserId, seen: Seen, origin: Option<ConnectionId>) -> Receipt<()> {
        self.0.mark_read(reader, seen, origin)
    }

    fn history(
        &self,
        user: UserId,
        peer: Sender,
        stretch: Stretch,
        limit: usize,
    ) -> BoxFuture<'_, Result<Option<History>, StoreError>> {
        read_for(user);
        self.0.history(user, peer, stretch, limit)
    }

    fn conversations(
        &self,
        user: UserId,
        after: Option<HistoryCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Conversations, StoreError>> {
        self.0.conversations(user, after, limit)
    }

    fn profile(&self, user: UserId) -> BoxFuture<'_, Result<Arc<Profile>, StoreError>> {
        self.0.profile(user)
    }

    fn users(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<UserId>, StoreError>> {
        self.0.users(after, limit)
    }

    fn set_profile(&self, user: UserId, claimed: ClaimedProfile) -> Receipt<()> {
        self.0.set_profile(user, claimed)
    }

    fn erase(&self, user: UserId) -> Receipt<Erased> {
        self.0.erase(user)
    }

    fn revoke(&self, revocation: Revocation) -> Receipt<()> {
        self.0.revoke(revocation)
    }

    fn enable(&self, user: UserId) -> Receipt<()> {
        self.0.enable(user)
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        panic!("a fault of ours")
    }

    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>> {
        self.0.backup()
    }

    fn export(&self, whose: Option<UserId>) -> BoxFuture<'_, Result<Export, StoreError>> {
        self.0.export(whose)
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.close()
    }
}
