//! What the client sends: checked against its limits, then on its way to the store.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::debug;

use super::answers::{Name, Owed, Packet, Place};
use super::{Ended, Received, Session, Socket, claims};
use crate::protocol::close::Close;
use crate::protocol::failure::{Failure, FailureCode};
use crate::protocol::frame::{self, ClientFrame};
use crate::store::{AppendError, Draft, ResendKey, Seen};

impl<S: Socket> Session<S> {
    pub(super) fn receive(&mut self, received: Received<S::Text>) -> Result<(), Ended> {
        match received {
            Received::Text(text) => self.take(&text),
            Received::Ping if self.rates.allow_control() => Ok(()),
            Received::Ping => Err(Ended::Close(Close::TooManyViolations)),
            Received::Pong => {
                self.heartbeat.pong(Instant::now(), &self.limits);
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
        if self.ends.has_come(now) {
            return Err(Ended::Close(Close::TokenExpired));
        }
        if self.watch.is_due() {
            self.look_at_tokens()?;
        }
        let rules = frame::Rules {
            sender: self.user,
            content_max: self.limits.content_bytes,
            dialect: self.dialect,
        };
        let mut parsed = frame::parse(text, rules);
        if !self.rates.allow_frame() {
            if let Ok(ClientFrame::Typing { .. }) = parsed {
                // Dropped: it is never answered.
                return Ok(());
            }
            parsed = Err(too_fast(parsed));
        }
        let owed = match parsed {
            Ok(ClientFrame::Send(send)) => Ok(self.append(send, now)),
            Ok(ClientFrame::MarkRead { ids, .. }) if ids.is_empty() => return Ok(()),
            Ok(ClientFrame::MarkRead { timestamp, ids }) => Ok(Owed::MarkRead {
                receipt: self.context.store.mark_read(
                    self.user,
                    Seen::Ids(ids),
                    Some(self.inbox.connection()),
                ),
                timestamp: timestamp.into_owned(),
            }),
            Ok(ClientFrame::Typing { to, .. }) => {
                if to != self.user && self.typing.allow(to, now) {
                    self.inbox.typing(to);
                    self.context.store.typing(self.user, to);
                }
                return Ok(());
            }
            Ok(ClientFrame::Refresh { timestamp, token }) => self.refresh(&token, &timestamp),
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
        let (name, resend) = match &send.client_id {
            Some(id) => {
                let again = send.resend;
                (Name::Client(id.clone()), ResendKey::Client { id: id.clone(), again })
            }
            None => {
                let turn = self.turns.turn(self.user, &send, now);
                (Name::Turn(turn), ResendKey::Packet(turn.digest()))
            }
        };
        let timestamp = send.timestamp.into_owned();
        let draft = Draft {
            from: self.user.into(),
            to: send.to,
            timestamp: timestamp.clone(),
            content: send.content.into_owned(),
            resend,
            origin: Some(self.inbox.connection()),
        };
        let store = Arc::clone(&self.context.store);
        let place = Place::of(async move { store.append(draft).await }.boxed());
        Owed::Append { place, packet: Packet { timestamp, name, came: now }, note }
    }

    /// Believes another token of the same user, or fails and leaves the old end.
    fn refresh(&self, token: &str, timestamp: &str) -> Result<Owed, Failure> {
        let verified = self.context.verifier.verify(token, SystemTime::now());
        let identity = verified
            .inspect_err(|refused| debug!(reason = refused.reason(), "refresh refused"))
            .ok()
            .filter(|identity| {
                identity.user() == self.user && self.tokens.has_room(&identity.token())
            });
        let timestamp = timestamp.to_owned();
        let Some(identity) = identity else {
            let code = FailureCode::BadToken;
            return Err(Failure {
                code,
                message: explain(code).into(),
                timestamp,
                client_id: None,
            });
        };
        let receipt = self.context.store.set_profile(self.user, claims::profile(&identity));
        let (ends, token) = (claims::End::of(&identity), identity.token());
        Ok(Owed::Refresh { receipt, timestamp, ends, token })
    }
}

/// The failure of a frame that came too soon, whatever else is wrong with it.
fn too_fast(parsed: Result<ClientFrame<'_>, Failure>) -> Failure {
    let (timestamp, client_id) = match parsed {
        Ok(ClientFrame::Send(send)) => (send.timestamp.into_owned(), send.client_id),
        Ok(frame) => (frame.timestamp().to_owned(), None),
        Err(failure) => (failure.timestamp, failure.client_id),
    };
    let code = FailureCode::RateLimited;
    Failure { code, message: explain(code).into(), timestamp, client_id }
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
pub(crate) fn explain(code: FailureCode) -> &'static str {
    match code {
        FailureCode::RateLimited => "too much at once; send more slowly",
        FailureCode::InboxFull => "the recipient has too many unread messages",
        FailureCode::IdReused => "the clientMsgId was used for another message",
        FailureCode::BadToken => "the token is not valid for this user",
        FailureCode::StoreUnavailable => "nothing can be stored now; send the same again",
        _ => "the frame is not valid",
    }
}
