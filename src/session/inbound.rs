//! What the client sends: checked against its limits, then on its way to the store.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::answers::{Owed, Place};
use super::{Ended, Received, Session, Socket};
use crate::protocol::close::Close;
use crate::protocol::failure::{Failure, FailureCode};
use crate::protocol::frame::{self, ClientFrame};
use crate::store::{AppendError, Draft, ResendKey};

impl<S: Socket> Session<S> {
    pub(super) fn receive(&mut self, received: Received<S::Text>) -> Result<(), Ended> {
        match received {
            Received::Text(text) => self.take(&text),
            Received::Ping if self.rates.allow_control() => Ok(()),
            Received::Ping => Err(Ended::Close(Close::TooManyViolations)),
            Received::Pong => {
                self.heartbeat.pong(Instant::now());
                if self.rates.allow_control() {
                    Ok(())
                } else {
                    Err(Ended::Close(Close::TooManyViolations))
                }
            }
            Received::Fault(close) => Err(Ended::Close(close)),
            Received::Gone => Err(Ended::Gone),
        }
    }

    fn take(&mut self, text: &str) -> Result<(), Ended> {
        let now = Instant::now();
        if now >= self.ends {
            return Err(Ended::Close(Close::TokenExpired));
        }
        let mut parsed = frame::parse(text, self.user, self.context.limits.content_bytes);
        if !self.rates.allow_frame() {
            let timestamp = match parsed {
                Ok(frame) => frame.timestamp().to_owned(),
                Err(failure) => failure.timestamp,
            };
            let code = FailureCode::RateLimited;
            parsed = Err(Failure { code, message: explain(code).into(), timestamp });
        }
        let owed = match parsed {
            Ok(ClientFrame::Send(send)) => Ok(self.append(send, now)),
            Ok(ClientFrame::MarkRead { timestamp, ids }) if ids.is_empty() => {
                drop(timestamp);
                return Ok(());
            }
            Ok(ClientFrame::MarkRead { timestamp, ids }) => Ok(Owed::MarkRead {
                receipt: self.context.store.mark_read(self.user, ids),
                timestamp: timestamp.into_owned(),
            }),
            Err(failure) => Err(failure),
        };
        let owed = match owed {
            Ok(owed) => owed,
            Err(failure) => Owed::Frame(self.failure(&failure)?),
        };
        self.answers.push(owed);
        Ok(())
    }

    /// Puts a message in line; the outcome is owed, and so is the wait for room.
    fn append(&mut self, send: frame::Send<'_>, now: Instant) -> Owed {
        let note = send.to == self.user;
        let turn = self.turns.turn(self.user, &send, now);
        let timestamp = send.timestamp.into_owned();
        let draft = Draft {
            from: self.user.into(),
            to: send.to,
            timestamp: timestamp.clone(),
            content: send.content.into_owned(),
            resend: ResendKey::Packet(turn.digest()),
        };
        let store = Arc::clone(&self.context.store);
        let place = Place::of(async move { store.append(draft).await }.boxed());
        Owed::Append { place, timestamp, note, turn }
    }
}

impl From<AppendError> for FailureCode {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::InboxFull => Self::InboxFull,
            AppendError::IdReused => Self::IdReused,
            AppendError::Unavailable => Self::StoreUnavailable,
        }
    }
}

/// What a failure that lies not in the frame itself means to people.
pub(super) fn explain(code: FailureCode) -> &'static str {
    match code {
        FailureCode::RateLimited => "too many frames; send more slowly",
        FailureCode::InboxFull => "the recipient has too many unread messages",
        FailureCode::IdReused => "the clientMsgId was used for another message",
        FailureCode::StoreUnavailable => "nothing can be stored now; send the same packet again",
        _ => "the frame is not valid",
    }
}
