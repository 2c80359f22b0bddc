//! Calls of the administrators' listener, good until they are changed.

use std::net::SocketAddr;

use serde_json::Value;

use super::http::{head, raw_at};
use super::{Answer, Claims, TestServer};

/// Every call that there is, with a body that is right where one is needed.
pub const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/admin/status", ""),
    ("GET", "/admin/nodes", ""),
    ("GET", "/admin/audit", ""),
    ("POST", "/admin/reload", ""),
    ("GET", "/admin/connections", ""),
    ("DELETE", "/admin/connections?user=7", ""),
    ("DELETE", "/admin/connections/0123456789abcdef", ""),
    ("POST", "/admin/notifications", r#"{"to":"all","content":"x"}"#),
    ("GET", "/admin/revocations", ""),
    ("POST", "/admin/revocations", r#"{"sub":7}"#),
    ("POST", "/admin/users/7/disable", ""),
    ("POST", "/admin/users/7/enable", ""),
    ("GET", "/admin/tokens", ""),
    ("POST", "/admin/tokens", r#"{"sub":7}"#),
    ("GET", "/admin/backup", ""),
    ("GET", "/admin/export", ""),
    ("GET", "/admin/users/7/export", ""),
    ("DELETE", "/admin/users/7", ""),
];

/// A call.
#[derive(Clone, Debug)]
pub struct Admin {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Admin {
    /// The number that acts.
    pub const USER: u64 = 900_009;

    /// The `jti` of its tokens.
    pub const JTI: &str = "an-administrators-token";

    /// Claims that open the administrators' door for an hour.
    pub fn claims() -> Claims {
        Claims::of(Self::USER).with("aud", "imserver-admin").with("jti", Self::JTI)
    }

    /// A call with a good token.
    pub fn new(method: &str, target: &str, body: &str) -> Self {
        let mut headers = vec![
            ("Host".to_owned(), "localhost".to_owned()),
            ("Connection".to_owned(), "close".to_owned()),
        ];
        if !body.is_empty() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
            headers.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        let (method, target, body) = (method.to_owned(), target.to_owned(), body.to_owned());
        Self { method, target, headers, body }.bearer(&Self::claims().token())
    }

    /// Reads what stands at `target`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target, "")
    }

    /// Sends `body` to `target`.
    pub fn post(target: &str, body: &Value) -> Self {
        Self::new("POST", target, &body.to_string())
    }

    /// With another token.
    pub fn bearer(self, token: &str) -> Self {
        let mut call = self.without("Authorization");
        call.headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        call
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Makes the call and reads the answer.
    pub async fn send(&self, server: &TestServer) -> Answer {
        self.send_to(server, server.admin).await
    }

    /// Makes the call where it does not belong.
    pub async fn send_to(&self, server: &TestServer, address: SocketAddr) -> Answer {
        let request = head(&self.method, &self.target, &self.headers) + &self.body;
        raw_at(server, address, request.as_bytes()).await
    }

    /// Makes a call that must be answered with 200: what the answer holds.
    pub async fn done(&self, server: &TestServer) -> Value {
        self.send(server).await.done(&self.target)
    }

    /// Makes a call that must be answered with 200 and lines: what each of them holds.
    pub async fn lines(&self, server: &TestServer) -> Vec<Value> {
        let answer = self.send(server).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", self.target);
        assert_eq!(answer.header("content-type"), Some("application/jsonl"), "{}", self.target);
        let body = unchunked(&answer.body);
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The text of a body that came in chunks, which must be whole.
fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").expect("a body in chunks");
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return text;
        }
        text.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
}
