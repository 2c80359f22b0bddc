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
        let prefix = fresh_prefix();
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
        let mut setup = Setup::new();
        for (key, value) in settings(&self.place, &self.prefix) {
            setup = setup.set(&key, &value);
        }
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

fn fresh_prefix() -> String {
    format!("t{:016x}", fastrand::u64(..))
}

/// What a node is started with that keeps everything here, in streams of this name.
fn settings(place: &Place, prefix: &str) -> Vec<(String, String)> {
    let quoted = |text: &dyn std::fmt::Display| format!("\"{text}\"");
    let servers: Vec<String> = place.urls().iter().map(|url| quoted(url)).collect();
    let settings = [
        ("store.backend", quoted(&"jetstream")),
        ("store.jetstream.servers", format!("[{}]", servers.join(", "))),
        ("store.jetstream.ca", quoted(&place.ca().display())),
        ("store.jetstream.user", quoted(&place.user())),
        ("store.jetstream.password_file", quoted(&place.password_file().display())),
        ("store.jetstream.prefix", quoted(&prefix)),
        ("store.jetstream.replicas", "3".to_owned()),
        ("store.jetstream.create", "true".to_owned()),
        ("store.jetstream.synced", "true".to_owned()),
    ];
    settings.map(|(key, value)| (key.to_owned(), value)).into()
}

/// The same for a node that shares its streams with nobody. One copy of each is enough to see
/// that they serve.
pub(super) fn alone(place: &Place) -> Vec<(String, String)> {
    let mut settings = settings(place, &fresh_prefix());
    settings.push(("store.jetstream.replicas".to_owned(), "1".to_owned()));
    settings
}
