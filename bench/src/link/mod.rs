//! One connection of one user, in the words of the server that it leads to.
//!
//! A measurement knows messages, successes and deliveries. What those look like
//! is known here: one file a protocol.

mod im;
mod message;
mod mqtt;
mod nats;
mod stream;
mod xmpp;

use std::borrow::Cow;
use std::fmt;
use std::io;

use anyhow::{Context as _, Result};

use crate::frame::Content;
use crate::wire::Wire;

pub use self::im::Im;
pub use self::mqtt::Mqtt;
pub use self::nats::{Nats, make_inboxes};
pub use self::xmpp::Xmpp;

/// What came from a server, as far as a measurement cares.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The message with this sequence is accepted.
    Success(u64),
    /// It is refused, with this code.
    Failure(Option<u64>, String),
    /// A message came in.
    Message {
        /// Its id in the inbox, which rises; counted here where a protocol has none.
        id: u64,
        /// What it says.
        content: Cow<'a, [u8]>,
    },
    /// Nothing that a client should ever see.
    Unknown,
}

/// What a connection says and understands: its protocol and its place in it.
///
/// A speech does what a client library would, and no more than that: no less
/// work for the server than real clients make, and as little of its own as can be.
pub trait Speech: fmt::Debug {
    /// Says to whom messages will go, and what they will hold.
    fn address(&mut self, recipient: u64, content: &Content);

    /// Appends the message with this sequence to `out`.
    fn say(&mut self, sequence: u64, out: &mut Vec<u8>);

    /// Called when the last of several messages has been said.
    fn said(&mut self, _out: &mut Vec<u8>) {}

    /// Understands what a WebSocket frame held; what the protocol wants answered is
    /// answered in `out`.
    ///
    /// # Errors
    /// The server ended the conversation, or said what no server should.
    fn hear(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<()>;

    /// Tells the server that these messages have been read.
    fn mark_read(&mut self, _ids: &[u64], _out: &mut Vec<u8>) {}

    /// Says goodbye, before the WebSocket does.
    fn farewell(&mut self, _out: &mut Vec<u8>) {}
}

/// A connection over which a user speaks.
#[derive(Debug)]
pub struct Link {
    wire: Wire,
    speech: Box<dyn Speech>,
}

impl Link {
    /// Puts a connection and its speech together.
    pub fn new(wire: Wire, speech: impl Speech + 'static) -> Self {
        Self { wire, speech: Box::new(speech) }
    }

    /// As [`Speech::address`].
    pub fn address(&mut self, recipient: u64, content: &Content) {
        self.speech.address(recipient, content);
    }

    /// Has these messages sent by the next [`exchange`](Self::exchange).
    pub fn say(&mut self, sequences: impl IntoIterator<Item = u64>) {
        let mut any = false;
        for sequence in sequences {
            self.speech.say(sequence, self.wire.out());
            any = true;
        }
        if any {
            self.speech.said(self.wire.out());
        }
    }

    /// As [`Wire::exchange`].
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn exchange(&mut self) -> io::Result<()> {
        self.wire.exchange().await
    }

    /// Takes all that is already here.
    ///
    /// # Errors
    /// As [`Speech::hear`].
    pub fn hear(&mut self, mut heard: impl FnMut(Incoming<'_>)) -> Result<()> {
        // What came together with the greeting.
        self.speech.hear(&[], self.wire.out(), &mut heard)?;
        while let Some((payload, out)) = self.wire.next_payload()? {
            self.speech.hear(payload, out, &mut heard)?;
        }
        Ok(())
    }

    /// As [`Speech::mark_read`].
    pub fn mark_read(&mut self, ids: &[u64]) {
        self.speech.mark_read(ids, self.wire.out());
    }

    /// As [`Wire::close`].
    pub async fn close(mut self) {
        self.speech.farewell(self.wire.out());
        self.wire.close().await;
    }
}

/// Waits for the next frame of a greeting.
async fn answer(wire: &mut Wire) -> Result<Vec<u8>> {
    loop {
        if let Some((payload, _)) = wire.next_payload()? {
            return Ok(payload.to_vec());
        }
        wire.exchange().await.context("no answer to the greeting")?;
    }
}
