//! A look into a data directory that no server has open, by the store itself.

use std::path::Path;
use std::sync::Arc;

use imserver::config::{Limits, Store as StoreConfig};
use imserver::ids::UserId;
use imserver::metrics::StoreMetrics;
use imserver::store::sled::{self, OpenError};
use imserver::store::{Cursor, Entry, Span, Store, StoreError};
use prometheus_client::registry::Registry;

/// Opens the store in `dir`; nobody listens to its tail.
pub fn try_open(dir: &Path) -> Result<Box<dyn Store>, OpenError> {
    opened(dir, StoreConfig::default().volume_messages)
}

fn opened(dir: &Path, volume_messages: u64) -> Result<Box<dyn Store>, OpenError> {
    let (path, cache_bytes) = (dir.to_owned(), 16 << 20);
    let config = StoreConfig { path, cache_bytes, volume_messages, ..StoreConfig::default() };
    let metrics = StoreMetrics::register(&mut Registry::default());
    let (store, _tail) = sled::open(&config, &Limits::default(), metrics)?;
    Ok(Box::new(store))
}

/// Opens the store in `dir`, which must be whole.
pub fn open(dir: &Path) -> Box<dyn Store> {
    try_open(dir).unwrap()
}

/// The same, with so many messages in a volume.
pub fn open_with(dir: &Path, volume_messages: u64) -> Box<dyn Store> {
    opened(dir, volume_messages).unwrap()
}

/// All that lies in an inbox, or what is unread of it.
pub async fn inbox(store: &dyn Store, user: u64, unread_only: bool) -> Vec<Arc<Entry>> {
    let (found, failed) = read_inbox(store, user, unread_only).await;
    assert_eq!(failed, None);
    found
}

/// What can be read of that, and why no more.
pub async fn read_inbox(
    store: &dyn Store,
    user: u64,
    unread_only: bool,
) -> (Vec<Arc<Entry>>, Option<StoreError>) {
    let inbox = UserId::new(user).unwrap();
    let mut found = Vec::new();
    let mut after = Cursor::START;
    loop {
        let span = Span { after, until: None, unread_only };
        let page = match store.read_inbox(inbox, span).await {
            Ok(page) => page,
            Err(error) => return (found, Some(error)),
        };
        found.extend(page.entries);
        if page.up_to >= page.head {
            return (found, None);
        }
        after = page.up_to;
    }
}
