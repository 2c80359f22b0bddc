//! A lean WebSocket client over TLS.
//!
//! One buffer each way, several frames a write, no copy of what came in. It
//! answers pings and understands a close; it does not join fragments, because
//! no frame of the contract needs any.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::frame::{BINARY, CLOSE, PING, PONG, TEXT, write_frame};

/// The key and answer that RFC 6455 gives as its example.
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

/// No server needs longer frames; NATS gathers many messages in one.
const MAX_FRAME: u64 = 64 << 20;

/// A server that does not end a closed connection within this is left alone.
const FAREWELL: Duration = Duration::from_secs(2);

/// The server's close frame: the end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Its code; 1005 where there is none.
    pub code: u16,
    /// Its reason.
    pub reason: String,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server closed the connection: {} {}", self.code, self.reason)
    }
}

impl std::error::Error for Closed {}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: TlsStream<TcpStream>,
    out: Vec<u8>,
    written: usize,
    incoming: Vec<u8>,
    unread: Range<usize>,
}

impl Wire {
    /// Connects, shakes hands and asks for the WebSocket at `path`, with a subprotocol
    /// where the server wants one.
    ///
    /// # Errors
    /// Whatever stood in the way, with the server's answer where there was one.
    pub async fn connect(
        address: std::net::SocketAddr,
        name: ServerName<'static>,
        tls: &Arc<ClientConfig>,
        path: &str,
        subprotocol: Option<&str>,
        buffer: usize,
    ) -> Result<Self> {
        let tcp = TcpStream::connect(address).await.context("cannot connect")?;
        tcp.set_nodelay(true)?;
        let host = name.to_str().into_owned();
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, tcp)
            .await
            .context("the TLS handshake failed")?;
        let incoming = vec![0; buffer.max(512)];
        let mut wire = Self { stream, out: Vec::new(), written: 0, incoming, unread: 0..0 };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n",
            address.port(),
            KEY.0
        );
        let subprotocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        wire.out.extend_from_slice(request.as_bytes());
        wire.out.extend_from_slice(subprotocol.unwrap_or_default().as_bytes());
        wire.out.extend_from_slice(b"\r\n");
        wire.read_upgrade().await?;
        Ok(wire)
    }

    /// Where frames to send are appended; [`exchange`](Self::exchange) sends them.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Writes what is waiting and returns as soon as something came in.
    ///
    /// May be dropped at any point and called again; nothing is lost by it.
    ///
    /// # Errors
    /// The connection is broken or was ended without a close frame.
    pub async fn exchange(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            let _full_or_done = self.poll_send(cx)?;
            self.poll_receive(cx)
        })
        .await
    }

    /// What the next frame that is already here holds, and where answers to it go.
    ///
    /// # Errors
    /// The server closed the connection ([`Closed`]), or sent what no server should.
    pub fn next_payload(&mut self) -> Result<Option<(&[u8], &mut Vec<u8>)>> {
        while let Some((opcode, payload)) = self.next_frame()? {
            match opcode {
                TEXT | BINARY => {
                    return Ok(self.incoming.get(payload).map(|payload| (payload, &mut self.out)));
                }
                PING => {
                    let payload = self.incoming.get(payload).unwrap_or_default();
                    write_frame(PONG, payload, &mut self.out);
                }
                PONG => {}
                CLOSE => {
                    let (code, reason) = match self.incoming.get(payload) {
                        Some([high, low, reason @ ..]) => (
                            u16::from_be_bytes([*high, *low]),
                            String::from_utf8_lossy(reason).into_owned(),
                        ),
                        _ => (1005, String::new()),
                    };
                    return Err(Closed { code, reason }.into());
                }
                other => bail!("unexpected WebSocket opcode {other}"),
            }
        }
        Ok(None)
    }

    /// Sends what is waiting, says goodbye and waits for the other end to go.
    pub async fn close(mut self) {
        write_frame(CLOSE, &1000_u16.to_be_bytes(), &mut self.out);
        // The other end may be gone already, which is what is wanted anyway.
        let goodbye = async {
            while self.exchange().await.is_ok() {
                self.unread = 0..0;
            }
            self.stream.shutdown().await
        };
        let _ = tokio::time::timeout(FAREWELL, goodbye).await;
    }

    /// Writes until nothing is waiting or the socket is full.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => self.written += written,
                Poll::Pending => return Poll::Pending,
            }
        }
        self.out.clear();
        self.written = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.incoming.len() {
            if self.unread.start == 0 {
                self.incoming.resize(self.incoming.len() * 2, 0);
            } else {
                self.incoming.copy_within(self.unread.clone(), 0);
                self.unread = 0..self.unread.len();
            }
        }
        let free = self.incoming.get_mut(self.unread.end..).unwrap_or_default();
        let mut buffer = ReadBuf::new(free);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if buffer.filled().is_empty() => {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Poll::Ready(()) => {
                self.unread.end += buffer.filled().len();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Takes a whole frame off the buffer, if one is there.
    fn next_frame(&mut self) -> Result<Option<(u8, Range<usize>)>> {
        let unread = self.incoming.get(self.unread.clone()).unwrap_or_default();
        let (first, length, header) = match unread {
            [first, length @ 0..126, ..] => (*first, u64::from(*length), 2),
            [first, 126, a, b, ..] => (*first, u64::from(u16::from_be_bytes([*a, *b])), 4),
            [first, 127, a, b, c, d, e, f, g, h, ..] => {
                (*first, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10)
            }
            [_, 128..=255, ..] => bail!("the server sent a masked frame"),
            _ => return Ok(None),
        };
        ensure!(first & 0xf0 == 0x80, "the server sent a fragment or a reserved bit");
        ensure!(length <= MAX_FRAME, "the server sent a frame of {length} bytes");
        let length = usize::try_from(length)?;
        if unread.len() < header + length {
            return Ok(None);
        }
        let start = self.unread.start + header;
        self.unread.start = start + length;
        Ok(Some((first & 0x0f, start..start + length)))
    }

    async fn read_upgrade(&mut self) -> Result<()> {
        loop {
            self.exchange().await.context("no answer to the upgrade")?;
            let answer = self.incoming.get(self.unread.clone()).unwrap_or_default();
            let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else {
                ensure!(answer.len() < 16_384, "endless answer to the upgrade");
                continue;
            };
            let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
            ensure!(
                head.starts_with("HTTP/1.1 101 ") && head.contains(KEY.1),
                "the server refused the upgrade: {}",
                String::from_utf8_lossy(answer)
            );
            self.unread.start += end + 4;
            return Ok(());
        }
    }
}
