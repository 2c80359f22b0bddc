//! One session on a stage: what the client says and hears, and when the store answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{Context, Ended, Gone, Opening, Received, Retry, Session, Socket};
use super::cue::Cue;
use crate::auth::{
    Alg, CurrentKeys, Identity, KeySet, Request, Revocation, Revocations, TokenId, Verifier,
    generate, issue,
};
use crate::config;
use crate::hub::{About, Hub, Subscription, Wants};
use crate::ids::{MessageId, UserId};
use crate::metrics::SessionMetrics;
use crate::protocol::Dialect;
use crate::store::{AppendError, Cursor, Store, StoreError};

/// A frame at which the session meets a fault of our own.
pub(super) const FAULT: &str = "panic";

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
    /// The client takes something while there is a permit.
    takes: Arc<Semaphore>,
}

impl Socket for Wire {
    type Text = String;

    async fn receive(&mut self) -> Received<String> {
        let received = self.incoming.recv().await.unwrap_or(Received::Gone);
        if matches!(&received, Received::Text(text) if text == FAULT) {
            panic!("a fault of ours");
        }
        received
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
        let _takes = self.takes.acquire().await;
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
    pub(super) dialect: Dialect,
    /// The client's own cursor: the message with this id.
    pub(super) after: Option<u64>,
    /// Up to which id they have lapsed.
    pub(super) lapsed: u64,
    /// Messages that are there before the session: from, to and content.
    pub(super) before: Vec<(u64, u64, &'static str)>,
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
            dialect: Dialect::Document,
            after: None,
            lapsed: 0,
            before: Vec::new(),
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
    hub: Arc<Hub>,
    issuer: Issuer,
    say: mpsc::Sender<Received<String>>,
    hear: mpsc::Receiver<(Instant, Heard)>,
    takes: Arc<Semaphore>,
    session: JoinHandle<(Wire, Ended)>,
}

impl Plan {
    pub(super) fn start(self) -> Rig {
        let tasks = TaskTracker::new();
        let (store, announcements) = Cue::new(&self);
        for (from, to, content) in self.before {
            store.arrive_unheard(from, to, content);
        }
        let issuer = Issuer::new();
        let hub = Hub::new();
        tasks.spawn(Arc::clone(&hub).follow(announcements, issuer.revocations.clone()));
        let (say, incoming) = mpsc::channel(1000);
        let (outgoing, hear) = mpsc::channel(10_000);
        let takes = Arc::new(Semaphore::new(1));
        let wire = Wire { incoming, outgoing, buffer: Vec::new(), takes: Arc::clone(&takes) };
        let shutdown = CancellationToken::new();
        let context = Arc::new(Context {
            store: Arc::clone(&store) as Arc<dyn Store>,
            verifier: issuer.verifier.clone(),
            metrics: SessionMetrics::register(&mut Registry::default()),
            shutdown: shutdown.clone(),
            retry: Retry::default(),
            resend_window: Duration::from_secs(120),
        });
        let identity = issuer.identity(ME, self.token_lives);
        let left = identity.ends_at().duration_since(SystemTime::now());
        let ends = Instant::now() + left.unwrap() - Duration::from_millis(100);
        let wants = match self.dialect {
            Dialect::Document => Wants::Inbox,
            Dialect::V2 => Wants::Everything,
        };
        let (token, address) = (Arc::new(identity.token()), [127, 0, 0, 1].into());
        let about = About { token, address, since: SystemTime::now() };
        let subscription = hub.subscribe(about, wants, 10).unwrap();
        let after = self.after.map(|id| MessageId::new(id).map_or(Cursor::START, Cursor::from));
        let (dialect, limits) = (self.dialect, Arc::new(self.limits));
        let opening = Opening { identity, subscription, dialect, after, limits };
        let session = tasks.spawn(Box::new(Session::new(opening, wire, context)).run());
        Rig { store, shutdown, ends, hub, issuer, say, hear, takes, session }
    }
}

/// One key that nothing else is signed with.
fn first_keys() -> KeySet {
    let key = json!({
        "kty": "oct", "kid": "first", "alg": "HS256",
        "k": "Uvp4ijK872atFdVFcvAtb7dEiVq3eipLqq5d6_-6vPg",
    });
    KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap()
}

/// Who issues tokens and believes them.
#[derive(Debug)]
struct Issuer {
    keys: CurrentKeys,
    revocations: Revocations,
    auth: config::Auth,
    verifier: Verifier,
}

impl Issuer {
    fn new() -> Self {
        let auth = config::Auth::default();
        let keys = CurrentKeys::new(first_keys());
        let revocations = Revocations::default();
        let verifier = Verifier::new(&keys, &revocations, &auth);
        Self { keys, revocations, auth, verifier }
    }

    fn token(&self, user: u64, lives: Duration) -> String {
        let user = UserId::new(user).unwrap();
        let request = Request { user, name: None, picture: None, ttl: lives, admin: false };
        issue(&self.keys.get(), &self.auth, &request, SystemTime::now()).unwrap().token
    }

    fn identity(&self, user: u64, lives: Duration) -> Identity {
        self.verifier.verify(&self.token(user, lives), SystemTime::now()).unwrap()
    }
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

    /// The client sends a frame of any type; its content is its timestamp too.
    pub(super) async fn say(&self, r#type: u64, to: u64, content: &str, describe: &str) {
        let frame = json!({
            "fromId": ME, "toId": to, "type": r#type, "content": content, "timestamp": "said",
            "Describe": describe,
        });
        self.receive(Received::Text(frame.to_string())).await;
    }

    /// A token of `user` that lives from now on.
    pub(super) fn token(&self, user: u64, lives: Duration) -> String {
        self.issuer.token(user, lives)
    }

    /// Takes a token back: everybody is told who watches.
    pub(super) fn revoke(&self, token: &str) {
        let identity = self.issuer.verifier.verify(token, SystemTime::now()).unwrap();
        let jti = TokenId::new(identity.token_id().unwrap()).unwrap();
        self.issuer.revocations.add(Revocation::Token { jti, until: u64::MAX });
    }

    /// Takes all tokens of a user back.
    pub(super) fn disable(&self, user: u64) {
        let user = UserId::new(user).unwrap();
        self.issuer.revocations.add(Revocation::Disabled { user });
    }

    /// Puts another key set in force, in which the old key is or is not.
    pub(super) fn rotate(&self, keeping: bool) {
        let mut keys = if keeping { first_keys() } else { KeySet::default() };
        keys.add(generate(Alg::Hs256).unwrap()).unwrap();
        self.issuer.keys.replace(keys);
    }

    /// Another connection of `user`.
    pub(super) fn elsewhere(&self, user: u64) -> Subscription {
        self.hub
            .subscribe(About::of(UserId::new(user).unwrap(), "k"), Wants::Everything, 10)
            .unwrap()
    }

    /// The client takes nothing any more.
    pub(super) async fn hold_back(&self) {
        self.takes.acquire().await.unwrap().forget();
    }

    /// The client takes again, after everything else has happened.
    pub(super) async fn let_go(&mut self) {
        self.settle_down().await;
        self.takes.add_permits(1);
    }

    /// The whole frame that the client hears next.
    pub(super) async fn heard_frame(&mut self) -> Value {
        let hearing = timeout(Duration::from_secs(1_000_000), self.hear.recv());
        match hearing.await.unwrap().unwrap() {
            (_, Heard::Frame(frame)) => frame,
            (_, Heard::Ping) => panic!("a ping"),
        }
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
            Some(2) => format!("message {}", text("content")),
            Some(3) => format!("read by {} {}", frame["fromId"], text("content")),
            Some(4) => format!("typing {}", frame["fromId"]),
            _ => format!("up to {} {}", text("content"), text("Describe")),
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
