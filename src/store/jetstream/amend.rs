//! One thing changed in how a stream was made, while nodes go on.

use async_nats::jetstream::Context;
use async_nats::jetstream::context::RequestError;
use async_nats::jetstream::response::Response;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::deployment::{AGAIN, BUSY, PATIENCE};

/// One setting of a stream, by the servers' name for it; null takes it away.
pub(super) type Setting = (&'static str, Value);

/// Changes one setting of a stream, and nothing else: its configuration goes back as it came,
/// with what only newer servers know.
///
/// # Errors
/// Why the servers do not.
pub(super) async fn amend(context: &Context, name: &str, setting: &Setting) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let (why, passes) = match once(context, name, setting).await {
            Ok(Response::Ok(_)) => return Ok(()),
            Ok(Response::Err { error }) => (error.to_string(), error.code() == BUSY),
            Err(error) => (error.to_string(), true),
        };
        if !passes || Instant::now() > end {
            return Err(why);
        }
        sleep(AGAIN).await;
    }
}

async fn once(
    context: &Context,
    name: &str,
    (key, value): &Setting,
) -> Result<Response<Value>, RequestError> {
    let found = context.request(format!("STREAM.INFO.{name}"), &json!({})).await?;
    let mut found: Value = match found {
        Response::Ok(found) => found,
        refused @ Response::Err { .. } => return Ok(refused),
    };
    let mut config = found.get_mut("config").map(Value::take).unwrap_or_default();
    if let Some(config) = config.as_object_mut() {
        match value {
            Value::Null => drop(config.remove(*key)),
            value => drop(config.insert((*key).to_owned(), value.clone())),
        }
    }
    context.request(format!("STREAM.UPDATE.{name}"), &config).await
}
