//! Making streams, once it is certain that no other takes in what they should.

use async_nats::jetstream::Context;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::Config;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::deployment::{AGAIN, BUSY, PATIENCE};
use super::refusal::OpenError;

/// "No suitable peers": also while those that have just started find each other.
const NO_PEERS: u64 = 10005;

/// Refuses to make streams where another one takes in what they should: the servers would
/// refuse it too, but only when they come to it.
pub(super) async fn may_be_made(context: &Context, missing: &[Config]) -> Result<(), OpenError> {
    #[derive(Deserialize)]
    struct Found {
        streams: Option<Vec<String>>,
    }
    for wanted in missing {
        for subject in &wanted.subjects {
            let asked = context.request("STREAM.NAMES", &json!({ "subject": subject })).await;
            // Where there is no answer the servers refuse it themselves.
            let Ok(Found { streams: Some(streams) }) = asked else { continue };
            if let Some(other) = streams.first() {
                return Err(OpenError::Streams(format!(
                    "the stream {} cannot be made: what is published to {subject} is taken in by \
                     the stream {other} already, which is none of ours. Choose another \
                     store.jetstream.prefix, or give imserver an account of its own. Nothing was \
                     made",
                    wanted.name
                )));
            }
        }
    }
    Ok(())
}

/// Makes a stream. Asking again for the same one changes nothing.
pub(super) async fn make(context: &Context, wanted: Config) -> Result<(), OpenError> {
    let end = Instant::now() + PATIENCE;
    let (name, replicas) = (wanted.name.clone(), wanted.num_replicas);
    loop {
        let error = match context.create_stream(wanted.clone()).await {
            Ok(_) => {
                info!(stream = name, replicas, "stream made");
                return Ok(());
            }
            Err(error) => error,
        };
        let (passes, lacks_peers) = match error.kind() {
            CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::JetStreamUnavailable => {
                (true, false)
            }
            CreateStreamErrorKind::JetStream(cause) => {
                let lacks_peers = cause.error_code().0 == NO_PEERS;
                (cause.code() == BUSY || lacks_peers, lacks_peers)
            }
            _ => (false, false),
        };
        if !passes || Instant::now() > end {
            let needed = match lacks_peers {
                true => format!(
                    ". {replicas} NATS servers (store.jetstream.replicas) must take part, with room \
                     for it: see which `imserver cluster check` does not reach"
                ),
                false => String::new(),
            };
            return Err(OpenError::Cluster(format!(
                "the stream {name} cannot be made: {error}{needed}"
            )));
        }
        sleep(AGAIN).await;
    }
}
