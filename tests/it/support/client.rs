//! A client by the 2020 document: frames in, frames out.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::http::{tls, try_tls_over};
use super::{Forge, TestServer, within};

/// A connection of one user.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub user: u64,
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code; 1006 when there was none.
    pub code: u16,
    /// The reason.
    pub reason: String,
}

/// The document's packet of type 0.
pub fn frame(from: u64, to: u64, content: &str, timestamp: &str) -> Value {
    json!({
        "fromId": from, "toId": to, "type": 0, "content": content, "timestamp": timestamp,
        "Describe": "",
    })
}

/// The document's packet of type 1.
pub fn mark_read(from: u64, ids: &[u64]) -> Value {
    json!({
        "fromId": from, "toId": 0, "type": 1, "content": json!(ids).to_string(),
        "timestamp": "1", "Describe": "",
    })
}

impl Client {
    /// Connects with a token of an hour in the URL.
    pub async fn connect(server: &TestServer, user: u64) -> Self {
        let token = Forge::token(user);
        Self::open(server, user, &format!("/teaching/imserver/{token}"), &[]).await.unwrap()
    }

    /// Connects with the token given.
    pub async fn with_token(server: &TestServer, user: u64, token: &str) -> Self {
        Self::open(server, user, &format!("/teaching/imserver/{token}"), &[]).await.unwrap()
    }

    /// Connects to `path` with further headers.
    pub async fn open(
        server: &TestServer,
        user: u64,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let stream = tls(server.address, server.roots()).await;
        let url = format!("wss://localhost:{}{path}", server.address.port());
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let opening = tokio_tungstenite::client_async(request, stream);
        let (socket, _) = within("the upgrade", opening).await?;
        Ok(Self { user, socket })
    }

    /// Connects with `im.v2` behind a message, to a server that may be dying or dead.
    pub async fn reach(
        node: (SocketAddr, Arc<RootCertStore>),
        user: u64,
        after: u64,
    ) -> Option<Self> {
        let url = format!("wss://localhost/teaching/imserver?after={after}");
        let mut request = url.into_client_request().unwrap();
        let offered = format!("im.v2, im.bearer.{}", Forge::token(user)).parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offered);
        Self::reach_by(node, user, request).await
    }

    /// The same by the document's URL.
    pub async fn reach_plainly(node: (SocketAddr, Arc<RootCertStore>), user: u64) -> Option<Self> {
        let url = format!("wss://localhost/teaching/imserver/{}", Forge::token(user));
        Self::reach_by(node, user, url.into_client_request().unwrap()).await
    }

    async fn reach_by(
        (address, roots): (SocketAddr, Arc<RootCertStore>),
        user: u64,
        request: Request,
    ) -> Option<Self> {
        let tcp = TcpStream::connect(address).await.ok()?;
        let stream = try_tls_over(tcp, roots).await.ok()?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.ok()?;
        Some(Self { user, socket })
    }

    /// Sends text as it is.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends any WebSocket message.
    pub async fn send_message(&mut self, message: Message) {
        within("room to write", self.socket.send(message)).await.unwrap();
    }

    /// Sends a packet.
    pub async fn send(&mut self, packet: &Value) {
        self.send_text(packet.to_string()).await;
    }

    /// Sends "content" to `to` and waits for its success; gives nothing back, as the
    /// document's success holds nothing.
    pub async fn say(&mut self, to: u64, content: &str, timestamp: &str) {
        let packet = frame(self.user, to, content, timestamp);
        self.send(&packet).await;
        let answer = self.next().await;
        assert_eq!(answer, self.success(timestamp), "{content:?}");
    }

    /// Sends a packet, also where the server may be closing.
    pub async fn send_into_the_blue(&mut self, packet: &Value) {
        let _ = within("room to write", self.socket.send(Message::text(packet.to_string()))).await;
    }

    /// The success frame for `timestamp`, as the server must write it.
    pub fn success(&self, timestamp: &str) -> Value {
        json!({
            "fromId": 0, "toId": self.user, "type": 0, "content": "", "timestamp": timestamp,
            "Describe": "",
        })
    }

    /// The next text frame, as it came.
    pub async fn next_text(&mut self) -> String {
        loop {
            match within("a frame", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a frame, got {other:?}"),
            }
        }
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).unwrap()
    }

    /// The next frame, which must be a failure: its code.
    pub async fn failure(&mut self) -> String {
        let frame = self.next().await;
        assert_eq!(frame["type"], 1, "{frame}");
        let describe: Value = serde_json::from_str(frame["Describe"].as_str().unwrap()).unwrap();
        describe["code"].as_str().unwrap().to_owned()
    }

    /// The next frame, which must be a message: its id and content.
    pub async fn message(&mut self) -> (u64, String) {
        let frame = self.next().await;
        assert_eq!((&frame["type"], &frame["toId"]), (&json!(2), &json!(self.user)), "{frame}");
        let describe: Value = serde_json::from_str(frame["Describe"].as_str().unwrap()).unwrap();
        let id = describe["messageId"].as_str().unwrap().parse().unwrap();
        (id, frame["content"].as_str().unwrap().to_owned())
    }

    /// Proves that nothing was on its way: a note to oneself is answered and nothing
    /// comes before the answer.
    pub async fn nothing_came(&mut self) {
        let packet = frame(self.user, self.user, "is anything there?", "probe");
        self.send(&packet).await;
        let answer = self.next().await;
        // With `im.v2` it also says which message it became.
        assert_eq!(
            (&answer["type"], &answer["timestamp"]),
            (&json!(0), &json!("probe")),
            "{answer}"
        );
    }

    /// The next frame, or nothing when the server closes before.
    pub async fn answer(&mut self) -> Option<Value> {
        within("a frame or the end", self.answer_at_last()).await
    }

    /// The same, however long it takes.
    pub async fn answer_at_last(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// The next frame, or how the server closes before.
    pub async fn next_or_closed(&mut self) -> Result<Value, Closed> {
        loop {
            match within("a frame or the close", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(Some(close)))) => {
                    return Err(Closed {
                        code: close.code.into(),
                        reason: close.reason.to_string(),
                    });
                }
                _ => return Err(Closed { code: 1006, reason: String::new() }),
            }
        }
    }

    /// Reads until the server closes, whatever comes before.
    pub async fn closed(&mut self) -> Closed {
        self.answers_until_closed().await.1
    }

    /// Reads until the server closes; the frames that came before.
    pub async fn answers_until_closed(&mut self) -> (Vec<Value>, Closed) {
        let mut frames = Vec::new();
        loop {
            match within("the close", self.socket.next()).await {
                Some(Ok(Message::Close(Some(close)))) => {
                    let end = Closed { code: close.code.into(), reason: close.reason.to_string() };
                    return (frames, end);
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => {
                    let end = Closed { code: 1006, reason: String::new() };
                    return (frames, end);
                }
                Some(Ok(Message::Text(text))) => {
                    frames.push(serde_json::from_str(&text).unwrap());
                }
                Some(Ok(_)) => {}
            }
        }
    }

    /// Closes as a well-behaved client does.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
        while let Some(Ok(_)) = within("the end", self.socket.next()).await {}
    }

    /// The bare WebSocket.
    pub fn socket(&mut self) -> &mut WebSocketStream<TlsStream<TcpStream>> {
        &mut self.socket
    }
}
