//! `/admin/connections`: who is connected, and sending somebody away for the moment.

use serde::Serialize;

use super::{Admin, Call, answer, milliseconds};
use crate::admin::{Act, Who};
use crate::hub::{Connected, Wanted, Wants};
use crate::ids::{ConnectionId, UserId};
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;

/// Connections on a page: where nothing is said, and at the most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    user_id: u64,
    /// Milliseconds since the Unix epoch.
    since: u64,
    address: String,
    dialect: &'static str,
    jti: Option<String>,
    kid: Option<String>,
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
                Wants::Inbox => "document",
                Wants::Everything => "im.v2",
            },
            jti: text(&token.jti),
            kid: text(&token.kid),
        }
    }
}

#[derive(Debug, Serialize)]
struct Page {
    connections: Vec<Item>,
    /// How many there are of those asked for.
    total: usize,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Closed {
    closed: usize,
}

impl Admin {
    /// `GET`: a page of them, `?user=` and `?kid=` narrow it down.
    pub(super) fn connections(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let wanted = wanted(&call)?;
        let after = match call.query.get("cursor")? {
            None => None,
            Some(cursor) => Some(ConnectionId::parse(cursor).ok_or(Refusal::BadCursor)?),
        };
        let limit = call.query.limit_to(PAGE, PAGE_MAX)?;
        let (mut found, total) = self.service()?.hub.roll(&wanted, after, limit + 1);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.id.to_string());
        let connections = found.into_iter().map(Item::from).collect();
        Ok(answer::json(&Page { connections, total, next }))
    }

    /// `DELETE /admin/connections/{id}`.
    pub(super) async fn close(&self, call: Call<'_>, id: ConnectionId) -> Result<Answer, Refusal> {
        call.without_body()?;
        let wanted = Wanted { id: Some(id), ..Wanted::default() };
        let (found, _) = self.service()?.hub.roll(&wanted, None, 1);
        let connected = found.first().ok_or(Refusal::NotFound)?;
        let act = Act::new("connection.close")
            .with("connection", id.to_string())
            .with("user", connected.token.user.get());
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
        let hub = &self.service()?.hub;
        let (_, count) = hub.roll(wanted, None, 0);
        self.note(who, &act.with("connections", count)).await?;
        Ok(answer::json(&Closed { closed: hub.send_away(wanted) }))
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
