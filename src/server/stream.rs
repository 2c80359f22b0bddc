//! The byte stream of a connection, TLS or plain.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::watched::{Holds, Watched};

/// What a connection runs over.
#[derive(Debug)]
pub(super) enum Stream {
    /// TLS ends here. Boxed: its state is a kilobyte that moves with every await.
    Tls(Box<TlsStream<Watched>>),
    /// TLS ended in a proxy on this host.
    Plain(Watched),
}

macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tls(tls) => {
                let $inner = Pin::new(&mut **tls);
                $call
            }
            Stream::Plain(plain) => {
                let $inner = Pin::new(plain);
                $call
            }
        }
    };
}

impl Stream {
    /// A stream on which hands were shaken.
    ///
    /// What TLS says behind that, its ticket, nobody waits for: it goes out with the answer
    /// to what is asked, where that has come already.
    pub(super) fn tls(mut tls: Box<TlsStream<Watched>>) -> Self {
        tls.get_mut().0.holds = Holds::UntilAsked;
        Self::Tls(tls)
    }

    /// Holds back what is written from now on until the stream is shut down: what is said
    /// last is then one packet, with the end of TLS and of the stream.
    pub(super) fn hold_to_the_end(&mut self) {
        self.watched().holds = Holds::ToTheEnd;
    }

    fn watched(&mut self) -> &mut Watched {
        match self {
            Self::Tls(tls) => tls.get_mut().0,
            Self::Plain(plain) => plain,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = either!(self.as_mut(), inner => inner.poll_read(context, buffer));
        let watched = self.watched();
        if watched.holds == Holds::UntilAsked {
            if read.is_ready() {
                watched.holds = Holds::Nothing;
            } else {
                watched.send_held(context)?;
            }
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, inner => inner.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => inner.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn last_words_come_whole_with_the_end_however_long_they_are() {
        let words: Vec<u8> = (0..100_000).map(|at| (at % 251) as u8).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = Stream::Plain(Watched::new(tcp, Duration::from_secs(60)));
        stream.hold_to_the_end();
        let saying = async {
            // In pieces that do not fill the room that there is.
            for piece in words.chunks(1000) {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
            }
            stream.shutdown().await.unwrap();
        };
        let hearing = async {
            let mut came = Vec::new();
            peer.read_to_end(&mut came).await.unwrap();
            came
        };
        assert!(tokio::join!(saying, hearing).1 == words);
    }
}
