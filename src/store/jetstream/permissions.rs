//! What the servers do not let our user do. They say it beside the answers, which then never
//! come; it is looked for before anything is made. A node that may read, and not write, would
//! be ready and store nothing.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::clocks::WHO_AM_I;
use super::connect::{Connection, Patience};
use super::deployment::{AGAIN, PATIENCE};
use super::names::Names;
use super::refusal::OpenError;
use super::writes::{Answered, Write};

/// How long it may take to hear oneself, over a server that is right there.
const HEARD: Duration = Duration::from_secs(5);

/// How a server says that something is not allowed, before it says what.
const WORDS: &str = "Permissions Violation for ";

/// Something that was not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    publishing: bool,
    pub(super) subject: String,
    pub(super) at: Instant,
}

impl Denied {
    /// Reads what a server says. Nothing where it is about something else, or about what we can
    /// do without.
    pub(super) fn read(said: &str) -> Option<Self> {
        let (_, what) = said.split_once(WORDS)?;
        let subject = what.split('"').nth(1)?.to_owned();
        let publishing = what.starts_with("Publish");
        (subject != WHO_AM_I).then_some(Self { publishing, subject, at: Instant::now() })
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deed = if self.publishing { "publish" } else { "subscribe" };
        write!(f, "the user that imserver connects as may not {deed} to {:?}", self.subject)
    }
}

/// Does what asks the servers for something, and ends when they say that part of it is not
/// allowed.
pub(super) async fn heeding<T>(
    connection: &Connection,
    prefix: &str,
    work: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    let mut denied = connection.denied.clone();
    let refusal = async {
        let told = denied.wait_for(Option::is_some).await.ok();
        match told.and_then(|told| told.as_ref().map(ToString::to_string)) {
            Some(denied) => denied,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        denied = refusal => Err(OpenError::Cluster(format!(
            "{denied}: it needs to publish to \"$JS.API.>\" and \"{prefix}.>\", and to subscribe to \
             \"_INBOX.>\" and \"{prefix}.>\" (docs/cluster.md)"
        ))),
    }
}

/// Looks whether all is allowed that a node does: tells itself something wherever nodes tell each
/// other, and writes nothing to a stream of each kind. `missing` says which are still to be made.
pub(super) async fn look(
    connection: &Connection,
    names: &Names,
    streams: &[Config],
    missing: impl Fn(&str) -> bool,
) -> Result<(), OpenError> {
    hears_itself(connection, names).await?;
    // One partition is as good as the other.
    let of_parts = usize::try_from(2 * names.partitions()).unwrap_or(usize::MAX);
    for stream in streams.iter().take(2).chain(streams.iter().skip(of_parts)) {
        for subject in &stream.subjects {
            let subject = subject.replace(['*', '>'], "0");
            takes_writes(connection, &stream.name, &subject, missing(&stream.name)).await?;
        }
    }
    Ok(())
}

/// Nobody else takes note of what is told here: it is in no version's form.
async fn hears_itself(connection: &Connection, names: &Names) -> Result<(), OpenError> {
    let client = &connection.client;
    let mut told = vec![0; 17];
    told.iter_mut().skip(1).for_each(|byte| *byte = fastrand::u8(..));
    let told = Bytes::from(told);
    let answers = names.answers(0);
    let places = [
        (names.live("*"), names.live(&names.messages(0))),
        (names.typing(), names.typing()),
        (names.presence(), names.presence()),
        (names.questions(), names.questions()),
        (format!("{answers}.*"), format!("{answers}.0")),
    ];
    let end = Instant::now() + HEARD;
    let deaf = |subject: &str| {
        OpenError::Cluster(format!(
            "what is published to {subject} is not heard there: the user that imserver connects as \
             must be allowed both, and nothing may lead it elsewhere"
        ))
    };
    for (listen, tell) in places {
        let hearing = async {
            let mut heard = client.subscribe(listen).await.ok()?;
            client.publish(tell.clone(), told.clone()).await.ok()?;
            while heard.next().await?.payload != told {}
            Some(())
        };
        let left = end.saturating_duration_since(Instant::now());
        timeout(left, hearing).await.ok().flatten().ok_or_else(|| deaf(&tell))?;
    }
    Ok(())
}

/// Writes nothing to a stream, and waits for it to say so.
async fn takes_writes(
    connection: &Connection,
    stream: &str,
    subject: &str,
    is_missing: bool,
) -> Result<(), OpenError> {
    let end = Instant::now() + PATIENCE;
    let mut patience = Patience::default();
    loop {
        let began = Instant::now();
        let why = match Write::knock(&connection.context, subject, patience.now()).await {
            Answered::Yes => return Ok(()),
            // A node that cannot write has messages to give out all the same.
            Answered::Refused(why) => {
                warn!(stream, why, "a stream takes nothing at present");
                return Ok(());
            }
            Answered::Nobody if is_missing => return Ok(()),
            Answered::Nobody => "nobody takes it. Is a majority of its servers there? See \
                                 `imserver cluster status`"
                .to_owned(),
            Answered::Nothing(why) => why,
        };
        if Instant::now() > end {
            return Err(OpenError::Cluster(format!(
                "the stream {stream} does not answer to what is published to {subject}: {why}"
            )));
        }
        patience.tried(began);
        sleep(AGAIN).await;
    }
}

/// Where what is not allowed is told of.
pub(super) type Told = watch::Receiver<Option<Denied>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_allow_is_named() {
        for (said, named) in [
            ("Permissions Violation for Publish to \"im.rd.0.7.8\"", "publish to \"im.rd.0.7.8\""),
            (
                "nats: Permissions Violation for Subscription to \"im.live.*\"",
                "subscribe to \"im.live.*\"",
            ),
        ] {
            let denied = Denied::read(said).unwrap().to_string();
            assert!(denied.ends_with(&format!("may not {named}")), "{denied}");
        }
        for other in ["Stale Connection", "Permissions Violation for Publish to nothing"] {
            assert_eq!(Denied::read(other), None);
        }
        let spared = format!("Permissions Violation for Publish to {WHO_AM_I:?}");
        assert_eq!(Denied::read(&spared), None);
    }
}
