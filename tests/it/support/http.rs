//! Requests as bytes, for everything that no well-behaved client sends.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{TestServer, within};

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, 0 when the connection was closed without one.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, and whatever else came until the end.
    pub body: String,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&header.1)
    }

    /// The `code` of the JSON body.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// What a call of `target` holds that must be answered with 200, and with JSON that
    /// nobody keeps.
    pub(super) fn done(&self, target: &str) -> Value {
        assert_eq!(self.status, 200, "{target}: {self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{target}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{target}");
        serde_json::from_str(&self.body).unwrap()
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status: status.unwrap_or(0), headers, body: body.to_owned() }
    }
}

/// Opens a TLS connection to the server.
pub async fn tls(address: SocketAddr, roots: Arc<RootCertStore>) -> TlsStream<TcpStream> {
    tls_over(TcpStream::connect(address).await.unwrap(), roots).await
}

/// Speaks TLS over a TCP connection that the test has made its own way.
pub async fn tls_over(tcp: TcpStream, roots: Arc<RootCertStore>) -> TlsStream<TcpStream> {
    try_tls_over(tcp, roots).await.unwrap()
}

/// The same with a server that may be dying.
pub async fn try_tls_over(
    tcp: TcpStream,
    roots: Arc<RootCertStore>,
) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Sends `request` as it is and reads what comes: up to the end of the connection, or
/// the head alone when it is a 101.
pub async fn raw(server: &TestServer, request: &[u8]) -> Answer {
    raw_at(server, server.address, request).await
}

pub(super) async fn raw_at(server: &TestServer, address: SocketAddr, request: &[u8]) -> Answer {
    exchange(&mut tls(address, server.roots()).await, request).await
}

/// The same over a stream that is there already.
pub async fn exchange<S>(stream: &mut S, request: &[u8]) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // A refusal may come, and the connection end, before everything is written.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..count]);
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = head.filter(|_| bytes.starts_with(b"HTTP/1.1 101")) {
                // Frames may follow at once; they are no part of the answer.
                bytes.truncate(end + 4);
                break;
            }
        }
    };
    within("an answer or the end", reading).await;
    Answer::parse(&bytes)
}

/// An upgrade request, good until it is changed.
#[derive(Clone, Debug)]
pub struct Upgrade {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Upgrade {
    /// A good request for `target`, such as `/teaching/imserver/{token}`.
    pub fn new(target: &str) -> Self {
        let headers = [
            ("Host", "localhost"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { method: "GET".to_owned(), target: target.to_owned(), headers: headers.into() }
    }

    /// A good request with `token` in the document's place.
    pub fn token(token: &str) -> Self {
        Self::new(&format!("/teaching/imserver/{token}"))
    }

    /// Uses another method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    /// Adds a header, also one that is there already.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces a header.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The request as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        head(&self.method, &self.target, &self.headers).into_bytes()
    }

    /// Sends it and reads the answer.
    pub async fn send(&self, server: &TestServer) -> Answer {
        raw(server, &self.bytes()).await
    }
}

/// A request up to its body.
pub(super) fn head(method: &str, target: &str, headers: &[(String, String)]) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    text + "\r\n"
}

/// Asks the administrators' listener for `path`.
pub async fn admin(server: &TestServer, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    raw_at(server, server.admin, request.as_bytes()).await
}
