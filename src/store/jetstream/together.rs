//! Writing several messages to a stream in one go, all or none (ADR 21).

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::response::Response;
use async_nats::{Client, Request, client};
use serde::Deserialize;
use tokio::time::timeout;

use super::log::Log;
use super::tries::{Tries, Vain};
use super::writes::{Write, tell};
use crate::store::StoreError;

/// What the servers say where a request is at fault, and not they: trying again is no use.
const AT_FAULT: usize = 400;

/// What came of several writes in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Together {
    /// They lie there one behind the other, the first of them here.
    From(u64),
    /// None was written by the last try, for one of them that is refused or known; what
    /// came of a try before that is not known where `unsure`.
    Not {
        /// All of them may lie there by an earlier try.
        unsure: bool,
    },
}

/// Writes to one stream in one go, all or none, again and again until it is known what came
/// of it.
///
/// # Errors
/// [`StoreError::Unavailable`]: perhaps all were written.
pub(super) async fn put_together(log: &Log, writes: &[&Write]) -> Result<Together, StoreError> {
    let client = &log.context.client();
    let subject = writes.last().map_or("", |write| write.subject.as_str());
    let end = writes.iter().filter_map(|write| write.end).max();
    let mut tries = Tries::of(log, subject, end);
    let mut unsure = false;
    loop {
        match together(client, writes, tries.begin()).await {
            Ok(Some(first)) => {
                log.outcomes.succeeded(subject, true);
                tell(client, first, writes).await;
                return Ok(Together::From(first));
            }
            Ok(None) => return Ok(Together::Not { unsure }),
            Err(why) => tries.failed(why).await?,
        }
        unsure = true;
    }
}

/// The answer to the last of a batch.
#[derive(Deserialize)]
struct Committed {
    /// The sequence of the last.
    seq: u64,
    /// How many there are.
    #[serde(default)]
    count: u64,
}

/// One try, that may take so long to be sent and as long to be acknowledged: where the first
/// lies, or nothing where none was written. An error says that nothing is known.
async fn together(
    client: &Client,
    writes: &[&Write],
    answer: Duration,
) -> Result<Option<u64>, Vain> {
    // It would fill the queue of what waits for a connection, at every try once more.
    if client.connection_state() != State::Connected {
        return Err("there is no connection".to_owned().into());
    }
    // Every try has a name of its own: what is left of one before must not be mixed in.
    let batch = format!("{:x}", fastrand::u64(..));
    let Some((last, others)) = writes.split_last() else { return Ok(None) };
    let headers = |write: &Write, number: usize| {
        let mut headers = write.headers.clone();
        headers.insert("Nats-Batch-Id", batch.as_str());
        headers.insert("Nats-Batch-Sequence", number.to_string());
        headers
    };
    let sending = async {
        for (number, write) in (1..).zip(others) {
            let (subject, payload) = (write.subject.clone(), write.payload.clone());
            client.publish_with_headers(subject, headers(write, number), payload).await?;
        }
        Ok::<_, client::PublishError>(())
    };
    let sent = timeout(answer, sending).await.map_err(|_| "they could not be sent".to_owned())?;
    sent.map_err(|error| error.to_string())?;
    let mut commit = headers(last, writes.len());
    commit.insert("Nats-Batch-Commit", "1");
    let request =
        Request::new().headers(commit).payload(last.payload.clone()).timeout(Some(answer));
    // To be sent may take as long as the answer itself.
    let asked = timeout(2 * answer, client.send_request(last.subject.clone(), request)).await;
    let answer = asked.map_err(|_| "the last could not be sent".to_owned())?;
    let answer = answer.map_err(|error| Vain::from(&error))?;
    match serde_json::from_slice::<Response<Committed>>(&answer.payload) {
        Ok(Response::Ok(Committed { seq, count })) if count == writes.len() as u64 => {
            Ok(Some(seq.saturating_add(1).saturating_sub(count)))
        }
        Ok(Response::Ok(_)) => Err("not all of them were taken".to_owned().into()),
        Ok(Response::Err { error }) if error.code() == AT_FAULT => {
            tracing::debug!(%error, writes = writes.len(), "written apart");
            Ok(None)
        }
        Ok(Response::Err { error }) => Err(Vain::from(&error)),
        Err(error) => Err(error.to_string().into()),
    }
}
