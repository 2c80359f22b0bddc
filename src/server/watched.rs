//! A TCP stream below TLS that gives up on a peer who takes nothing, and that can keep what is
//! said for a moment, to say it with what comes next.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::proxy_header;

/// What is held back at the most: what a handshake says, or a farewell. More goes out.
const HELD_MAX: usize = 8 * 1024;

/// How long what is written may wait for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Not at all.
    Nothing,
    /// Until this side waits for the other one.
    UntilRead,
    /// Until this side waits for what TLS carries, and where that comes, until it answers.
    UntilAsked,
    /// Until the stream is shut down.
    ToTheEnd,
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
    pub(super) holds: Holds,
    /// What was taken and has not gone out.
    held: Vec<u8>,
}

impl Watched {
    pub(super) fn new(tcp: TcpStream, patience: Duration) -> Self {
        let (holds, held) = (Holds::Nothing, Vec::new());
        Self { tcp, patience, opening: [0; 6], is_open: false, stalled: None, holds, held }
    }

    /// The same, to shake hands on.
    pub(super) fn for_tls(tcp: TcpStream, patience: Duration) -> Self {
        let mut watched = Self::new(tcp, patience);
        watched.holds = Holds::UntilRead;
        watched
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
        if read.is_pending() && self.holds == Holds::UntilRead {
            self.send_held(context)?;
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

    /// Takes what is written, as far as there is room, and sends it where nothing holds it
    /// back; nothing of it where there is no room.
    fn take(
        &mut self,
        pieces: &[IoSlice<'_>],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.held.len() >= HELD_MAX {
            ready!(self.poll_held(context))?;
        }
        let before = self.held.len();
        for piece in pieces {
            let room = HELD_MAX - self.held.len();
            self.held.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        let taken = self.held.len() - before;
        if self.holds == Holds::Nothing {
            self.send_held(context)?;
        }
        Poll::Ready(Ok(taken))
    }

    /// Whether what is written now must wait for what was written before.
    fn is_holding(&self) -> bool {
        self.holds != Holds::Nothing || !self.held.is_empty()
    }

    /// Sends of what is held what the system takes.
    pub(super) fn send_held(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.poll_held(context) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }

    /// Sends what is held.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let tried = Pin::new(&mut self.tcp).poll_write(context, &self.held);
            let sent = ready!(self.outcome(tried, context))?;
            self.sent(sent)?;
        }
        Poll::Ready(Ok(()))
    }

    /// The same, in one packet with the end of the stream that is to follow at once.
    fn poll_last_words(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let tried = match self.tcp.poll_write_ready(context) {
                Poll::Ready(Ok(())) => {
                    let (tcp, held) = (&self.tcp, &self.held);
                    let send = || Ok(rustix::net::send(tcp, held, SendFlags::MORE)?);
                    match tcp.try_io(Interest::WRITABLE, send) {
                        // It was not ready after all: the next look waits until it is.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                        tried => Poll::Ready(tried),
                    }
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
            let sent = ready!(self.outcome(tried, context))?;
            self.sent(sent)?;
        }
        Poll::Ready(Ok(()))
    }

    /// So much of what was held has gone out.
    fn sent(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if bytes >= self.held.len() {
            // An idle connection keeps nothing of it.
            self.held = Vec::new();
        } else {
            self.held.drain(..bytes);
        }
        Ok(())
    }
}

impl Drop for Watched {
    /// A TLS alert may be among what is held.
    fn drop(&mut self) {
        if !self.held.is_empty() {
            // A peer that takes nothing hears nothing.
            let _ = self.tcp.try_write(&self.held);
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_holding() {
            return self.take(&[IoSlice::new(bytes)], context);
        }
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
        if self.is_holding() {
            return self.take(pieces, context);
        }
        let tried = Pin::new(&mut self.tcp).poll_write_vectored(context, pieces);
        self.outcome(tried, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holds == Holds::Nothing {
            ready!(self.poll_held(context))?;
        }
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_last_words(context))?;
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

    /// Both ends of a connection, one of which is about to shake hands.
    async fn shaking_hands() -> (Watched, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        (Watched::for_tls(tcp, Duration::from_secs(60)), peer)
    }

    fn nothing_came(peer: &TcpStream) -> bool {
        peer.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    #[tokio::test]
    async fn a_handshake_speaks_before_it_listens() {
        let (mut watched, mut peer) = shaking_hands().await;
        watched.write_all(b"hello").await.unwrap();
        watched.flush().await.unwrap();
        assert!(nothing_came(&peer));
        let listening = async { watched.read_u8().await.unwrap() };
        let answering = async {
            let mut came = [0; 5];
            peer.read_exact(&mut came).await.unwrap();
            assert_eq!(&came, b"hello");
            peer.write_u8(7).await.unwrap();
        };
        assert_eq!(tokio::join!(listening, answering).0, 7);
        assert!(watched.held.capacity() == 0);
    }

    #[tokio::test]
    async fn what_is_held_when_it_is_dropped_is_said() {
        let (mut watched, mut peer) = shaking_hands().await;
        watched.write_all(b"alert").await.unwrap();
        assert!(nothing_came(&peer));
        drop(watched);
        let mut came = Vec::new();
        peer.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, b"alert");
    }
}
