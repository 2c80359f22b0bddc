//! What the client is told of what it asked.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::answers::{Answer, Name, Packet};
use super::{Ended, Session, Socket, inbound};
use crate::ids::MessageId;
use crate::protocol::close::Close;
use crate::protocol::failure::Failure;
use crate::protocol::{Dialect, reply};

impl<S: Socket> Session<S> {
    /// Says what is to be said of an answered question.
    pub(super) async fn answer(&mut self, answer: Answer) -> Result<(), Ended> {
        match self.answered(answer)? {
            Some(frame) => self.say(frame).await,
            None => Ok(()),
        }
    }

    /// What is said of an answered question, if anything.
    pub(super) fn answered(&mut self, answer: Answer) -> Result<Option<Bytes>, Ended> {
        let frame = match answer {
            Answer::Frame(frame) => frame,
            Answer::Silent => return Ok(None),
            Answer::Stored { packet, id, note } => {
                if note {
                    self.inbox.own(id);
                }
                self.context.metrics.acknowledged(packet.came.elapsed());
                self.success(&packet, id)
            }
            Answer::Refreshed { timestamp, ends, token } => {
                self.ends = ends;
                let token = Arc::new(token);
                self.tokens.add(Arc::clone(&token));
                self.inbox.refreshed(token);
                // It may have been taken back before it was one of ours.
                self.look_at_tokens()?;
                reply::success(self.user, &timestamp).into()
            }
            Answer::Failed { code, timestamp, name } => {
                let client_id = match name {
                    Some(Name::Client(id)) => Some(id),
                    Some(Name::Turn(turn)) => {
                        self.turns.give_back(turn);
                        None
                    }
                    None => None,
                };
                let message = inbound::explain(code).into();
                self.failure(&Failure { code, message, timestamp, client_id })?
            }
        };
        Ok(Some(frame))
    }

    /// The frame that tells the sender of a message that it is stored.
    fn success(&self, packet: &Packet, id: MessageId) -> Bytes {
        let Packet { timestamp, name, .. } = packet;
        let client_id = match name {
            Name::Client(id) => Some(id),
            Name::Turn(_) => None,
        };
        match self.dialect {
            Dialect::Document => reply::success(self.user, timestamp).into(),
            Dialect::V2 => reply::stored(self.user, timestamp, id, client_id).into(),
        }
    }

    /// The frame of a failure, counted; or the end, when it is one too many.
    pub(super) fn failure(&mut self, failure: &Failure) -> Result<Bytes, Ended> {
        debug!(code = failure.code.as_str(), "frame failed");
        self.context.metrics.failure(failure.code.as_str());
        if failure.code.is_clients_fault() && !self.violations.count(Instant::now()) {
            return Err(Ended::Close(Close::TooManyViolations));
        }
        Ok(reply::failure(self.user, failure).into())
    }
}
