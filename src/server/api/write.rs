//! The calls that write: a message, what was read, a ticket. Answered once it is durable.

use std::borrow::Cow;
use std::time::SystemTime;

use tokio::time::{Instant, timeout};

use super::{Api, answer};
use crate::auth::Identity;
use crate::config;
use crate::epoch;
use crate::protocol::failure::{self, FailureCode};
use crate::protocol::request::{self, MarkRead};
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;
use crate::session::{self, PATIENCE, claims};
use crate::store::{AppendError, Draft, Health, ResendKey, Seen};

impl Api {
    /// `POST messages`.
    pub(super) async fn send(
        &self,
        identity: &Identity,
        text: &str,
        limits: &config::Limits,
    ) -> Result<Answer, Refusal> {
        let came = Instant::now();
        let message = request::send(text, limits.content_bytes).map_err(failed)?;
        let resend = match message.client_id {
            Some(id) => ResendKey::Client { id, again: message.resend },
            // Without a name it is not to be known again: two equal calls are two messages.
            None => ResendKey::None,
        };
        let draft = Draft {
            from: identity.user().into(),
            to: message.to,
            timestamp: message.timestamp.map_or_else(now, Cow::into_owned),
            content: message.content.into_owned(),
            resend,
            // No connection: all of the sender's own are told.
            origin: None,
        };
        let (user, claimed) = (identity.user(), claims::profile(identity));
        let store = &self.context.store;
        let stored = async {
            store.set_profile(user, claimed).await?;
            store.append(draft).await?.await
        };
        let appended = self.durable(stored).await?;
        self.context.metrics.acknowledged(came.elapsed());
        Ok(answer::stored(appended))
    }

    /// `POST read`.
    pub(super) async fn mark_read(
        &self,
        identity: &Identity,
        text: &str,
    ) -> Result<Answer, Refusal> {
        let seen = match request::mark_read(text).map_err(failed)? {
            MarkRead::Ids(ids) if ids.is_empty() => return Ok(answer::empty()),
            MarkRead::Ids(ids) => Seen::Ids(ids),
            MarkRead::UpTo { peer, id } => Seen::UpTo { peer, id },
        };
        self.durable(self.context.store.mark_read(identity.user(), seen, None)).await?;
        Ok(answer::empty())
    }

    /// `POST tickets`. The ticket stands in a URL, so it leaves out who the user is said to
    /// be; that is made known here instead.
    pub(super) async fn ticket(&self, identity: &Identity) -> Result<Answer, Refusal> {
        let claimed = claims::profile(identity);
        self.durable(self.context.store.set_profile(identity.user(), claimed)).await?;
        let issuing = self.doorkeeper.tickets.issue(identity, SystemTime::now());
        let ticket = timeout(PATIENCE, issuing).await.ok().and_then(Result::ok);
        let ticket = ticket.ok_or(Refusal::Unavailable("no ticket can be made now"))?;
        Ok(answer::ticket(&ticket))
    }

    /// Waits until `work` is durable.
    async fn durable<T>(
        &self,
        work: impl Future<Output = Result<T, AppendError>>,
    ) -> Result<T, Refusal> {
        if self.context.store.health() != Health::Ready {
            return Err(failure(FailureCode::StoreUnavailable));
        }
        match timeout(PATIENCE, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(failure(error.into())),
            Err(_) => Err(failure(FailureCode::StoreUnavailable)),
        }
    }
}

fn failed((code, message): failure::Refusal) -> Refusal {
    Refusal::Failed(code, message)
}

fn failure(code: FailureCode) -> Refusal {
    failed((code, session::explain(code).into()))
}

/// The time that a message has whose sender named none, as the document's clients write it.
pub(in crate::server) fn now() -> String {
    epoch::seconds(SystemTime::now()).to_string()
}
