//! A lean client of the HTTPS API: one connection kept alive, one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The user's connection.
#[derive(Debug)]
pub struct Api {
    stream: TlsStream<TcpStream>,
    headers: String,
    answer: Vec<u8>,
}

impl Api {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn connect(
        address: SocketAddr,
        name: ServerName<'static>,
        tls: &Arc<ClientConfig>,
        token: &str,
    ) -> Result<Self> {
        let tcp = TcpStream::connect(address).await.context("cannot connect")?;
        tcp.set_nodelay(true)?;
        let host = name.to_str().into_owned();
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await?;
        let headers =
            format!("Host: {host}:{}\r\nAuthorization: Bearer {token}\r\n\r\n", address.port());
        Ok(Self { stream, headers, answer: Vec::new() })
    }

    /// Gets `path` and gives the body of the answer.
    ///
    /// # Errors
    /// Any answer but 200, or none.
    pub async fn get(&mut self, path: &str) -> Result<&[u8]> {
        let request = format!("GET {path} HTTP/1.1\r\n{}", self.headers);
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        self.answer.clear();
        let body = loop {
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the server ended the connection");
            if let Some(body) = self.body()? {
                break body;
            }
        };
        self.answer.get(body).context("no body")
    }

    /// Where the body lies, once all of it is here.
    fn body(&self) -> Result<Option<std::ops::Range<usize>>> {
        let Some(end) = memmem::find(&self.answer, b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(self.answer.get(..end).unwrap_or_default());
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default();
        if !status.starts_with("HTTP/1.1 200 ") {
            bail!("the server answered {status}");
        }
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let body = end + 4..end + 4 + length.context("an answer without its length")?;
        Ok((self.answer.len() >= body.end).then_some(body))
    }
}
