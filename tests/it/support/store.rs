//! A look into a data directory that no server has open, by the store itself.

use std::path::Path;
use std::sync::Arc;

use imserver::config::{Limits, Store as StoreConfig};
use imserver::ids::UserId;
use imserver::metrics::StoreMetrics;
use imserver::store::sled::{self, OpenError};
use imserver::store::{Cursor, Entry, Span, Store};
use prometheus_client::registry::Registry;

/// Opens the store in `dir`; nobody listens to its tail.
pub fn try_open(dir: &Path) -> Result<Box<dyn Store>, OpenError> {
    let config =
        StoreConfig { path: dir.to_owned(), cache_bytes: 16 << 20, ..StoreConfig::default() };
    let metrics = StoreMetrics::register(&mut Registry::default());
    let (store, _tail) = sled::open(&config, &Limits::default(), metrics)?;
    Ok(Box::new(store))
}

/// Opens the store in `dir`, which must be whole.
pub fn open(dir: &Path) -> Box<dyn Store> {
    try_open(dir).unwrap()
}

/// All that lies in an inbox, or what is unread of it.
pub async fn inbox(store: &dyn Store, user: u64, unread_only: bool) -> Vec<Arc<Entry>> {
    let inbox = UserId::new(user).unwrap();
    let mut found = Vec::new();
    let mut after = Cursor::START;
    loop {
        let span = Span { after, until: None, unread_only };
        let page = store.read_inbox(inbox, span).await.unwrap();
        found.extend(page.entries);
        if page.up_to >= page.head {
            return found;
        }
        after = page.up_to;
    }
}
