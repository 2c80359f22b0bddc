//! `/admin/revocations`: tokens taken back, and the list of what is.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Admin, Call, answer};
use crate::admin::revoke::{self, Plan, RevokeError, Shown, Target};
use crate::admin::{Act, Who};
use crate::auth::{Revocation, TokenId};
use crate::ids::UserId;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;
use crate::session::PATIENCE;
use crate::store::{Health, Receipt};

/// What is to be taken back: one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    token: Option<String>,
    jti: Option<String>,
    sub: Option<u64>,
}

/// What became of it.
#[derive(Serialize)]
struct Done {
    revoked: Option<Shown>,
    remark: Option<&'static str>,
}

impl Wanted {
    pub(super) fn target(self) -> Result<Target, Refusal> {
        match (self.token, self.jti, self.sub) {
            (Some(token), None, None) => Ok(Target::Token(token)),
            (None, Some(jti), None) => TokenId::new(&jti)
                .map(Target::Jti)
                .ok_or(Refusal::Malformed("`jti` must have 1 to 128 bytes")),
            (None, None, Some(sub)) => UserId::new(sub).map(Target::Subject).ok_or(
                Refusal::Malformed("`sub` must be a user: a number from 1 to 9007199254740991"),
            ),
            _ => Err(Refusal::Malformed("give one of `token`, `jti` and `sub`")),
        }
    }
}

impl Admin {
    /// `POST`: takes tokens back. In force, here and for live connections, and durable when
    /// it is answered.
    pub(super) async fn revoke(&self, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let target = call.json::<Wanted>().await?.target()?;
        let (keys, auth, audit) = (self.keys.get(), self.auth.clone(), self.log()?);
        let planning = move || Plan::new(&target, &keys, &auth, &audit, SystemTime::now());
        let planned = tokio::task::spawn_blocking(planning).await;
        let planned = planned.map_err(|_| Refusal::Unavailable("the call failed here"))?;
        let Plan { revocation, remark } = planned.map_err(refused)?;
        let revoked = revocation.as_ref().map(Shown::from);
        if let Some(revocation) = revocation {
            self.decree(&call.who, revocation).await?;
        }
        Ok(answer::json(&Done { revoked, remark }))
    }

    /// `GET`: all that is taken back, one a line.
    pub(super) async fn revocations(self: &Arc<Self>, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let mut known = self.service()?.context.store.revocations().await.map_err(|_| {
            Refusal::Unavailable("the revocations cannot be read; the server's log says why")
        })?;
        known.sort_unstable();
        let (flow, answer) = answer::flowing(answer::LINES);
        self.calls.spawn(async move {
            for some in known.chunks(LINES) {
                let mut lines = String::new();
                for revocation in some {
                    let line = serde_json::to_string(&Shown::from(revocation));
                    lines.push_str(&line.unwrap_or_default());
                    lines.push('\n');
                }
                // A client that is gone wants no more.
                if flow.send(Ok(Bytes::from(lines))).await.is_err() {
                    return;
                }
            }
        });
        Ok(answer)
    }

    /// Writes a revocation down, keeps it, and puts it in force.
    pub(super) async fn decree(&self, who: &Who, revocation: Revocation) -> Result<(), Refusal> {
        let act = revoke::act(&revocation);
        self.durable(who, &act, |store| store.revoke(revocation.clone())).await?;
        // Who is answered must not be ahead of what is announced.
        self.revocations.in_force(&revocation).await;
        Ok(())
    }

    /// Writes an act down, then does it, and waits until it is on the disk.
    pub(super) async fn durable(
        &self,
        who: &Who,
        act: &Act,
        work: impl FnOnce(&dyn crate::store::Store) -> Receipt<()>,
    ) -> Result<(), Refusal> {
        let unavailable = Refusal::Unavailable("the store cannot be written now; try again");
        let store = &self.service()?.context.store;
        if store.health() != Health::Ready {
            return Err(unavailable);
        }
        self.note(who, act).await?;
        match timeout(PATIENCE, work(&**store)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                self.note(who, &act.failed("the store could not be written")).await?;
                Err(unavailable)
            }
        }
    }
}

/// Lines that are sent at once.
const LINES: usize = 256;

fn refused(error: RevokeError) -> Refusal {
    match error {
        RevokeError::NotOurs(_) => Refusal::bad_request(error.to_string()),
        RevokeError::Ledger(_) => {
            Refusal::Unavailable("the ledger cannot be read; the server's log says why")
        }
    }
}
