//! What a session asks of the connection that it speaks on.

use std::future::Future;
use std::ops::Deref;

use bytes::Bytes;

use crate::protocol::close::Close;

/// The frames of a connection, in and out.
pub trait Socket: Send {
    /// A text frame's content.
    type Text: Deref<Target = str> + Send + Sync;

    /// Waits for the next frame. Cancel safe.
    fn receive(&mut self) -> impl Future<Output = Received<Self::Text>> + Send;

    /// Puts a text frame into the write buffer, which may write some of it out.
    ///
    /// # Errors
    /// [`Gone`] when the peer takes no more.
    fn send(&mut self, text: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Puts a ping into the write buffer.
    ///
    /// # Errors
    /// [`Gone`] when the peer takes no more.
    fn ping(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// [`Gone`] when the peer takes no more.
    fn flush(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// What came in.
#[derive(Debug)]
pub enum Received<T> {
    /// A frame.
    Text(T),
    /// A ping, which the socket answers itself.
    Ping,
    /// The answer to one of ours.
    Pong,
    /// Something that ends the connection.
    Fault(Close),
    /// The peer is gone, or asked to close.
    Gone,
}

/// The peer is gone, or has taken nothing for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;
