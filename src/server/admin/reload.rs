//! `POST /admin/reload`: configuration, certificate and keys read again now.

use super::{Admin, Call, answer};
use crate::admin::Act;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;

impl Admin {
    /// What came of each: one that is refused stays as it was, and is no failure of the call.
    pub(super) async fn reload(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        self.note(&call.who, &Act::new("reload")).await?;
        let read = self.reload.now().await;
        Ok(answer::json(&serde_json::json!({ "read": read })))
    }
}
