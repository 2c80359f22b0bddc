//! The calls that read: who I am, whom I write with, what was written.

use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tracing::error;

use super::cursor::List;
use super::query::Query;
use super::{Api, answer};
use crate::auth::Identity;
use crate::epoch::milliseconds;
use crate::ids::{Sender, UserId};
use crate::protocol::failure::FailureCode;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;
use crate::session::{PATIENCE, claims};
use crate::store::{HistoryEntry, StoreError, Stretch};

/// How many conversations, and messages, come where nobody says.
const CONVERSATIONS: usize = 20;
const MESSAGES: usize = 50;

/// What the messages of an answer may come to, written out: it waits in memory for a peer
/// who reads slowly. Fifty long letters; a hundred of the largest would be 10 MB.
const PAGE_BYTES: usize = 128 * 1024;

impl Api {
    /// `GET me`: what the token says, and what is known where it is silent.
    pub(super) async fn me(&self, identity: &Identity) -> Result<Answer, Refusal> {
        let known = within(self.context.store.profile(identity.user())).await?;
        let profile = claims::profile(identity).over(&known);
        Ok(answer::me(identity.user(), &profile, milliseconds(identity.expires_at())))
    }

    /// `GET conversations`.
    pub(super) async fn conversations(
        &self,
        identity: &Identity,
        query: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let user = identity.user();
        let list = List::Conversations(user);
        let query = Query::parse(query)?;
        let limit = query.limit(CONVERSATIONS)?;
        let after = query.get("cursor")?.map(|text| list.decode(text)).transpose()?;
        let store = &self.context.store;
        let mut page = within(store.conversations(user, after, limit)).await?;
        let fitting = fitting(page.conversations.iter().map(|item| &item.last));
        if fitting < page.conversations.len() {
            page = within(store.conversations(user, after, fitting)).await?;
        }
        Ok(answer::conversations(list, &page))
    }

    /// `GET conversations/{peerId}/messages`.
    pub(super) async fn messages(
        &self,
        identity: &Identity,
        peer: &str,
        query: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let user = identity.user();
        let peer = match peer {
            "0" => Some(Sender::System),
            digits => UserId::parse(digits).map(Sender::User),
        };
        let peer = peer.ok_or(Refusal::Malformed("the peer must be a user's id, or 0"))?;
        let list = List::Messages(user, peer);
        let query = Query::parse(query)?;
        let limit = query.limit(MESSAGES)?;
        let stretch = match (query.get("before")?, query.get("after")?) {
            (None, None) => Stretch::Newest,
            (Some(text), None) => Stretch::Before(list.decode(text)?),
            (None, Some(text)) => Stretch::After(list.decode(text)?),
            (Some(_), Some(_)) => {
                return Err(Refusal::Malformed("give either `before` or `after`"));
            }
        };
        let store = &self.context.store;
        let mut page = within(store.history(user, peer, stretch, limit)).await?;
        let fitting = page.as_ref().map_or(limit, |page| match stretch {
            Stretch::After(_) => fitting(page.entries.iter()),
            Stretch::Newest | Stretch::Before(_) => fitting(page.entries.iter().rev()),
        });
        if page.as_ref().is_some_and(|page| fitting < page.entries.len()) {
            page = within(store.history(user, peer, stretch, fitting)).await?;
        }
        let page = page.ok_or(Refusal::UnknownPeer)?;
        Ok(answer::messages(list, &page))
    }
}

/// How many messages an answer has room for, one at the least. Those beyond are not
/// dropped here but read again without them: only the store knows the cursor behind them.
fn fitting<'a>(entries: impl Iterator<Item = &'a HistoryEntry>) -> usize {
    let mut bytes = 0;
    let fitting = entries.take_while(|entry| {
        bytes += answer::size(entry);
        bytes <= PAGE_BYTES
    });
    fitting.count().max(1)
}

/// Waits for the store as long as a frame's answer would be waited for.
async fn within<T>(reading: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, Refusal> {
    let unavailable =
        || Refusal::Failed(FailureCode::StoreUnavailable, "nothing can be read now".into());
    match timeout(PATIENCE, reading).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(StoreError::BadCursor)) => Err(Refusal::BadCursor),
        Ok(Err(StoreError::Damaged(what))) => {
            error!(what, "a call found the store damaged");
            Err(unavailable())
        }
        Ok(Err(StoreError::Unavailable)) | Err(_) => Err(unavailable()),
    }
}
