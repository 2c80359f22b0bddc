//! What a connection still owes its client, in the order in which it was asked.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;

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
        receipt: Receipt<Appended>,
        timestamp: String,
        /// A note to oneself.
        note: bool,
    },
    /// Read flags on their way to the disk.
    MarkRead {
        receipt: Receipt<()>,
        timestamp: String,
    },
}

/// An answer whose turn it is.
#[derive(Debug)]
pub(super) enum Answer {
    /// Send this.
    Frame(Bytes),
    /// A message is stored; the id where it is a new note to oneself.
    Stored {
        timestamp: String,
        note: Option<MessageId>,
    },
    /// Nothing is said of success.
    Silent,
    /// It came to nothing.
    Failed {
        code: FailureCode,
        timestamp: String,
    },
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("owed", &self.line.len())
            .finish_non_exhaustive()
    }
}

/// The line of owed answers; only the first is waited for.
#[derive(Default)]
pub(super) struct Answers {
    line: VecDeque<(Owed, Instant)>,
    notes: usize,
}

impl Answers {
    pub(super) fn has_room(&self) -> bool {
        self.line.len() < MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether a note to oneself is under way, whose id is not known yet.
    pub(super) fn notes_under_way(&self) -> bool {
        self.notes > 0
    }

    pub(super) fn push(&mut self, owed: Owed) {
        self.notes += usize::from(matches!(owed, Owed::Append { note: true, .. }));
        self.line.push_back((owed, Instant::now() + PATIENCE));
    }

    /// When the first answer is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.line.front().map(|(_, deadline)| *deadline)
    }

    /// Waits for the first answer; for ever when none is owed. Cancel safe.
    pub(super) async fn next(&mut self) -> Answer {
        poll_fn(|context| {
            let Some((first, _)) = self.line.front_mut() else {
                return Poll::Pending;
            };
            let answer = match first {
                Owed::Frame(frame) => Answer::Frame(std::mem::take(frame)),
                Owed::Append {
                    receipt,
                    timestamp,
                    note,
                } => match receipt.poll_unpin(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(appended)) => Answer::Stored {
                        timestamp: std::mem::take(timestamp),
                        note: note.then_some(appended.id).filter(|_| !appended.duplicate),
                    },
                    Poll::Ready(Err(error)) => failed(error, timestamp),
                },
                Owed::MarkRead { receipt, timestamp } => match receipt.poll_unpin(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => Answer::Silent,
                    Poll::Ready(Err(error)) => failed(error, timestamp),
                },
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
        Some(match self.pop()? {
            Owed::Frame(frame) => Answer::Frame(frame),
            Owed::Append { timestamp, .. } | Owed::MarkRead { timestamp, .. } => Answer::Failed {
                code: FailureCode::StoreUnavailable,
                timestamp,
            },
        })
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

fn failed(error: AppendError, timestamp: &mut String) -> Answer {
    Answer::Failed {
        code: error.into(),
        timestamp: std::mem::take(timestamp),
    }
}
