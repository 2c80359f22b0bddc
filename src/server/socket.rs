//! WebSocket frames over a stream: what tungstenite calls errors are closes here.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::paced::{Paced, Unfinished};
use super::stream::Stream;
use crate::config;
use crate::protocol::close::Close;
use crate::session::{Ended, Gone, Received, Socket};

/// What an idle connection holds to read into: a few messages of usual size. It grows with
/// a larger one, and TLS holds what does not fit.
const READ_BUFFER: usize = 1024;

/// What is written at once: twenty messages of usual size in one TLS record. An idle
/// connection holds nothing of it.
const WRITE_BUFFER: usize = 4 * 1024;

/// How long a closing peer may take to read what we said and go.
const LINGER: Duration = Duration::from_secs(2);

/// What a peer may still send while it is being closed.
const LINGER_BYTES: usize = 1 << 20;

/// An upgraded connection.
pub(super) struct WebSocket {
    frames: WebSocketStream<Paced>,
}

impl WebSocket {
    /// Speaks WebSocket on `stream`, of which `early` was already read.
    pub(super) async fn new(stream: Stream, early: Bytes, limits: &config::Limits) -> Self {
        let frame_bytes = limits.frame_bytes;
        let stream = Paced::new(stream, &early, limits.write_timeout);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(frame_bytes))
            .max_frame_size(Some(frame_bytes));
        // A copy: what hyper read it into is eight times as large, and would be kept.
        let early = early.to_vec();
        let frames =
            WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config));
        Self { frames: frames.await }
    }

    /// Says why, then lets the peer read it: closing on top of unread bytes would
    /// reset the connection and the reason with it.
    pub(super) async fn finish(mut self, ended: Ended) {
        // A close frame is one packet with the end of TLS, and of the stream.
        self.frames.get_mut().hold_to_the_end();
        let farewell = async {
            match ended {
                Ended::Close(close) => {
                    let reason = Utf8Bytes::from(close.to_string());
                    let frame = CloseFrame { code: CloseCode::from(close.code()), reason };
                    // A pong that is still owed goes first: a close is the last frame.
                    self.frames.flush().await?;
                    self.frames.close(Some(frame)).await?;
                }
                Ended::Gone => self.frames.flush().await?,
            }
            let stream = self.frames.get_mut();
            stream.shutdown().await?;
            let mut rest = stream.take(LINGER_BYTES as u64);
            let mut buffer = [0; 1024];
            while rest.read(&mut buffer).await? > 0 {}
            Ok::<_, Error>(())
        };
        // A peer that is gone hears nothing, and nothing is owed to it.
        let _ = timeout(LINGER, farewell).await;
    }

    /// Sends every message back, binary ones too, until the peer goes or breaks the protocol.
    pub(super) async fn echo(mut self) {
        let ended = loop {
            let sent = match self.frames.next().await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    self.frames.send(message).await
                }
                next => match received(next) {
                    Received::Fault(close) => break Ended::Close(close),
                    Received::Gone => break Ended::Gone,
                    Received::Text(_) | Received::Ping | Received::Pong => {
                        self.frames.flush().await
                    }
                },
            };
            if sent.is_err() {
                break Ended::Gone;
            }
        };
        self.finish(ended).await;
    }
}

impl Socket for WebSocket {
    type Text = Utf8Bytes;

    async fn receive(&mut self) -> Received<Utf8Bytes> {
        received(self.frames.next().await)
    }

    async fn send(&mut self, text: Bytes) -> Result<(), Gone> {
        // Our own JSON is UTF-8; checking it again costs less than a copy.
        let text = Utf8Bytes::try_from(text).map_err(|_| Gone)?;
        self.frames.feed(Message::Text(text)).await.map_err(|_| Gone)
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        self.frames.feed(Message::Ping(Bytes::new())).await.map_err(|_| Gone)
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.frames.flush().await.map_err(|_| Gone)
    }
}

/// What the library found.
fn received(next: Option<Result<Message, Error>>) -> Received<Utf8Bytes> {
    match next {
        Some(Ok(Message::Text(text))) => Received::Text(text),
        Some(Ok(Message::Ping(_))) => Received::Ping,
        Some(Ok(Message::Pong(_))) => Received::Pong,
        Some(Ok(Message::Binary(_) | Message::Frame(_))) => Received::Fault(Close::BinaryFrame),
        Some(Ok(Message::Close(_))) | None => Received::Gone,
        Some(Err(error)) => fault(&error),
    }
}

/// What an error of the library means on the wire.
fn fault(error: &Error) -> Received<Utf8Bytes> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Received::Fault(Close::FrameTooBig)
        }
        Error::Utf8(_) => Received::Fault(Close::InvalidUtf8),
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::ReceivedAfterClosing
            | ProtocolError::SendAfterClosing,
        ) => Received::Gone,
        Error::Io(error) if Unfinished::is(error) => Received::Fault(Close::Unfinished),
        Error::Protocol(_) | Error::Capacity(_) => Received::Fault(Close::Protocol),
        _ => Received::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_close_reason_is_too_long_for_a_control_frame() {
        let retry = Duration::MAX;
        for close in [Close::Drain { retry }, Close::TryLater { retry }] {
            assert!(close.to_string().len() <= 123);
        }
    }
}
