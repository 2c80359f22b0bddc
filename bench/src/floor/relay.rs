//! One connection of the relay.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::journal::{Entry, Journal};
use super::{Mailbox, Users};

/// Frames taken in one go before anything else gets a turn.
const MAX_BATCH: usize = 64;
/// Frames are gathered up to one TLS record before they are written.
const WRITE_BUFFER: usize = 16 * 1024;

/// A frame, as far as a relay looks into it.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "toId")]
    to: u64,
    r#type: u8,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    timestamp: &'a RawValue,
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    users: Arc<Users>,
    journal: Journal,
) -> Result<()> {
    tcp.set_nodelay(true)?;
    let tls = acceptor.accept(tcp).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(64 * 1024))
        .max_frame_size(Some(64 * 1024));
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async_with_config(tls, look, Some(config)).await?;
    let user = subject(&path)?;
    let session = Session { user, mailbox: users.mailbox(user), recipient: None, users, journal };
    session.run(socket).await
}

/// The `sub` of the token in the path, believed without a look at its signature.
fn subject(path: &str) -> Result<u64> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let token = path.rsplit('/').next().unwrap_or_default();
    let claims = token.split('.').nth(1).context("no token in the path")?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    Ok(claims.sub.parse()?)
}

struct Session {
    user: u64,
    mailbox: Arc<Mailbox>,
    /// Whom the last message went to; the next one usually goes there too.
    recipient: Option<(u64, Arc<Mailbox>)>,
    users: Arc<Users>,
    journal: Journal,
}

impl Session {
    async fn run(mut self, mut socket: WebSocketStream<TlsStream<TcpStream>>) -> Result<()> {
        let mailbox = Arc::clone(&self.mailbox);
        // What came before this connection; later frames announce themselves.
        mailbox.filled.notify_one();
        loop {
            tokio::select! {
                message = socket.next() => {
                    let Some(message) = message else { return Ok(()) };
                    let mut list = Vec::new();
                    self.take(message?, &mut list)?;
                    while list.len() < MAX_BATCH
                        && let Some(message) = socket.next().now_or_never()
                    {
                        let Some(message) = message else { break };
                        self.take(message?, &mut list)?;
                    }
                    if !list.is_empty() {
                        self.journal.send(list).await.map_err(|_| anyhow!("no journal"))?;
                    }
                }
                () = mailbox.filled.notified() => {
                    for frame in mailbox.take() {
                        socket.feed(Message::Text(frame)).await?;
                    }
                    socket.flush().await?;
                }
            }
        }
    }

    /// Turns a private message into an entry; mark-read frames have no effect.
    fn take(&mut self, message: Message, list: &mut Vec<Entry>) -> Result<()> {
        let Message::Text(text) = message else {
            return Ok(());
        };
        let frame: Frame<'_> = serde_json::from_str(&text)?;
        if frame.r#type != 0 {
            return Ok(());
        }
        let (user, to, timestamp) = (self.user, frame.to, frame.timestamp.get());
        let recipient = self.recipient(to);
        if recipient.is_full() {
            self.mailbox.put(answer(user, 1, timestamp, r#"{\"code\":\"inbox_full\"}"#));
            return Ok(());
        }
        let delivery = format!(
            r#"{{"fromId":{user},"toId":{to},"type":2,"content":{},"timestamp":{timestamp},"Describe":"{{\"userName\":\"\",\"headURL\":\"\",\"messageId\":\""#,
            frame.content.get()
        );
        let success = answer(user, 0, timestamp, "");
        let sender = Arc::clone(&self.mailbox);
        list.push(Entry { success, sender, delivery, recipient, record: text });
        Ok(())
    }

    fn recipient(&mut self, user: u64) -> Arc<Mailbox> {
        match &self.recipient {
            Some((last, mailbox)) if *last == user => Arc::clone(mailbox),
            _ => {
                let mailbox = self.users.mailbox(user);
                self.recipient = Some((user, Arc::clone(&mailbox)));
                mailbox
            }
        }
    }
}

fn answer(user: u64, kind: u8, timestamp: &str, describe: &str) -> Utf8Bytes {
    format!(
        r#"{{"fromId":0,"toId":{user},"type":{kind},"content":"","timestamp":{timestamp},"Describe":"{describe}"}}"#
    )
    .into()
}
