//! Nodes: servers that keep everything in the same NATS servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::timeout;

use super::{PATIENCE, Setup, TestServer};
use crate::nats::{Place, Streams};

/// How long an answer of JetStream is waited for before it is asked again.
const ANSWER: Duration = Duration::from_secs(2);

/// Nodes that know of each other by nothing but what they keep in common.
#[derive(Debug)]
pub struct Nodes {
    streams: Arc<Streams>,
    settings: Vec<(String, String)>,
}

impl Nodes {
    /// On these servers, in streams of their own.
    pub fn on(place: &Place) -> Self {
        let settings = vec![("limits.messages_per_second".to_owned(), "0".to_owned())];
        Self { streams: Arc::new(Streams::on(place)), settings }
    }

    /// With another setting.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The name that the streams of these nodes begin with.
    pub fn prefix(&self) -> &str {
        self.streams.prefix()
    }

    /// What one more node is started with.
    pub fn setup(&self) -> Setup {
        let mut setup = Setup::new().on(&self.streams).set("store.jetstream.create", "true");
        for (key, value) in &self.settings {
            setup = setup.set(key, value);
        }
        setup
    }

    /// The same at one of the servers, as long as that is there.
    pub fn setup_at(&self, url: &str) -> Setup {
        self.setup().set("store.jetstream.servers", &format!("[\"{url}\"]"))
    }

    /// Starts one more node.
    pub async fn start(&self) -> TestServer {
        self.setup().start().await
    }

    /// Starts three.
    pub async fn three(&self) -> [TestServer; 3] {
        [self.start().await, self.start().await, self.start().await]
    }

    /// Somebody else who may do with the NATS servers whatever these nodes may.
    pub async fn stranger(&self) -> Stranger {
        let client = self.streams.place().connect().await.unwrap();
        Stranger { client, prefix: self.prefix().to_owned() }
    }
}

/// A client of the NATS servers that is no node.
#[derive(Debug)]
pub struct Stranger {
    client: async_nats::Client,
    prefix: String,
}

impl Stranger {
    /// Publishes something below the nodes' prefix; it has reached the servers.
    pub async fn publish(&self, subject: &str, payload: impl Into<Vec<u8>>) {
        let subject = format!("{}.{subject}", self.prefix);
        self.client.publish(subject, payload.into().into()).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// Asks JetStream for something about one of the nodes' streams; again where nobody answers,
    /// as while leaders change.
    pub async fn ask(&self, what: &str, stream: &str, body: &Value) -> Value {
        let subject = format!("$JS.API.{what}.{}-{stream}", self.prefix);
        let end = Instant::now() + PATIENCE;
        loop {
            let asked = self.client.request(subject.clone(), body.to_string().into());
            match timeout(ANSWER, asked).await {
                Ok(Ok(answer)) => return serde_json::from_slice(&answer.payload).unwrap(),
                failed => assert!(Instant::now() < end, "{subject}: {failed:?}"),
            }
        }
    }
}

/// What a node is started with that keeps everything in these streams.
pub(super) fn settings(streams: &Streams) -> Vec<(String, String)> {
    let place = streams.place();
    let quoted = |text: &dyn std::fmt::Display| format!("\"{text}\"");
    let servers: Vec<String> = place.urls().iter().map(|url| quoted(url)).collect();
    let settings = [
        ("store.backend", quoted(&"jetstream")),
        ("store.jetstream.servers", format!("[{}]", servers.join(", "))),
        ("store.jetstream.ca", quoted(&place.ca().display())),
        ("store.jetstream.user", quoted(&place.user())),
        ("store.jetstream.password_file", quoted(&place.password_file().display())),
        ("store.jetstream.prefix", quoted(&streams.prefix())),
        ("store.jetstream.replicas", "3".to_owned()),
        ("store.jetstream.synced", "true".to_owned()),
    ];
    settings.map(|(key, value)| (key.to_owned(), value)).into()
}
