//! Backups: a copy of the running store as one stream of bytes, and the way back.

mod copy;
mod format;
mod restore;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{error, info, warn};

pub use self::format::{Flaw, Header, Summary};
pub use self::restore::{BackupError, Checker, check, restore};
use super::panics::caught;
use super::shared::Shared;
use super::stream::{self, Line, Stop};
use crate::store::{Backup, StoreError};

/// What lies beside the database and comes along: a log that only grows, line by line.
const LOG: &str = "audit.jsonl";

/// The rest of a torn line of it, which the log names with its hash.
const TORN: &str = "audit.torn-";

/// Whether a file of this name comes along; a name is never a path.
fn is_companion(name: &str) -> bool {
    let number = name.strip_prefix(TORN);
    name == LOG || number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Frames that wait to be taken: some 256 KiB.
const CHUNKS: usize = 4;

/// Begins a backup of an open store, on a thread of its own.
pub(super) async fn begin(shared: Arc<Shared>, dir: Arc<Path>) -> Result<Backup, StoreError> {
    let (chunks, taken) = mpsc::channel(CHUNKS);
    let still = shared.hold_still().await;
    let backup = Backup { messages: shared.messages(), chunks: taken };
    let line = Line::to(chunks);
    stream::aside(move || {
        let _still = still;
        match caught(|| copy::copy(&shared, &dir, &line)) {
            Ok(()) => info!("a backup was handed over"),
            Err(Stop::Unwanted) => warn!("nobody takes the backup any more: it was given up"),
            Err(Stop::Store(error)) => {
                shared.met(&error);
                // Whoever has left needs no reason.
                let _ = line.send(Err(error));
            }
            Err(Stop::Beside(error)) => {
                error!(%error, "the backup was given up");
                let _ = line.send(Err(error));
            }
        }
    });
    Ok(backup)
}
