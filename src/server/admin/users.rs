//! `/admin/users/{id}/disable` and `/enable`: who is let in no more, whatever their token.

use serde::Serialize;

use super::{Admin, Call, answer};
use crate::admin::revoke;
use crate::auth::Revocation;
use crate::ids::UserId;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;

#[derive(Serialize)]
struct User {
    sub: u64,
    disabled: bool,
}

impl Admin {
    pub(super) async fn disable(&self, call: Call<'_>, user: UserId) -> Result<Answer, Refusal> {
        call.without_body()?;
        self.decree(&call.who, Revocation::Disabled { user }).await?;
        Ok(answer::json(&User { sub: user.get(), disabled: true }))
    }

    pub(super) async fn enable(&self, call: Call<'_>, user: UserId) -> Result<Answer, Refusal> {
        call.without_body()?;
        self.durable(&call.who, &revoke::enable(user), |store| store.enable(user)).await?;
        self.revocations.enabled(user).await;
        Ok(answer::json(&User { sub: user.get(), disabled: false }))
    }
}
