//! `GET /admin/status`: how the service is, in one answer, for people and for plots.

use serde::Serialize;

use super::{Admin, Call, Service, answer};
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;
use crate::store::Health;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    version: &'a str,
    uptime_seconds: u64,
    connections: usize,
    users: usize,
    store: Store,
}

#[derive(Debug, Serialize)]
struct Store {
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl From<Health> for Store {
    fn from(health: Health) -> Self {
        match health {
            Health::Ready => Self { health: "ready", why: None },
            Health::ReadOnly { why } => Self { health: "readOnly", why: Some(why) },
            Health::Closed => Self { health: "closed", why: None },
        }
    }
}

impl Admin {
    pub(super) fn status(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let Service { context, hub } = self.service()?;
        Ok(answer::json(&Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.started.elapsed().as_secs(),
            connections: hub.connections(),
            users: hub.users(),
            store: context.store.health().into(),
        }))
    }
}
