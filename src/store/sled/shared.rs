//! What the writer and the readers have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sled::Tree;
use tracing::error;

use crate::store::{Cursor, Health, StoreError};

#[derive(Debug)]
pub(super) struct Shared {
    /// Gone once the store is closed.
    tree: Mutex<Option<Tree>>,
    /// The highest id that is durable: nothing above it may be shown.
    watermark: AtomicU64,
    health: Mutex<Health>,
}

impl Shared {
    pub(super) fn new(tree: Tree, last_id: u64) -> Self {
        Self {
            tree: Mutex::new(Some(tree)),
            watermark: AtomicU64::new(last_id),
            health: Mutex::new(Health::Ready),
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

    /// A reader met damage: nothing is written on top of it.
    pub(super) fn damaged(&self, what: String) {
        error!(what, "the store is damaged: stop, copy it away, restore a backup");
        self.fail(format!("damaged: {what}"));
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
