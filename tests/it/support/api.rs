//! Calls of the HTTPS API, good until they are changed.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use serde_json::Value;
use tokio::net::TcpStream;

use super::http::{exchange, head, raw, try_tls_over};
use super::{Answer, Forge, TestServer};

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// Reads `path`, such as `me`, with a token of an hour.
    pub fn get(user: u64, path: &str) -> Self {
        Self::new("GET", user, path)
    }

    /// Sends `body` to `path`.
    pub fn post(user: u64, path: &str, body: &Value) -> Self {
        Self::new("POST", user, path).text("application/json", body.to_string())
    }

    /// Asks `path` for something without a body.
    pub fn new(method: &'static str, user: u64, path: &str) -> Self {
        Self {
            method,
            target: format!("/teaching/api/{path}"),
            headers: vec![
                ("Host".to_owned(), "localhost".to_owned()),
                ("Authorization".to_owned(), format!("Bearer {}", Forge::token(user))),
                ("Connection".to_owned(), "close".to_owned()),
            ],
            body: Vec::new(),
        }
    }

    /// With a body, whatever it is.
    pub fn text(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.with("Content-Type", kind).with("Content-Length", &length)
    }

    /// With another token.
    pub fn token(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    /// Replaces a header.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    /// Adds a header, also one that is there already.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The call as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        [head(self.method, &self.target, &self.headers).as_bytes(), &self.body].concat()
    }

    /// Makes the call and reads the answer.
    pub async fn send(&self, server: &TestServer) -> Answer {
        raw(server, &self.bytes()).await
    }

    /// The same with a server that may be dying or dead.
    pub async fn reach(
        &self,
        (address, roots): (SocketAddr, Arc<RootCertStore>),
    ) -> Option<Answer> {
        let tcp = TcpStream::connect(address).await.ok()?;
        let mut stream = try_tls_over(tcp, roots).await.ok()?;
        Some(exchange(&mut stream, &self.bytes()).await)
    }

    /// Makes a call that must be answered with 200: what the answer holds.
    pub async fn done(&self, server: &TestServer) -> Value {
        self.send(server).await.done(&self.target)
    }
}

/// Sends a message by the API: its id.
pub async fn post_message(server: &TestServer, from: u64, to: u64, content: &str) -> u64 {
    let message = serde_json::json!({ "toId": to, "content": content });
    let stored = Call::post(from, "messages", &message).done(server).await;
    assert_eq!(stored["duplicate"], false, "{stored}");
    stored["messageId"].as_str().unwrap().parse().unwrap()
}
