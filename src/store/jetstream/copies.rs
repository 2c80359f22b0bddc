//! By how many servers each stream is kept: raised by the command that makes streams, while
//! the nodes go on.

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, Info};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::amend;
use super::deployment::{self, AGAIN, PATIENCE};
use super::refusal::OpenError;
use super::survey;

/// Refuses a stream that fewer servers keep than is wanted.
pub(super) fn check(found: &Info, wanted: &Config) -> Result<(), OpenError> {
    if are_enough(found, wanted) {
        return Ok(());
    }
    Err(OpenError::Streams(format!(
        "the stream {} is kept by {} servers, and store.jetstream.replicas is {}: `imserver \
         cluster create` raises it, while nodes go on with the number of before; or write less",
        wanted.name, found.config.num_replicas, wanted.num_replicas
    )))
}

pub(super) fn are_enough(found: &Info, wanted: &Config) -> bool {
    found.config.num_replicas >= wanted.num_replicas
}

/// Has each of these streams kept by as many servers as is wanted, one after the other: the
/// next one when all servers of the one before have it. Those that were changed are added to
/// `raised`.
///
/// # Errors
/// Says which stream is not whole yet, or cannot be. Asked again it goes on from there.
pub(super) async fn raise(
    context: &Context,
    streams: &[Config],
    raised: &mut Vec<String>,
) -> Result<(), OpenError> {
    for wanted in streams {
        // The groups of servers are changed while all of them take part.
        if !are_enough(&whole(context, &wanted.name).await?, wanted) {
            let (name, copies) = (&wanted.name, wanted.num_replicas);
            let so_many = ("num_replicas", json!(copies));
            if let Err(why) = amend::amend(context, name, &so_many).await {
                return Err(OpenError::Cluster(format!(
                    "the stream {name} cannot be kept by {copies} servers: {why}. So many NATS \
                     servers must take part, with room for it"
                )));
            }
            info!(stream = name, replicas = copies, "stream kept by more servers");
            raised.push(wanted.name.clone());
            whole(context, &wanted.name).await?;
        }
    }
    Ok(())
}

/// Waits until all servers that should keep a stream have all of it.
async fn whole(context: &Context, name: &str) -> Result<Info, OpenError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = deployment::stream(context, name).await?;
        let found =
            found.ok_or_else(|| OpenError::Streams(format!("there is no stream {name}")))?;
        let copies = found.config.num_replicas;
        if survey::told(found.clone(), copies).is_whole() {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(OpenError::Cluster(format!(
                "not all of the {copies} servers that keep the stream {name} have all of it yet, \
                 and no other one is changed before: see `imserver cluster status`, and run \
                 this again, with `--wait 1h` where much has to be copied"
            )));
        }
        sleep(AGAIN).await;
    }
}
