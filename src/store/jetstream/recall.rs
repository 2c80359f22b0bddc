//! The names that packets were given before this node came: a look at the newest messages, once,
//! so that none of them is given to another recipient here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::shared::Shared;
use crate::store::StoreError;

/// Messages that are looked at, in all partitions together: some hundred megabytes in the
/// worst case, and most services have fewer within the window. Older ones are passed over.
const MESSAGES: u64 = 200_000;

/// Messages that are read at once.
const BATCH: usize = 1000;

/// How long the start waits for it; past that it goes on beside the service.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks, within `tasks` and until `over`.
pub(super) async fn recall(shared: &Arc<Shared>, tasks: &TaskTracker, over: &CancellationToken) {
    let (shared, over) = (Arc::clone(shared), over.clone());
    let recalling = async move {
        match names(&shared).await {
            Ok(0) => {}
            Ok(messages) => info!(messages, "looked at the newest messages for their names"),
            Err(error) => warn!(%error, "the names of the newest messages are not known here"),
        }
    };
    let recalling = tasks.spawn(async move { over.run_until_cancelled_owned(recalling).await });
    if timeout(PATIENCE, recalling).await.is_err() {
        warn!("the newest messages are still being looked at for their names");
    }
}

/// How many messages were looked at.
async fn names(shared: &Shared) -> Result<u64, StoreError> {
    let log = &shared.log;
    let since = SystemTime::now().checked_sub(shared.rules.dedup_window);
    // An earlier one could not be written down for the servers.
    let since = since.unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH);
    let at_most = (MESSAGES / log.names.partitions()).max(1);
    let mut looked = 0;
    for part in 0..log.names.partitions() {
        let (stream, filter) = (log.names.messages(part), log.names.all_messages(part));
        let Some(first) = log.reads.first_since(&stream, &filter, since).await? else { continue };
        let last = log.reads.reach(&stream).await?.last;
        let mut next = first.max(last.saturating_sub(at_most) + 1);
        while next <= last {
            let places = (next, last);
            let found = log.reads.between(&stream, &filter, places, BATCH).await?.found();
            for raw in &found {
                let kept = log.message(part, raw)?;
                if let Some(name) = &kept.client_id {
                    let message = &kept.message;
                    shared.claims.heard(message.from, name, message.to, message.stored_at);
                }
                next = raw.seq + 1;
            }
            looked += found.len() as u64;
            if found.is_empty() {
                break;
            }
        }
    }
    Ok(looked)
}
