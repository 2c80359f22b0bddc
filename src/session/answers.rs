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

use super::limits::Turn;
use crate::ids::MessageId;
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
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A question that is not answered yet.
pub(super) enum Owed {
    /// The answer is there and waits for those before it.
    Frame(Bytes),
    /// A message on its way to the disk.
    Append {
        place: Place,
        timestamp: String,
        /// A note to oneself.
        note: bool,
        turn: Turn,
    },
    /// Read flags on their way to the disk.
    MarkRead { receipt: Receipt<()>, timestamp: String },
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
    /// A message is stored; the id where it is a new note to oneself.
    Stored { timestamp: String, note: Option<MessageId> },
    /// Nothing is said of success.
    Silent,
    /// It came to nothing, or perhaps not; the turn of a message.
    Failed { code: FailureCode, timestamp: String, turn: Option<Turn> },
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
            let answer = match first {
                Owed::Frame(frame) => Answer::Frame(std::mem::take(frame)),
                Owed::Append { place, timestamp, note, turn } => {
                    match ready!(ready!(place.poll_enter(context)).poll_unpin(context)) {
                        Ok(appended) => Answer::Stored {
                            timestamp: std::mem::take(timestamp),
                            note: note.then_some(appended.id).filter(|_| !appended.duplicate),
                        },
                        Err(error) => failed(error, timestamp, Some(*turn)),
                    }
                }
                Owed::MarkRead { receipt, timestamp } => {
                    match ready!(receipt.poll_unpin(context)) {
                        Ok(()) => Answer::Silent,
                        Err(error) => failed(error, timestamp, None),
                    }
                }
            };
            self.pop();
            Poll::Ready(answer)
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
        let code = FailureCode::StoreUnavailable;
        Some(match owed {
            Owed::Frame(frame) => Answer::Frame(frame),
            Owed::Append { timestamp, turn, .. } => {
                Answer::Failed { code, timestamp, turn: Some(turn) }
            }
            Owed::MarkRead { timestamp, .. } => Answer::Failed { code, timestamp, turn: None },
        })
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
                Owed::Append { .. } | Owed::Frame(_) => {}
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
}

fn failed(error: AppendError, timestamp: &mut String, turn: Option<Turn>) -> Answer {
    Answer::Failed { code: error.into(), timestamp: std::mem::take(timestamp), turn }
}
