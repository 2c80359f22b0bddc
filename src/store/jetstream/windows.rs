//! For how long the servers know a write again: lengthened by the command that makes streams,
//! while the nodes go on.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, Info};
use humantime::format_duration;
use serde_json::json;
use tracing::info;

use super::amend::amend;
use super::deployment;
use super::refusal::OpenError;

/// Refuses a stream that knows a write again for less time than is wanted.
pub(super) fn check(found: &Info, wanted: &Config) -> Result<(), OpenError> {
    if is_enough(found, wanted) {
        return Ok(());
    }
    Err(OpenError::Streams(format!(
        "the stream {} knows what is written again for {}, and with store.dedup_window and \
         resend_window it should for {}: `imserver cluster create` lengthens that, while nodes go \
         on with the time of before; or write less",
        wanted.name,
        format_duration(found.config.duplicate_window),
        format_duration(wanted.duplicate_window)
    )))
}

fn is_enough(found: &Info, wanted: &Config) -> bool {
    found.config.duplicate_window >= wanted.duplicate_window
}

/// Has each of these streams know a write again for as long as is wanted. Those that were changed
/// are added to `lengthened`.
///
/// # Errors
/// Why the servers do not.
pub(super) async fn lengthen(
    context: &Context,
    streams: &[Config],
    lengthened: &mut Vec<(String, Duration)>,
) -> Result<(), OpenError> {
    for wanted in streams {
        let (name, window) = (&wanted.name, wanted.duplicate_window);
        let found = deployment::stream(context, name).await?;
        let found = found.ok_or_else(|| deployment::is_missing(name))?;
        if is_enough(&found, wanted) {
            continue;
        }
        let nanoseconds = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        amend(context, name, &("duplicate_window", json!(nanoseconds))).await.map_err(|why| {
            OpenError::Cluster(format!(
                "the stream {name} cannot know what is written again for {}: {why}",
                format_duration(window)
            ))
        })?;
        info!(stream = name, ?window, "stream knows writes again for longer");
        lengthened.push((name.clone(), window));
    }
    Ok(())
}
