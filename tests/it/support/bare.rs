//! A connection whose WebSocket frames the test makes byte by byte, and that does
//! nothing by itself: it answers no ping and no close, and reads only when told to.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use super::http::tls_over;
use super::{Closed, Forge, TestServer, Upgrade, within};

/// The last frame of a message.
pub const FIN: u8 = 0x80;
/// The opcodes of RFC 6455.
pub const CONTINUE: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// So little that a stopped reader is noticed soon.
const RECEIVE_BUFFER: u32 = 8 * 1024;

/// The head of a masked frame of `length` bytes, the key being zero, so that the
/// payload follows as it is.
pub fn head_of(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..=125 => head.push(0x80 | u8::try_from(length).unwrap()),
        126..=0xffff => {
            head.push(0x80 | 126);
            head.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

/// A whole masked frame.
pub fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head_of(first, payload.len() as u64);
    frame.extend(payload);
    frame
}

/// An upgraded connection in the raw.
#[derive(Debug)]
pub struct Bare {
    stream: TlsStream<TcpStream>,
}

impl Bare {
    /// Connects `user` and reads the 101.
    pub async fn connect(server: &TestServer, user: u64) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        let tcp = socket.connect(server.address).await.unwrap();
        let mut stream = tls_over(tcp, server.roots()).await;
        let request = Upgrade::token(&Forge::token(user)).bytes();
        stream.write_all(&request).await.unwrap();
        stream.flush().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("the 101", stream.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        Self { stream }
    }

    /// Sends bytes as they are, as far as the server takes them.
    pub async fn send(&mut self, bytes: &[u8]) {
        // The server may have closed in the middle: its close is what counts.
        let _ = within("room to write", async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await;
    }

    /// The next frame: its first byte and its payload; nothing at the end.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        within("a frame", self.read()).await
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let length = match self.stream.read_u8().await.ok()? {
            126 => self.stream.read_u16().await.ok()?.into(),
            127 => self.stream.read_u64().await.ok()?,
            masked @ 128.. => panic!("a server masks nothing: {masked}"),
            short => short.into(),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((first, payload))
    }

    /// The next frame that is not a ping of the server, which must be `first`.
    pub async fn expect(&mut self, first: u8) -> Vec<u8> {
        loop {
            match self.next().await {
                Some((opcode, payload)) if opcode == first => return payload,
                Some((opcode, _)) if opcode == FIN | PING => {}
                other => panic!("expected {first:#x}, got {other:?}"),
            }
        }
    }

    /// The server's next ping; whatever comes before is passed over.
    pub async fn expect_ping(&mut self) -> Vec<u8> {
        loop {
            match self.next().await {
                Some((opcode, payload)) if opcode == FIN | PING => return payload,
                Some(_) => {}
                None => panic!("expected a ping, got the end"),
            }
        }
    }

    /// Reads until the server closes, and then to the end of the connection.
    pub async fn closed(&mut self) -> Closed {
        let close = self.close_frame().await;
        assert_eq!(self.next().await, None, "after a close comes nothing");
        close
    }

    /// The same, however long it takes.
    pub async fn closed_at_last(&mut self) -> Closed {
        loop {
            match self.read().await {
                Some((opcode, payload)) if opcode == FIN | CLOSE => {
                    let (code, reason) = payload.split_at(2);
                    let code = u16::from_be_bytes(code.try_into().unwrap());
                    let reason = String::from_utf8(reason.to_vec()).unwrap();
                    return Closed { code, reason };
                }
                Some(_) => {}
                None => panic!("expected a close, got the end"),
            }
        }
    }

    /// Reads until the server says that it closes, and lets it wait for the answer.
    pub async fn close_frame(&mut self) -> Closed {
        loop {
            match self.next().await {
                Some((opcode, payload)) if opcode == FIN | CLOSE => {
                    assert!(payload.len() >= 2, "a close without a code");
                    return Closed {
                        code: u16::from_be_bytes([payload[0], payload[1]]),
                        reason: String::from_utf8(payload[2..].to_vec()).unwrap(),
                    };
                }
                Some(_) => {}
                None => {
                    return Closed { code: 1006, reason: String::new() };
                }
            }
        }
    }
}
