//! `/admin/connections`: who is connected, and sending somebody away for the moment.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::everywhere::Together;
use super::{Admin, Call, answer};
use crate::admin::{Act, Who};
use crate::epoch::milliseconds;
use crate::hub::{Connected, Wanted, Wants};
use crate::ids::{ConnectionId, UserId};
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;

/// Connections on a page: where nothing is said, and at the most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

/// A connection, as it is answered and as nodes tell each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Item {
    pub(super) id: String,
    user_id: u64,
    /// Milliseconds since the Unix epoch.
    since: u64,
    address: String,
    dialect: Cow<'static, str>,
    jti: Option<String>,
    kid: Option<String>,
    /// Where it is, with several nodes.
    node: Option<String>,
}

impl Item {
    /// The same, at this node.
    pub(super) fn at(self, node: Option<String>) -> Self {
        Self { node, ..self }
    }
}

impl From<Connected> for Item {
    fn from(connected: Connected) -> Self {
        let Connected { id, token, address, since, wants } = connected;
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Self {
            id: id.to_string(),
            user_id: token.user.get(),
            since: milliseconds(since),
            address: address.to_string(),
            dialect: match wants {
                Wants::Inbox => Cow::Borrowed("document"),
                Wants::Everything => Cow::Borrowed("im.v2"),
            },
            jti: text(&token.jti),
            kid: text(&token.kid),
            node: None,
        }
    }
}

#[derive(Debug, Serialize)]
struct Page {
    connections: Vec<Item>,
    /// How many there are of those asked for.
    total: usize,
    next: Option<String>,
    /// The names of nodes that did not answer, whose connections are not among them.
    unanswered: BTreeSet<String>,
}

#[derive(Debug, Serialize)]
struct Closed {
    closed: usize,
    /// The names of nodes that did not answer, whose connections may not have been told.
    unanswered: BTreeSet<String>,
}

impl Admin {
    /// `GET`: a page of them, `?user=` and `?kid=` narrow it down.
    pub(super) async fn connections(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let wanted = wanted(&call)?;
        let after = match call.query.get("cursor")? {
            None => None,
            Some(cursor) => Some(ConnectionId::parse(cursor).ok_or(Refusal::BadCursor)?),
        };
        let limit = call.query.limit_to(PAGE, PAGE_MAX)?;
        let found = self.service()?.everywhere().list(&wanted, after, limit).await;
        let Together { connections, total, more, unanswered } = found;
        let next = connections.last().filter(|_| more).map(|last| last.id.clone());
        Ok(answer::json(&Page { connections, total, next, unanswered }))
    }

    /// `DELETE /admin/connections/{id}`.
    pub(super) async fn close(&self, call: Call<'_>, id: ConnectionId) -> Result<Answer, Refusal> {
        call.without_body()?;
        let wanted = Wanted { id: Some(id), ..Wanted::default() };
        let found = self.service()?.everywhere().list(&wanted, None, 1).await;
        let connected = found.connections.first().ok_or(if found.unanswered.is_empty() {
            Refusal::Missing("no connection has this id, or none any more")
        } else {
            Refusal::Unavailable("it is at no node that answered, and not all of them did")
        })?;
        let act = Act::new("connection.close")
            .with("connection", id.to_string())
            .with("user", connected.user_id);
        self.send_away(&call.who, &wanted, act).await
    }

    /// `DELETE /admin/connections?user=`: all of a user's.
    pub(super) async fn close_all(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let wanted = wanted(&call)?;
        let Some(user) = wanted.user.filter(|_| wanted.kid.is_none()) else {
            return Err(Refusal::Malformed(
                "name whose connections to close: `?user=` and nothing else",
            ));
        };
        let act = Act::new("connection.close").with("user", user.get());
        self.send_away(&call.who, &wanted, act).await
    }

    async fn send_away(&self, who: &Who, wanted: &Wanted, act: Act) -> Result<Answer, Refusal> {
        let everywhere = self.service()?.everywhere();
        let count = everywhere.list(wanted, None, 0).await.total;
        self.note(who, &act.with("connections", count)).await?;
        let Together { total: closed, unanswered, .. } = everywhere.close(wanted).await;
        Ok(answer::json(&Closed { closed, unanswered }))
    }
}

fn wanted(call: &Call<'_>) -> Result<Wanted, Refusal> {
    let user = match call.query.get("user")? {
        None => None,
        Some(text) => {
            Some(UserId::parse(text).ok_or(Refusal::Malformed("`user` must be a user's number"))?)
        }
    };
    let kid = call.query.get("kid")?.map(str::to_owned);
    Ok(Wanted { user, kid, id: None })
}
