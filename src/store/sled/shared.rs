//! What the writer and the readers have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sled::Tree;
use tokio::sync::OwnedMutexGuard;
use tracing::error;

use super::census::Census;
use crate::store::{Cursor, Health, StoreError};

#[derive(Debug)]
pub(super) struct Shared {
    /// Gone once the store is closed.
    tree: Mutex<Option<Tree>>,
    /// The highest id that is durable: nothing above it may be shown.
    watermark: AtomicU64,
    /// How many messages there are.
    messages: AtomicU64,
    health: Mutex<Health>,
    /// Held while a backup is made, and by whoever takes messages away.
    still: Arc<tokio::sync::Mutex<()>>,
}

impl Shared {
    pub(super) fn new(tree: Tree, census: Census) -> Self {
        Self {
            tree: Mutex::new(Some(tree)),
            watermark: AtomicU64::new(census.last_id),
            messages: AtomicU64::new(census.kept()),
            health: Mutex::new(Health::Ready),
            still: Arc::default(),
        }
    }

    /// Waits until nothing is being taken away, and keeps it so while the guard lives.
    ///
    /// A backup holds it from its first row to its last; removal takes it for every piece
    /// of its work, so that a backup sees all of a piece or nothing. It is taken by tasks
    /// and never by the writer, which waits for nobody.
    pub(super) async fn hold_still(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.still).lock_owned().await
    }

    /// How many messages there are, for people: it may be a commit behind.
    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(super) fn set_messages(&self, messages: u64) {
        self.messages.store(messages, Ordering::Relaxed);
    }

    /// A read came to this: damage is for everybody to know.
    pub(super) fn met(&self, error: &StoreError) {
        if let StoreError::Damaged(what) = error {
            error!(what, "the store is damaged: stop, copy it away, restore a backup");
            self.fail(format!("damaged: {what}"));
        }
    }

    pub(super) fn head(&self) -> Cursor {
        Cursor(self.watermark.load(Ordering::Acquire))
    }

    /// Lets readers see up to `id`; says whether there was nothing before.
    pub(super) fn raise(&self, id: u64) -> bool {
        self.watermark.swap(id, Ordering::AcqRel) == 0
    }

    pub(super) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn fail(&self, why: String) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::ReadOnly { why };
    }

    pub(super) fn close(&self) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::Closed;
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn tree(&self) -> Result<Tree, StoreError> {
        let tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        tree.clone().ok_or(StoreError::Unavailable)
    }
}
