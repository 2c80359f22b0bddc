//! One session on a stage: what the client says and hears, and when the store answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{Context, Ended, Gone, Received, Session, Socket};
use super::cue::Cue;
use crate::auth::{Alg, CurrentKeys, Identity, KeySet, Request, Verifier, generate, issue};
use crate::config;
use crate::hub::Hub;
use crate::ids::UserId;
use crate::metrics::SessionMetrics;
use crate::store::{AppendError, Store, StoreError};

/// The user of the session.
pub(super) const ME: u64 = 1;

/// What the client hears.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Frame(Value),
    Ping,
}

/// A socket in memory; what was not flushed is not heard.
#[derive(Debug)]
pub(super) struct Wire {
    incoming: mpsc::Receiver<Received<String>>,
    outgoing: mpsc::Sender<(Instant, Heard)>,
    buffer: Vec<Heard>,
}

impl Socket for Wire {
    type Text = String;

    async fn receive(&mut self) -> Received<String> {
        self.incoming.recv().await.unwrap_or(Received::Gone)
    }

    async fn send(&mut self, text: Bytes) -> Result<(), Gone> {
        let frame = serde_json::from_slice(&text).unwrap();
        self.buffer.push(Heard::Frame(frame));
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        self.buffer.push(Heard::Ping);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        for heard in self.buffer.drain(..) {
            let said = self.outgoing.send((Instant::now(), heard));
            said.await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

/// How a session is set up.
pub(super) struct Plan {
    pub(super) limits: config::Limits,
    pub(super) token_lives: Duration,
    pub(super) room: usize,
    pub(super) reading: Option<Result<(), StoreError>>,
    pub(super) introducing: Option<Result<(), AppendError>>,
}

impl Default for Plan {
    /// A session that nothing disturbs.
    fn default() -> Self {
        let hours = Duration::from_secs(24 * 60 * 60);
        let limits = config::Limits {
            messages_per_second: 0,
            ping_interval: hours,
            pong_timeout: hours,
            ..config::Limits::default()
        };
        Self {
            limits,
            token_lives: hours,
            room: 1000,
            reading: Some(Ok(())),
            introducing: Some(Ok(())),
        }
    }
}

/// A session in conversation.
pub(super) struct Rig {
    pub(super) store: Arc<Cue>,
    pub(super) shutdown: CancellationToken,
    /// When the token ends, leeway included; a little early.
    pub(super) ends: Instant,
    say: mpsc::Sender<Received<String>>,
    hear: mpsc::Receiver<(Instant, Heard)>,
    session: JoinHandle<(Wire, Ended)>,
}

impl Plan {
    pub(super) fn start(self) -> Rig {
        let tasks = TaskTracker::new();
        let (store, announcements) = Cue::new(&self);
        let hub = Hub::new(10);
        tasks.spawn(Arc::clone(&hub).follow(announcements));
        let (say, incoming) = mpsc::channel(1000);
        let (outgoing, hear) = mpsc::channel(10_000);
        let wire = Wire { incoming, outgoing, buffer: Vec::new() };
        let shutdown = CancellationToken::new();
        let context = Context {
            store: Arc::clone(&store) as Arc<dyn Store>,
            limits: Arc::new(self.limits),
            metrics: SessionMetrics::register(&mut Registry::default()),
            shutdown: shutdown.clone(),
            retry_spread: Duration::from_secs(5),
        };
        let identity = identity(self.token_lives);
        let left = identity.ends_at().duration_since(SystemTime::now());
        let ends = Instant::now() + left.unwrap() - Duration::from_millis(100);
        let subscription = hub.subscribe(identity.user()).unwrap();
        let session = Session::new(&identity, subscription, wire, context);
        Rig { store, shutdown, ends, say, hear, session: tasks.spawn(session.run()) }
    }
}

/// Whom a good token makes.
fn identity(lives: Duration) -> Identity {
    let auth = config::Auth::default();
    let mut keys = KeySet::default();
    keys.add(generate(Alg::Hs256).unwrap()).unwrap();
    let request = Request {
        user: UserId::new(ME).unwrap(),
        name: None,
        picture: None,
        ttl: lives,
        admin: false,
    };
    let now = SystemTime::now();
    let issued = issue(&keys, &auth, &request, now).unwrap();
    let verifier = Verifier::new(&CurrentKeys::new(keys), &auth);
    verifier.verify(&issued.token, now).unwrap()
}

impl Rig {
    /// A session that nothing disturbs.
    pub(super) fn new() -> Self {
        Plan::default().start()
    }

    pub(super) async fn receive(&self, received: Received<String>) {
        self.say.send(received).await.unwrap();
    }

    /// The client sends a message; its content is its timestamp too.
    pub(super) async fn send(&self, to: u64, content: &str) {
        let packet = json!({
            "fromId": ME, "toId": to, "type": 0, "content": content, "timestamp": content,
            "Describe": "",
        });
        self.receive(Received::Text(packet.to_string())).await;
    }

    pub(super) async fn mark_read(&self, ids: &str) {
        let packet = json!({
            "fromId": ME, "toId": 0, "type": 1, "content": ids, "timestamp": "read",
            "Describe": "",
        });
        self.receive(Received::Text(packet.to_string())).await;
    }

    /// What the client hears next, in short, and when.
    pub(super) async fn heard_at(&mut self) -> (Instant, String) {
        let hearing = timeout(Duration::from_secs(1_000_000), self.hear.recv());
        let (at, heard) = hearing.await.unwrap().unwrap();
        let Heard::Frame(frame) = heard else {
            return (at, "ping".to_owned());
        };
        let text = |name: &str| frame[name].as_str().unwrap().to_owned();
        let short = match frame["type"].as_u64() {
            Some(0) => format!("success {}", text("timestamp")),
            Some(1) => {
                let describe: Value = serde_json::from_str(&text("Describe")).unwrap();
                format!("{} {}", describe["code"].as_str().unwrap(), text("timestamp"))
            }
            _ => format!("message {}", text("content")),
        };
        (at, short)
    }

    pub(super) async fn heard(&mut self) -> String {
        self.heard_at().await.1
    }

    /// For so long nothing is heard.
    pub(super) async fn silence(&mut self, lasts: Duration) {
        let heard = timeout(lasts, self.hear.recv()).await;
        assert!(heard.is_err(), "{heard:?}");
    }

    /// Lets everybody do what can be done without waiting for the clock.
    pub(super) async fn settle_down(&mut self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// How the session ends, and when.
    pub(super) async fn ended(self) -> (Instant, Ended) {
        let end = timeout(Duration::from_secs(1_000_000), self.session).await;
        let (_, ended) = end.unwrap().unwrap();
        (Instant::now(), ended)
    }
}
