//! The byte stream of a connection, TLS or plain, that gives up on a peer who takes nothing.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::proxy_header;

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

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, inner => inner.poll_read(context, buffer))
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

/// A TCP stream whose writes fail when the peer takes nothing for a while.
///
/// Below TLS, so that every byte is watched, of whatever it is part.
#[derive(Debug)]
pub(super) struct Watched {
    tcp: TcpStream,
    patience: Duration,
    /// The first bytes that came, to tell what the other side takes us for.
    opening: [u8; 6],
    is_open: bool,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(tcp: TcpStream, patience: Duration) -> Self {
        Self { tcp, patience, opening: [0; 6], is_open: false, stalled: None }
    }

    /// Whether what came first is the beginning of a PROXY header.
    pub(super) fn began_with_proxy_header(&self) -> bool {
        proxy_header::begins(self.opening)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(context, buffer);
        if !self.is_open && read.is_ready() {
            self.is_open = true;
            let came = buffer.filled().iter().skip(before);
            self.opening.iter_mut().zip(came).for_each(|(opening, byte)| *opening = *byte);
        }
        read
    }
}

impl Watched {
    /// What came of a try to write; an error where the peer has taken nothing for too long.
    fn outcome(
        &mut self,
        tried: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if tried.is_ready() {
            self.stalled = None;
            return tried;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.outcome(tried, context)
    }

    /// TLS hands over its records one by one in a list: what a handshake says would be as many
    /// writes, and packets.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.tcp).poll_write_vectored(context, pieces);
        self.outcome(tried, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_handed_over_in_pieces_goes_out_in_one_write() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        let mut watched = Watched::new(tcp, Duration::from_secs(60));
        let pieces = [&b"hello"[..], b"", b"finished"].map(IoSlice::new);
        assert_eq!(watched.write_vectored(&pieces).await.unwrap(), 13);
        let mut came = [0; 13];
        peer.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"hellofinished");
    }
}
