//! The store on sled 0.34: one tree, one writer thread, group commit.
//!
//! Durable means `sync_data` on the journal, which sled follows (`journal`); a message is
//! visible to readers only then, by the watermark. After a failed write reading goes on
//! and writing does not, because nobody can say any more what is on the disk: for good
//! where the disk fails, and where it was full until all of it was read again.

mod anew;
mod aside;
mod backup;
mod believe;
mod blobs;
mod books;
mod census;
mod claims;
mod codec;
mod commit;
mod compact;
mod departure;
mod export;
mod fingerprint;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod gone;
mod handle;
mod hot;
mod import;
mod inboxes;
mod journal;
mod keys;
mod log;
mod lookout;
mod manifest;
mod names;
mod open;
mod packer;
mod page_cache;
mod panics;
mod read_state;
mod reader;
mod recent;
mod record;
mod refusal;
mod rehearsal;
mod removal;
mod remover;
mod renew;
mod resend_index;
mod revoked;
mod room;
mod rows;
mod seal;
mod segment;
mod settings;
mod shared;
mod shelf;
mod staging;
mod stream;
#[cfg(test)]
mod tests;
mod verify;
mod volume;
mod writer;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::info;

pub use self::backup::{BackupError, Checker, Flaw, Header, Summary, check, restore};
pub use self::compact::{Compacted, Progress, compact};
pub use self::departure::Departure;
pub use self::fingerprint::Findings;
pub use self::folder::must_exist;
pub use self::handle::SledStore;
pub use self::import::{ImportError, import};
pub use self::refusal::OpenError;
use self::remover::{ORDERS, Remover};
use self::settings::Settings;
use self::shared::Shared;
pub use self::staging::FillError;
pub use self::verify::verify;
use self::writer::Idle;
use super::Tail;
use crate::config;
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
/// Says what is in the way and what to do; the directory is left as it was, but for what
/// [`OpenError::Damaged`] says.
pub fn open(
    config: &config::Store,
    limits: &config::Limits,
    metrics: StoreMetrics,
) -> Result<(SledStore, Tail), OpenError> {
    let began = Instant::now();
    let (lock, opened) = open::open(&config.path, config.cache_bytes)?;
    let census = opened.census;
    let log = opened.log.clone();
    let settings = Settings::of(config, limits);
    let books = settings
        .books(log.clone(), census.last_id)
        .map_err(|error| refusal::found_late(refusal::met(&config.path, error)))?;
    let unfinished = reader::erasures(&log)
        .map_err(|error| refusal::found_late(refusal::met(&config.path, error)))?;
    info!(
        path = %config.path.display(),
        messages = census.kept(),
        took = ?began.elapsed(),
        "store opened and checked"
    );
    metrics.given(census.last_id);
    let shared = Arc::new(Shared::new(log, census));
    let (line, requests) = mpsc::channel(LINE);
    let (announce, tail) = mpsc::channel(TAIL);
    let writer = Idle {
        lock,
        dir: config.path.clone(),
        settings,
        shared: Arc::clone(&shared),
        requests,
        tail: announce,
        metrics,
    };
    let writer = writer.write(opened, books);
    spawn(config, "store-writer", move || writer.run())?;
    let overseen = Arc::clone(&shared);
    spawn(config, "store-lookout", move || lookout::run(&overseen))?;
    let walked = Arc::clone(&shared);
    spawn(config, "store-inboxes", move || inboxes::walk(&walked))?;
    let (order, orders) = mpsc::channel(ORDERS);
    let retention = Some(config.retention).filter(|age| !age.is_zero());
    let volume = settings.volume;
    let (shared_too, line_too) = (Arc::clone(&shared), line.clone());
    let remover =
        Remover { shared: shared_too, line: line_too, orders, retention, unfinished, volume };
    spawn(config, "store-remover", move || remover.run())?;
    let dir = config.path.as_path().into();
    Ok((SledStore { shared, line, order, dir }, tail))
}

/// Gives some work a thread of its own.
fn spawn(
    config: &config::Store,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), OpenError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|source| OpenError::Directory {
        path: config.path.clone(),
        source,
        advice: "The system gives this process no more threads.",
    })
}
