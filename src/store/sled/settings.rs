//! What the store takes from the configuration, each time that it opens its database.

use std::time::Duration;

use super::books::Books;
use super::log::Log;
use crate::config;
use crate::store::StoreError;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) cache_bytes: u64,
    /// Messages of a volume.
    pub(super) volume: u64,
    unread_max: u64,
    resend_window: Duration,
    dedup_window: Duration,
}

impl Settings {
    pub(super) fn of(store: &config::Store, limits: &config::Limits) -> Self {
        Self {
            cache_bytes: store.cache_bytes,
            volume: store.volume_messages,
            unread_max: limits.unread_per_user,
            resend_window: store.resend_window,
            dedup_window: store.dedup_window,
        }
    }

    /// Opens the books on `tree`, behind the message `last_id`.
    pub(super) fn books(&self, log: Log, last_id: u64) -> Result<Books, StoreError> {
        let Self { unread_max, resend_window, dedup_window, .. } = *self;
        Books::open(log, last_id, unread_max, resend_window, dedup_window)
    }
}
