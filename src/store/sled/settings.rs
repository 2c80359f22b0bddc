//! What the store takes from the configuration, each time that it opens its database.

use super::books::Books;
use super::log::Log;
use crate::config;
use crate::store::StoreError;
use crate::store::rules::Rules;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) cache_bytes: u64,
    /// Messages of a volume.
    pub(super) volume: u64,
    rules: Rules,
}

impl Settings {
    pub(super) fn of(store: &config::Store, limits: &config::Limits) -> Self {
        Self {
            cache_bytes: store.cache_bytes,
            volume: store.volume_messages,
            rules: Rules::of(store, limits),
        }
    }

    /// Opens the books on `log`, behind the message `last_id`.
    pub(super) fn books(&self, log: Log, last_id: u64) -> Result<Books, StoreError> {
        Books::open(log, last_id, self.rules)
    }
}
