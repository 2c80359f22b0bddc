//! A client of the server under test: frames out, frames in, and the end of it.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::{PATIENCE, Place};

/// The connection has ended: the server is dead, or closed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

/// A frame of the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Frame {
    #[serde(rename = "type")]
    pub(super) kind: u8,
    pub(super) content: String,
    pub(super) timestamp: String,
    #[serde(rename = "Describe")]
    describe: String,
}

/// What stands in `Describe`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Describe {
    message_id: Option<String>,
    code: Option<String>,
}

impl Frame {
    fn described(&self) -> Describe {
        serde_json::from_str(&self.describe).unwrap_or_default()
    }

    /// The message's id; nothing where there is none.
    pub(super) fn id(&self) -> Option<u64> {
        self.described().message_id?.parse().ok()
    }

    /// The code of a failure.
    pub(super) fn code(&self) -> String {
        self.described().code.unwrap_or_default()
    }
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The 2020 document's way: the unread messages, then live ones.
    Plain,
    /// `im.v2`: the same, and a word behind the unread ones.
    V2,
    /// `im.v2` from the first message on, read ones too.
    All,
}

/// A packet of type 0, to be sent as often as needed: it is the same every time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) content: &'a str,
    pub(super) timestamp: &'a str,
    /// The client's own name for it, and whether it is sent again.
    pub(super) name: Option<(&'a str, bool)>,
}

/// A connection of one user.
#[derive(Debug)]
pub(super) struct Client(WebSocketStream<TlsStream<TcpStream>>);

impl Client {
    /// Connects `user`.
    pub(super) async fn connect(
        place: &Place,
        address: SocketAddr,
        user: u64,
        opening: Opening,
    ) -> Result<Self, Gone> {
        let connecting = async {
            let tcp = TcpStream::connect(address).await.map_err(|_| Gone)?;
            tcp.set_nodelay(true).map_err(|_| Gone)?;
            let name = ServerName::try_from("localhost").map_err(|_| Gone)?;
            let stream = place.tls().connect(name, tcp).await.map_err(|_| Gone)?;
            let query = if opening == Opening::All { "?after=0" } else { "" };
            let url = format!("wss://localhost/teaching/imserver/{}{query}", place.token(user));
            let mut request = url.into_client_request().map_err(|_| Gone)?;
            if opening != Opening::Plain {
                let v2 = HeaderValue::from_static("im.v2");
                request.headers_mut().insert("sec-websocket-protocol", v2);
            }
            let opened = tokio_tungstenite::client_async(request, stream).await;
            opened.map(|(socket, _)| Self(socket)).map_err(|_| Gone)
        };
        timeout(PATIENCE, connecting).await.unwrap_or(Err(Gone))
    }

    /// Sends a packet.
    pub(super) async fn send(&mut self, packet: &Packet<'_>) -> Result<(), Gone> {
        let Packet { from, to, content, timestamp, name } = *packet;
        let describe = match name {
            None => String::new(),
            Some((name, false)) => json!({ "clientMsgId": name }).to_string(),
            Some((name, true)) => json!({ "clientMsgId": name, "resend": true }).to_string(),
        };
        self.put(&json!({
            "fromId": from, "toId": to, "type": 0, "content": content,
            "timestamp": timestamp, "Describe": describe,
        }))
        .await
    }

    /// Marks messages of `reader` as read.
    pub(super) async fn mark(&mut self, reader: u64, ids: &[u64]) -> Result<(), Gone> {
        self.put(&json!({
            "fromId": reader, "toId": 0, "type": 1, "content": json!(ids).to_string(),
            "timestamp": "", "Describe": "",
        }))
        .await
    }

    async fn put(&mut self, frame: &serde_json::Value) -> Result<(), Gone> {
        let sending = self.0.send(Message::text(frame.to_string()));
        match timeout(PATIENCE, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> Result<Frame, Gone> {
        loop {
            let coming = timeout(PATIENCE, self.0.next()).await.map_err(|_| Gone)?;
            match coming {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(|_| Gone);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_) | Err(_)) | None => return Err(Gone),
            }
        }
    }
}
