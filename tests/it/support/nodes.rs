//! Nodes: servers that keep everything in the same NATS servers.

use super::{Setup, TestServer};
use crate::nats::Place;

/// Nodes that know of each other by nothing but what they keep in common.
#[derive(Debug)]
pub struct Nodes {
    place: Place,
    prefix: String,
    settings: Vec<(String, String)>,
}

impl Nodes {
    /// On these servers, in streams of their own.
    pub fn on(place: &Place) -> Self {
        let prefix = format!("t{:016x}", fastrand::u64(..));
        let settings = vec![("limits.messages_per_second".to_owned(), "0".to_owned())];
        Self { place: place.clone(), prefix, settings }
    }

    /// With another setting.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The name that the streams of these nodes begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What one more node is started with.
    pub fn setup(&self) -> Setup {
        let quoted = |text: &dyn std::fmt::Display| format!("\"{text}\"");
        let servers: Vec<String> = self.place.urls().iter().map(|url| quoted(url)).collect();
        let mut setup = Setup::new()
            .set("store.backend", "\"jetstream\"")
            .set("store.jetstream.servers", &format!("[{}]", servers.join(", ")))
            .set("store.jetstream.ca", &quoted(&self.place.ca().display()))
            .set("store.jetstream.user", &quoted(&self.place.user()))
            .set("store.jetstream.password_file", &quoted(&self.place.password_file().display()))
            .set("store.jetstream.prefix", &quoted(&self.prefix))
            .set("store.jetstream.create", "true")
            .set("store.jetstream.synced", "true");
        for (key, value) in &self.settings {
            setup = setup.set(key, value);
        }
        setup
    }

    /// Starts one more node.
    pub async fn start(&self) -> TestServer {
        self.setup().start().await
    }

    /// Starts three.
    pub async fn three(&self) -> [TestServer; 3] {
        [self.start().await, self.start().await, self.start().await]
    }
}
