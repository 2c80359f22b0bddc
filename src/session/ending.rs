//! Why a session ends, and what it does before.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Gone, Session, Socket};
use crate::protocol::close::Close;

/// Nobody needs to come back sooner: a restart takes about as long.
const RETRY_MIN: Duration = Duration::from_millis(500);

/// Why a session ended: what to tell the client, or nothing when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server closes.
    Close(Close),
    /// The client is gone.
    Gone,
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl<S: Socket> Session<S> {
    /// Ends the session when one of its tokens was taken back.
    pub(super) fn look_at_tokens(&mut self) -> Result<(), Ended> {
        self.watch.looked();
        match self.tokens.stand() {
            true => Ok(()),
            false => Err(Ended::Close(Close::TokenRevoked)),
        }
    }

    /// Answers what is under way, then sends the client elsewhere.
    pub(super) async fn drain(&mut self) -> Ended {
        while !self.answers.is_empty() {
            let deadline = self.answers.deadline().unwrap_or_else(Instant::now);
            let answer = match timeout_at(deadline, self.answers.next()).await {
                Ok(answer) => answer,
                Err(_) => match self.answers.overdue(Instant::now()) {
                    Some(answer) => answer,
                    None => continue,
                },
            };
            if let Err(ended) = self.answer(answer).await {
                return ended;
            }
        }
        if let Err(ended) = self.ends.before(self.socket.flush()).await {
            return ended;
        }
        let together = self.context.retry.together(self.inbox.connections());
        Ended::Close(Close::Drain { retry: self.spread(together) })
    }

    /// Sends the client away for a while: something of ours did not come in time.
    pub(super) fn try_later(&self) -> Ended {
        Ended::Close(Close::TryLater { retry: self.spread(self.inbox.connections()) })
    }

    /// A moment within the spread, another for every client.
    fn spread(&self, connections: usize) -> Duration {
        RETRY_MIN + self.context.retry.spread(connections).mul_f64(fastrand::f64())
    }
}
