//! A stream on which a message that was begun must end in time.
//!
//! The WebSocket library says nothing of half a frame, or of fragments whose last one does
//! not come: it waits, and the place is taken. The heartbeat finds only those who cannot
//! answer a ping meanwhile.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::framing::Framing;
use super::stream::Stream;

/// The error of a read that waited too long for the rest of a message.
#[derive(Debug, thiserror::Error)]
#[error("the rest of a message does not come")]
pub(super) struct Unfinished;

impl Unfinished {
    /// Whether it is what `error` says.
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// The stream of an upgraded connection.
#[derive(Debug)]
pub(super) struct Paced {
    stream: Stream,
    framing: Framing,
    patience: Duration,
    /// Runs while a message is under way.
    left: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// Watches `stream`, of which `early` was already read.
    pub(super) fn new(stream: Stream, early: &[u8], patience: Duration) -> Self {
        let mut paced = Self { stream, framing: Framing::default(), patience, left: None };
        paced.came(early);
        paced
    }

    /// Holds back what is written from now on until the stream is shut down.
    pub(super) fn hold_to_the_end(&mut self) {
        self.stream.hold_to_the_end();
    }

    fn came(&mut self, bytes: &[u8]) {
        if self.framing.feed(bytes) || !self.framing.is_under_way() {
            // Whatever is under way now has only just begun.
            self.left = None;
        }
        if self.framing.is_under_way() {
            let patience = self.patience;
            self.left.get_or_insert_with(|| Box::pin(sleep(patience)));
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.came(buffer.filled().get(before..).unwrap_or_default());
            return Poll::Ready(read);
        }
        let Some(left) = self.left.as_mut() else {
            return Poll::Pending;
        };
        ready!(left.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, Unfinished)))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
