//! `/admin/tokens`: issuing tokens, and the ledger of those that were issued.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Admin, Call, answer};
use crate::admin::ledger::{self, Entry};
use crate::auth::{self, IssueError, Key};
use crate::ids::UserId;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    sub: u64,
    name: Option<String>,
    picture: Option<String>,
    /// Seconds; an hour where nothing is said.
    ttl: Option<u64>,
    #[serde(default)]
    admin: bool,
}

/// The new token.
#[derive(Debug, Serialize)]
struct Made<'a> {
    token: &'a str,
    jti: &'a str,
    until: String,
}

const AN_HOUR: u64 = 60 * 60;

impl Wanted {
    pub(super) fn request(self) -> Result<auth::Request, Refusal> {
        let Self { sub, name, picture, ttl, admin } = self;
        let user = UserId::new(sub).ok_or(Refusal::Malformed(
            "`sub` must be a user: a number from 1 to 9007199254740991",
        ))?;
        let ttl = Duration::from_secs(ttl.unwrap_or(AN_HOUR));
        Ok(auth::Request { user, name, picture, ttl, admin })
    }
}

impl Admin {
    /// `POST`: a new token, which is in the ledger before it leaves the server.
    pub(super) async fn issue(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let request = call.json::<Wanted>().await?.request()?;
        let (keys, now) = (self.keys.get(), SystemTime::now());
        let issued = auth::issue(&keys, &self.auth, &request, now).map_err(refused)?;
        let key = keys.signing_key().and_then(Key::kid);
        self.note(&call.who, &ledger::issue(&request, &issued, key, now)).await?;
        let until = humantime::format_rfc3339_seconds(issued.expires_at).to_string();
        Ok(answer::json(&Made { token: &issued.token, jti: &issued.id, until }))
    }

    /// `GET`: the ledger, one token a line, the oldest first; of one user with `?sub=`.
    pub(super) async fn issued(self: &Arc<Self>, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let sub = match call.query.get("sub")? {
            None => None,
            Some(text) => Some(
                UserId::parse(text).ok_or(Refusal::Malformed("`sub` must be a user's number"))?,
            ),
        };
        self.lines_of_audit(move |line| {
            let entry = Entry::of(&line)?;
            let wanted = sub.is_none_or(|sub| sub.get() == entry.sub);
            wanted.then(|| serde_json::to_string(&entry).unwrap_or_default())
        })
        .await
    }
}

fn refused(error: IssueError) -> Refusal {
    match error {
        IssueError::Library => Refusal::Unavailable("the token could not be signed"),
        other => Refusal::bad_request(other.to_string()),
    }
}
