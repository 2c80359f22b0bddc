//! What a connection still owes its client, in the order in which it was asked.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::claims::End;
use super::turns::Turn;
use crate::auth::TokenRef;
use crate::ids::MessageId;
use crate::message::ClientMsgId;
use crate::protocol::failure::FailureCode;
use crate::store::{AppendError, Appended, Receipt};

/// Requests that one connection may have under way.
///
/// Enough to fill a commit from a single busy sender. Past it we stop reading
/// that socket, so the wait is felt where the load comes from.
const MAX: usize = 32;

/// Places in the line that an idle connection keeps.
const KEPT: usize = 4;

/// How long an answer may take: the document's client gives up after 6 seconds,
/// and must be told before it does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A question that is not answered yet.
pub(super) enum Owed {
    /// The answer is there and waits for those before it.
    Frame(Bytes),
    /// A message on its way to the disk.
    Append {
        place: Place,
        packet: Packet,
        /// A note to oneself.
        note: bool,
    },
    /// Read flags on their way to the disk.
    MarkRead { receipt: Receipt<()>, timestamp: String },
    /// A new token was believed; what it says of the user is on its way to the disk.
    Refresh { receipt: Receipt<()>, timestamp: String, ends: End, token: TokenRef },
}

/// What an answer says of the message that it is about.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) timestamp: String,
    pub(super) name: Name,
    /// When it came.
    pub(super) came: Instant,
}

/// By what a later try of a packet is known.
#[derive(Debug)]
pub(super) enum Name {
    /// The client's own name for it.
    Client(ClientMsgId),
    /// Its turn among equal ones.
    Turn(Turn),
}

/// How far a message has come.
pub(super) enum Place {
    /// It waits for room in the store's line. Only the newest one does: while it
    /// waits no more are read.
    Outside(Entering),
    /// It is in the line.
    InLine(Receipt<Appended>),
}

/// Getting into the store's line.
pub(super) type Entering = BoxFuture<'static, Result<Receipt<Appended>, AppendError>>;

impl Place {
    /// Puts a message in line at once where there is room.
    pub(super) fn of(mut entering: Entering) -> Self {
        match (&mut entering).now_or_never() {
            None => Self::Outside(entering),
            Some(entered) => Self::entered(entered),
        }
    }

    fn entered(entered: Result<Receipt<Appended>, AppendError>) -> Self {
        Self::InLine(entered.unwrap_or_else(|error| std::future::ready(Err(error)).boxed()))
    }

    /// Steps into the line once there is room; the receipt then.
    fn poll_enter(&mut self, context: &mut Context<'_>) -> Poll<&mut Receipt<Appended>> {
        if let Self::Outside(entering) = self {
            *self = Self::entered(ready!(entering.poll_unpin(context)));
        }
        match self {
            Self::InLine(receipt) => Poll::Ready(receipt),
            Self::Outside(_) => Poll::Pending,
        }
    }
}

/// An answer whose turn it is.
#[derive(Debug)]
pub(super) enum Answer {
    /// Send this.
    Frame(Bytes),
    /// A message is stored.
    Stored {
        packet: Packet,
        id: MessageId,
        /// It is a note to oneself, and new.
        note: bool,
    },
    /// The connection now lives as long as its new token.
    Refreshed { timestamp: String, ends: End, token: TokenRef },
    /// Nothing is said of success.
    Silent,
    /// It came to nothing, or perhaps not.
    Failed { code: FailureCode, timestamp: String, name: Option<Name> },
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("owed", &self.line.len()).finish_non_exhaustive()
    }
}

/// The line of owed answers; only the first is waited for.
#[derive(Default)]
pub(super) struct Answers {
    line: VecDeque<(Owed, Instant)>,
    notes: usize,
    /// The last message that waited for room did so in vain.
    stalled: bool,
}

impl Answers {
    pub(super) fn has_room(&self) -> bool {
        self.line.len() < MAX && !self.is_outside()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether a note to oneself is under way, whose id is not known yet.
    pub(super) fn notes_under_way(&self) -> bool {
        self.notes > 0
    }

    fn is_outside(&self) -> bool {
        let newest = self.line.back().map(|(owed, _)| owed);
        matches!(newest, Some(owed) if owed.is_outside())
    }

    pub(super) fn push(&mut self, owed: Owed) {
        self.notes += usize::from(matches!(owed, Owed::Append { note: true, .. }));
        // What came in behind a message that waited in vain has waited as long.
        self.stalled &= owed.is_outside();
        let patience = if self.stalled { Duration::ZERO } else { PATIENCE };
        self.line.push_back((owed, Instant::now() + patience));
    }

    /// When the first answer is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.line.front().map(|(_, deadline)| *deadline)
    }

    /// Waits for the first answer; for ever when none is owed. Cancel safe.
    pub(super) async fn next(&mut self) -> Answer {
        poll_fn(|context| {
            if let Some((Owed::Append { place, .. }, _)) = self.line.back_mut() {
                let _ = place.poll_enter(context);
            }
            let Some((first, _)) = self.line.front_mut() else {
                return Poll::Pending;
            };
            let outcome = ready!(first.poll_outcome(context));
            match self.pop() {
                Some(owed) => Poll::Ready(owed.answer(outcome)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Gives up on the first answer if it is overdue: perhaps done, perhaps not.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Answer> {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return None;
        }
        let owed = self.pop()?;
        self.stalled |= owed.is_outside();
        Some(owed.answer(Err(AppendError::Unavailable)))
    }

    /// Sees through what a client wanted that is gone. A message in line is stored
    /// without anybody waiting for it; read flags, and a message outside, are not.
    pub(super) async fn see_through(&mut self) {
        for (owed, deadline) in std::mem::take(&mut self.line) {
            // Nobody is left to be told what came of it.
            match owed {
                Owed::MarkRead { receipt, .. } => drop(timeout_at(deadline, receipt).await),
                Owed::Append { place: Place::Outside(entering), .. } => {
                    drop(timeout_at(deadline, entering).await)
                }
                Owed::Append { .. } | Owed::Frame(_) | Owed::Refresh { .. } => {}
            }
        }
    }

    fn pop(&mut self) -> Option<Owed> {
        let (owed, _) = self.line.pop_front()?;
        self.notes -= usize::from(matches!(owed, Owed::Append { note: true, .. }));
        if self.line.is_empty() && self.line.capacity() > KEPT {
            // An idle connection keeps next to nothing.
            self.line = VecDeque::new();
        }
        Some(owed)
    }
}

impl Owed {
    fn is_outside(&self) -> bool {
        matches!(self, Self::Append { place: Place::Outside(_), .. })
    }

    /// What it came to; what was appended, where it is a message.
    fn poll_outcome(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Appended>, AppendError>> {
        match self {
            Self::Frame(_) => Poll::Ready(Ok(None)),
            Self::Append { place, .. } => {
                let receipt = ready!(place.poll_enter(context));
                receipt.poll_unpin(context).map_ok(Some)
            }
            Self::MarkRead { receipt, .. } | Self::Refresh { receipt, .. } => {
                receipt.poll_unpin(context).map_ok(|()| None)
            }
        }
    }

    /// The answer to it.
    fn answer(self, outcome: Result<Option<Appended>, AppendError>) -> Answer {
        match (self, outcome) {
            (Self::Frame(frame), _) => Answer::Frame(frame),
            (Self::Append { packet, note, .. }, Ok(Some(appended))) => {
                let Appended { id, duplicate } = appended;
                Answer::Stored { packet, id, note: note && !duplicate }
            }
            (Self::Refresh { timestamp, ends, token, .. }, Ok(_)) => {
                Answer::Refreshed { timestamp, ends, token }
            }
            (Self::MarkRead { .. } | Self::Append { .. }, Ok(_)) => Answer::Silent,
            (Self::Append { packet, .. }, Err(error)) => {
                let Packet { timestamp, name, .. } = packet;
                Answer::Failed { code: error.into(), timestamp, name: Some(name) }
            }
            (Self::MarkRead { timestamp, .. } | Self::Refresh { timestamp, .. }, Err(error)) => {
                Answer::Failed { code: error.into(), timestamp, name: None }
            }
        }
    }
}
