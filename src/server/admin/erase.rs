//! `DELETE /admin/users/{id}`: a user with all they wrote and all that was written to them.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::Instant;
use tracing::error;

use super::{Admin, Call, Service, answer};
use crate::admin::{erase, revoke};
use crate::ids::UserId;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;
use crate::store::Erased;

/// How long the user's connections may take to end once their tokens are revoked: the
/// contract says a second.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug, Serialize)]
struct Gone {
    sub: u64,
    messages: u64,
}

impl Admin {
    pub(super) async fn erase(&self, call: Call<'_>, user: UserId) -> Result<Answer, Refusal> {
        call.without_body()?;
        let Service { context, hub, .. } = self.service()?;
        self.decree(&call.who, revoke::of_user(user, &self.auth, SystemTime::now())).await?;
        // What a connection of theirs has under way is erased too, once it has ended.
        let until = Instant::now() + FAREWELL;
        while hub.is_connected(user) && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        // Nor has one at another node, whose connections are not seen from here.
        tokio::time::sleep(context.store.spreads_within()).await;
        let act = erase::act(user);
        self.note(&call.who, &act).await?;
        match context.store.erase(user).await {
            Ok(Erased { messages }) => Ok(answer::json(&Gone { sub: user.get(), messages })),
            Err(cause) => {
                error!(%user, error = %cause, "a user was not wholly erased");
                self.note(&call.who, &act.failed(&cause.to_string())).await?;
                Err(Refusal::Unavailable(
                    "nothing can be written now; an erasure that has begun goes on by itself",
                ))
            }
        }
    }
}
