//! The streams of one test, which go with it.

use std::thread;
use std::time::Duration;

use async_nats::Client;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::place::Place;

/// How long their removal may take. What is left then ends with the servers.
const REMOVAL: Duration = Duration::from_secs(20);

/// A name that the streams of one test begin with.
///
/// Every stream is a group of three servers that goes on by itself: those of hundreds of tests would
/// slow down all that come later. So they are removed when this is dropped, where the servers go on.
#[derive(Debug)]
pub struct Streams {
    place: Place,
    prefix: String,
}

impl Streams {
    /// A fresh name on these servers; no stream is made.
    pub fn on(place: &Place) -> Self {
        Self { place: place.clone(), prefix: format!("t{:016x}", fastrand::u64(..)) }
    }

    /// The name.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where they are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    async fn remove(&self) -> Result<(), String> {
        let client = self.place.connect().await.map_err(|error| error.to_string())?;
        let below = json!({ "subject": format!("{}.>", self.prefix) });
        let found = ask(&client, "$JS.API.STREAM.NAMES".to_owned(), &below).await?;
        let names = found["streams"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let removals = names.map(|name| {
            let subject = format!("$JS.API.STREAM.DELETE.{name}");
            ask(&client, subject, &Value::Null)
        });
        join_all(removals).await.into_iter().try_for_each(|removed| removed.map(drop))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        if !self.place.is_shared() {
            return;
        }
        // On a thread of its own: whoever drops it may be at work for a runtime.
        let removed = thread::scope(|scope| {
            let removing = scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| error.to_string())?;
                let removed = runtime.block_on(async { timeout(REMOVAL, self.remove()).await });
                removed.map_err(|_| "it took too long".to_owned())?
            });
            removing.join().unwrap_or_else(|_| Err("a panic".to_owned()))
        });
        if let Err(error) = removed {
            eprintln!("the streams of {} stay: {error}", self.prefix);
        }
    }
}

async fn ask(client: &Client, subject: String, body: &Value) -> Result<Value, String> {
    let payload = if body.is_null() { String::new() } else { body.to_string() };
    let asked = client.request(subject.clone(), payload.into()).await;
    let answer = asked.map_err(|error| format!("{subject}: {error}"))?;
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())?;
    match answer.get("error") {
        None => Ok(answer),
        Some(error) => Err(format!("{subject}: {error}")),
    }
}
