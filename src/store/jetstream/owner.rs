//! Whose the streams are: what one deployment has stored, no other serves or removes.
//!
//! The name stands in the metadata of every stream from when it is made, and never changes.
//! Streams of earlier versions say nothing: they are taken as they are, until somebody says
//! whose they are (`imserver cluster create --claim`).

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, Info};
use serde_json::json;
use tracing::info;

use super::amend::amend;
use super::refusal::OpenError;

/// What a stream's description in key and value says whose it is.
const KEY: &str = "imserver.deployment";

/// Writes into a stream that is to be made whose it is.
pub(super) fn mark(stream: &mut Config, deployment: &str) {
    stream.metadata.insert(KEY.to_owned(), deployment.to_owned());
}

/// Leaves open whose it is, where that of the others is open.
pub(super) fn leave_open(stream: &mut Config) {
    stream.metadata.remove(KEY);
}

/// Whether a stream does not say whose it is.
pub(super) fn is_open(found: &Config) -> bool {
    !found.metadata.contains_key(KEY)
}

/// Refuses a stream of another deployment.
pub(super) fn check(found: &Config, wanted: &Config) -> Result<(), OpenError> {
    let (Some(whose), Some(ours)) = (found.metadata.get(KEY), wanted.metadata.get(KEY)) else {
        return Ok(());
    };
    if whose == ours {
        return Ok(());
    }
    Err(OpenError::Streams(format!(
        "the stream {} is of the deployment {whose:?}, and this configuration is of {ours:?} \
         (store.jetstream.deployment, or where that is empty auth.audience and auth.issuer). If \
         this is the wrong place, look at store.jetstream.servers, credentials and prefix; if it \
         is the same deployment under another name, write store.jetstream.deployment = {whose:?}",
        wanted.name
    )))
}

/// Writes into a stream that does not say it whose it is. Nodes go on meanwhile.
pub(super) async fn claim(
    context: &Context,
    found: &Info,
    wanted: &Config,
) -> Result<(), OpenError> {
    let Some(ours) = wanted.metadata.get(KEY) else { return Ok(()) };
    let name = &wanted.name;
    let mut metadata = found.config.metadata.clone();
    metadata.insert(KEY.to_owned(), ours.clone());
    amend(context, name, &("metadata", json!(metadata))).await.map_err(|why| {
        OpenError::Cluster(format!("whose the stream {name} is cannot be written into it: {why}"))
    })?;
    info!(stream = name, deployment = ours, "stream claimed");
    Ok(())
}
