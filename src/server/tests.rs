//! The server over a store that meets faults of our own: who pays for them, and who does not.

mod faulty;

use std::net::SocketAddr;
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use self::faulty::{FAULT, Faulty, UNLUCKY};
use super::*;
use crate::auth::{Alg, OneNode, Request, generate, issue};
use crate::config;
use crate::ids::UserId;
use crate::store::Store;
use crate::telemetry;

/// Both listeners of a server, without TLS.
struct Stage {
    public: SocketAddr,
    admin: SocketAddr,
    keys: CurrentKeys,
    revocations: Revocations,
    _folder: TempDir,
    _tasks: Tasks,
}

impl Stage {
    async fn new() -> Self {
        Self::with(Revocations::default()).await
    }

    async fn with(revocations: Revocations) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        folder.path().clone_into(&mut config.store.path);
        let mut registry = Registry::with_prefix("imserver");
        let store_metrics = StoreMetrics::register(&mut registry);
        let session_metrics = SessionMetrics::register(&mut registry);
        let metrics = ServerMetrics::register(&mut registry);
        let mut keys = KeySet::default();
        keys.add(generate(Alg::Hs256).unwrap()).unwrap();
        let keys = CurrentKeys::new(keys);
        let tasks = Tasks::default();
        let foundation = Foundation {
            terms: CurrentTerms::new(&config),
            tls: None,
            keys: keys.clone(),
            revocations: revocations.clone(),
            metrics,
            session_metrics: session_metrics.clone(),
            calls: tasks.tracker.clone(),
            stop: tasks.stop.clone(),
            config,
        };
        let (store, tail) = Faulty::open(&foundation.config);
        let store: Arc<dyn Store> = Arc::new(store);
        let hub = Hub::new();
        tasks.spawn(Arc::clone(&hub).follow(tail, foundation.revocations.clone()));

        let probes = foundation.probes(registry);
        probes.store.set(Arc::clone(&store)).unwrap();
        let source = Source::new(Path::new("config.toml"), || Ok(Config::default()));
        let reload = foundation.reload(source, LogLevel::of_none(), None);
        let administration = foundation.administration(reload);
        let doorkeeper = foundation.doorkeeper(100, Arc::new(OneNode::default())).unwrap();
        let context = foundation.context(store, doorkeeper.verifier.clone());
        let recent = Arc::new(Recent::new(store_metrics, session_metrics));
        let service =
            Service { context: context.clone(), hub: Arc::clone(&hub), neighbours: None, recent };
        assert!(administration.service.set(service).is_ok());

        let [public, admin] = [free().await, free().await];
        let stage = Self {
            public: public.local_addr().unwrap(),
            admin: admin.local_addr().unwrap(),
            keys,
            revocations,
            _folder: folder,
            _tasks: Tasks { stop: tasks.stop.clone(), tracker: tasks.tracker.clone() },
        };
        let routes = foundation.public_routes(doorkeeper, hub, context);
        tasks.listen(foundation.listener(public, routes, 100));
        let routes = admin::routes(probes, administration);
        tasks.listen(foundation.listener(admin, routes, ADMIN_SOCKETS));
        stage
    }

    fn token(&self, user: u64, admin: bool) -> String {
        let user = UserId::new(user).unwrap();
        let ttl = Duration::from_secs(600);
        let request = Request { user, name: None, picture: None, ttl, admin };
        let auth = config::Auth::default();
        issue(&self.keys.get(), &auth, &request, SystemTime::now()).unwrap().token
    }

    async fn connect(&self, user: u64) -> Client {
        let tcp = TcpStream::connect(self.public).await.unwrap();
        let url = format!("ws://localhost/teaching/imserver/{}", self.token(user, false));
        let (socket, _) = tokio_tungstenite::client_async(url, tcp).await.unwrap();
        Client { user, socket }
    }

    /// Asks for something: the status and the answer.
    async fn get(&self, at: SocketAddr, path: &str, token: &str) -> (u16, String) {
        let mut tcp = TcpStream::connect(at).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn call(&self, user: u64, path: &str) -> (u16, String) {
        self.get(self.public, path, &self.token(user, false)).await
    }

    async fn administer(&self, path: &str) -> (u16, String) {
        self.get(self.admin, path, &self.token(9, true)).await
    }

    /// How many faults were counted.
    async fn faults(&self) -> u64 {
        let (status, page) = self.administer("/metrics").await;
        assert_eq!(status, 200, "{page}");
        let line = page.lines().find(|line| line.starts_with("imserver_panics_total "));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }
}

async fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

struct Client {
    user: u64,
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    async fn send(&mut self, to: u64, content: &str) {
        let frame = json!({
            "fromId": self.user, "toId": to, "type": 0, "content": content,
            "timestamp": content, "Describe": "",
        });
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        match self.socket.next().await.unwrap().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    /// How the server ends it.
    async fn closed(&mut self) -> (u16, String) {
        match self.socket.next().await.unwrap().unwrap() {
            Message::Close(Some(close)) => (close.code.into(), close.reason.to_string()),
            other => panic!("expected a close, got {other:?}"),
        }
    }
}

/// Those whom it does not concern write to each other as before, on the connections that they
/// had.
async fn go_on(ming: &mut Client, hong: &mut Client, text: &str) {
    ming.send(hong.user, text).await;
    let answer = ming.next().await;
    assert_eq!((&answer["type"], &answer["timestamp"]), (&json!(0), &json!(text)), "{answer}");
    let message = hong.next().await;
    assert_eq!((&message["type"], &message["content"]), (&json!(2), &json!(text)), "{message}");
}

/// Has faults of this thread counted as the process of a server does, and shown all the same.
fn count_faults_of_this_thread() {
    let (others, here) = (panic::take_hook(), thread::current().id());
    panic::set_hook(Box::new(move |panic| {
        if thread::current().id() == here {
            telemetry::met_a_fault(panic);
        }
        others(panic);
    }));
}

#[tokio::test]
async fn a_fault_of_ours_costs_whoever_met_it_and_is_counted_and_nobody_else_notices() {
    count_faults_of_this_thread();
    let stage = Stage::new().await;
    let (mut ming, mut hong) = (stage.connect(1).await, stage.connect(2).await);
    go_on(&mut ming, &mut hong, "before").await;
    assert_eq!(stage.faults().await, 0);
    let internal = (1011, "internal".to_owned());

    // While a message is stored: that connection ends, and none of its user's others does.
    let mut another = stage.connect(1).await;
    another.send(2, FAULT).await;
    assert_eq!(another.closed().await, internal);
    assert_eq!(stage.faults().await, 1);
    go_on(&mut ming, &mut hong, "after one that was stored").await;

    // While messages are delivered.
    let mut unlucky = stage.connect(UNLUCKY).await;
    assert_eq!(unlucky.closed().await, internal);
    assert_eq!(stage.faults().await, 2);
    go_on(&mut ming, &mut hong, "after one that was delivered").await;

    // In a call of the API, and in one of the administrators'.
    let failed = json!({ "code": "unavailable", "message": "the call failed here" }).to_string();
    let history = "/teaching/api/conversations/1/messages";
    assert_eq!(stage.call(UNLUCKY, history).await, (503, failed.clone()));
    assert_eq!(stage.faults().await, 3);
    assert_eq!(stage.administer("/admin/revocations").await, (503, failed));
    assert_eq!(stage.faults().await, 4);
    go_on(&mut ming, &mut hong, "after two calls").await;

    let (status, answer) = stage.call(2, history).await;
    assert!(status == 200 && answer.contains("after two calls"), "{status} {answer}");
    let (status, answer) = stage.administer("/admin/status").await;
    assert_eq!(status, 200, "{answer}");
    let (status, page) = stage.administer("/metrics").await;
    let closed = "imserver_closes_total{reason=\"internal\"} 2";
    assert!(status == 200 && page.contains(closed), "{page}");
    let connections = "imserver_connections 2";
    assert!(page.contains(connections), "those that ended are gone: {page}");
    assert_eq!(stage.faults().await, 4);
}

#[tokio::test]
async fn an_administrator_who_asks_before_the_revocations_are_known_is_told_to_ask_again() {
    let stage = Stage::with(Revocations::pending()).await;
    let (status, answer) = stage.administer("/admin/status").await;
    assert!(status == 503 && answer.contains("the store is being opened"), "{status} {answer}");
    let user = stage.token(1, false);
    assert_eq!(stage.get(stage.admin, "/admin/status", &user).await.0, 401);
    stage.revocations.load([]);
    assert_eq!(stage.administer("/admin/status").await.0, 200);
}
