//! One connection after its token was verified: a cursor into the user's inbox,
//! a wake-up, and the answers it owes.
//!
//! Replay and live delivery are the same loop, so they cannot race: what the
//! connection has not taken stays in the store, behind the cursor. The session
//! never touches a TCP stream; it speaks to a [`Socket`].

mod answers;
mod apart;
pub(crate) mod claims;
mod delivery;
mod ending;
mod heartbeat;
mod inbound;
mod limits;
mod replies;
mod retry;
mod socket;
mod tokens;
mod turns;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::answers::Answers;
pub(crate) use self::answers::PATIENCE;
use self::apart::Apart;
use self::claims::End;
use self::delivery::Inbox;
pub use self::ending::Ended;
use self::heartbeat::{Beat, Heartbeat};
pub(crate) use self::inbound::explain;
use self::limits::{Rates, Typing, Violations};
pub use self::retry::Retry;
pub use self::socket::{Gone, Received, Socket};
use self::tokens::Tokens;
use self::turns::Turns;
use crate::auth::{Identity, Verifier, Watch};
use crate::config;
use crate::hub::Subscription;
use crate::ids::UserId;
use crate::metrics::SessionMetrics;
use crate::protocol::Dialect;
use crate::protocol::close::Close;
use crate::store::{ClaimedProfile, Cursor, Store};

/// What a session needs beside its socket.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where messages are.
    pub store: Arc<dyn Store>,
    /// Who believes a token that refreshes another.
    pub verifier: Verifier,
    /// What is counted.
    pub metrics: SessionMetrics,
    /// Cancelled when the server stops.
    pub shutdown: CancellationToken,
    /// Over how long those are spread who are sent away.
    pub retry: Retry,
    /// How long an equal packet is a resend.
    pub resend_window: Duration,
}

/// What came of a handshake.
#[derive(Debug)]
pub struct Opening {
    /// Who it is.
    pub identity: Identity,
    /// Their place in the hub.
    pub subscription: Subscription,
    /// What is spoken.
    pub dialect: Dialect,
    /// Up to where the client has everything, read and unread; without it, the unread
    /// messages are replayed.
    pub after: Option<Cursor>,
    /// What the client may ask, to the end of the connection.
    pub limits: Arc<config::Limits>,
}

/// A connection in conversation. Can only be made from an identity.
#[derive(Debug)]
pub struct Session<S> {
    user: UserId,
    dialect: Dialect,
    /// What the token says of the user, until the store knows it.
    claimed: Option<Box<ClaimedProfile>>,
    /// When the token ends.
    ends: End,
    tokens: Arc<Tokens>,
    /// Tells before each frame whether the tokens must be looked at first.
    watch: Watch,
    socket: S,
    inbox: Inbox,
    answers: Answers,
    limits: Arc<config::Limits>,
    rates: Rates,
    violations: Violations,
    turns: Turns,
    typing: Typing,
    heartbeat: Heartbeat,
    context: Arc<Context>,
}

/// What a connection goes on with.
///
/// The future that an idle connection waits in has room for the longest way on from there. So
/// the rare ways are boxed, and whatever happens becomes one of these before it is dealt with.
enum Step {
    Stopping,
    Alarm,
    /// A question is answered, where anything is said of it.
    Answered(Option<Bytes>),
    News,
    /// A frame was taken in.
    Taken,
}

impl<S: Socket> Session<S> {
    /// Makes the session of the identity that came in on `socket`.
    pub fn new(opening: Opening, socket: S, context: Arc<Context>) -> Self {
        let Opening { identity, subscription, dialect, after, limits } = opening;
        let tokens = Arc::new(Tokens::new(subscription.token(), context.verifier.clone()));
        Self {
            user: identity.user(),
            dialect,
            claimed: Some(Box::new(claims::profile(&identity))),
            ends: End::of(&identity),
            watch: tokens.watch(),
            tokens,
            socket,
            inbox: Inbox::new(identity.user(), subscription, dialect, after),
            answers: Answers::default(),
            rates: Rates::new(&limits),
            violations: Violations::new(limits.violations),
            turns: Turns::new(limits.resend_after, context.resend_window),
            typing: Typing::default(),
            heartbeat: Heartbeat::new(&limits),
            limits,
            context,
        }
    }

    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Serves the connection to its end. Gives the socket back, to be closed.
    ///
    /// Boxed, because a future keeps what is moved into it and has a second place for where it
    /// moves it to: an idle connection would hold its session twice.
    pub async fn run(mut self: Box<Self>) -> (S, Ended) {
        // A fault of ours, wherever below, ends this connection and nothing else; the log has
        // its place, and what is owed may be half done.
        let conversation = AssertUnwindSafe(self.converse_until_the_end());
        let Ok(ended) = conversation.catch_unwind().await else {
            return (self.socket, Ended::Close(Close::Internal));
        };
        Box::pin(self.answers.see_through()).await;
        (self.socket, ended)
    }

    async fn converse_until_the_end(&mut self) -> Ended {
        let tokens = Arc::clone(&self.tokens);
        let taken_back = std::pin::pin!(tokens.taken_back());
        tokio::select! {
            // Whatever else is going on, be it a write that waits for a slow reader.
            biased;
            // Apart, so that a frame costs none of the locks that waiting for news of all
            // tokens takes.
            () = Apart::new(taken_back) => Ended::Close(Close::TokenRevoked),
            ended = self.converse() => match ended {
                Ok(never) => match never {},
                Err(ended) => ended,
            },
        }
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, Ended> {
        Box::pin(self.introduce()).await?;
        // For the same reason: all connections wait for this behind one lock.
        let stopping = std::pin::pin!(self.context.shutdown.clone().cancelled_owned());
        let mut stopping = Apart::new(stopping);
        let mut alarm = std::pin::pin!(sleep_until(self.next_alarm()));
        loop {
            match self.step(&mut stopping, alarm.as_mut()).await? {
                Step::Stopping => return Err(Box::pin(self.drain()).await),
                Step::Alarm => Box::pin(self.on_alarm()).await?,
                Step::Answered(None) | Step::Taken => {}
                Step::Answered(Some(frame)) => self.say(frame).await?,
                Step::News => self.deliver().await?,
            }
            self.take_what_is_ready().await?;
            let waited = self.ends.before(self.socket.flush()).await?;
            self.took(waited);
            self.set(alarm.as_mut());
        }
    }

    /// Waits for the next event.
    async fn step(
        &mut self,
        stopping: impl Future<Output = ()> + Unpin,
        alarm: std::pin::Pin<&mut Sleep>,
    ) -> Result<Step, Ended> {
        let notes_under_way = self.answers.notes_under_way();
        Ok(tokio::select! {
            // Ends come first: a token that is over sends nothing any more. Answers
            // come before news, so that the id of an own note is known in time.
            biased;
            () = stopping => Step::Stopping,
            () = alarm => Step::Alarm,
            answer = self.answers.next() => Step::Answered(self.answered(answer)?),
            () = self.inbox.ready(notes_under_way) => Step::News,
            received = self.socket.receive(), if self.answers.has_room() => {
                self.receive(received)?;
                Step::Taken
            }
        })
    }

    /// Lets the store know the name and picture that the token brought.
    async fn introduce(&mut self) -> Result<(), Ended> {
        let claimed = self.claimed.take().unwrap_or_default();
        let remembered = self.context.store.set_profile(self.user, *claimed);
        match tokio::time::timeout(answers::PATIENCE, remembered).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.try_later()),
        }
    }

    /// After one event, whatever else is there already, so that one write carries it all.
    async fn take_what_is_ready(&mut self) -> Result<(), Ended> {
        for _ in 0..READY_MAX {
            let Some(frame) = self.what_is_ready() else { break };
            if let Some(frame) = frame? {
                self.say(frame).await?;
            }
        }
        if self.inbox.ready(self.answers.notes_under_way()).now_or_never().is_some() {
            self.deliver().await?;
        }
        Ok(())
    }

    /// Takes an answer that is there, or a frame, and gives what is said of it, if anything.
    fn what_is_ready(&mut self) -> Option<Result<Option<Bytes>, Ended>> {
        if let Some(answer) = self.answers.next().now_or_never() {
            return Some(self.answered(answer));
        }
        if !self.answers.has_room() {
            return None;
        }
        let received = self.socket.receive().now_or_never()?;
        Some(self.receive(received).map(|()| None))
    }

    async fn deliver(&mut self) -> Result<(), Ended> {
        if self.inbox.is_sent_away() {
            return Err(Box::pin(self.drain()).await);
        }
        let frames = match self.inbox.in_hand() {
            Some(frames) => frames,
            None => Box::pin(self.read()).await?,
        };
        self.context.metrics.delivered.inc_by(frames.len() as u64);
        for frame in frames {
            self.say(frame).await?;
        }
        Ok(())
    }

    /// Hands the client a frame, when there is room for it.
    async fn say(&mut self, frame: Bytes) -> Result<(), Ended> {
        let waited = self.ends.before(self.socket.send(frame)).await?;
        self.took(waited);
        Ok(())
    }

    /// The client took something, perhaps after a while.
    fn took(&mut self, waited: bool) {
        if waited {
            self.heartbeat.took(Instant::now(), &self.limits);
        }
    }

    /// The frames that come next in the log.
    async fn read(&mut self) -> Result<Vec<Bytes>, Ended> {
        let reading = self.inbox.next(&*self.context.store);
        // Nothing else happens meanwhile: neither the token's end nor the server's.
        match tokio::time::timeout(answers::PATIENCE, reading).await {
            Ok(Ok(frames)) => Ok(frames),
            Ok(Err(_)) | Err(_) => Err(self.try_later()),
        }
    }

    /// Whatever has come due by the clock.
    async fn on_alarm(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.ends.has_come(now) {
            return Err(Ended::Close(Close::TokenExpired));
        }
        match self.heartbeat.due(now, &self.limits) {
            Beat::Wait => {}
            Beat::Ping => {
                self.ends.before(self.socket.ping()).await?;
            }
            Beat::Dead => return Err(Ended::Close(Close::NoPong)),
        }
        while let Some(answer) = self.answers.overdue(now) {
            self.answer(answer).await?;
        }
        self.turns.forget(now);
        Ok(())
    }

    fn next_alarm(&self) -> Instant {
        let next = self.ends.alarm().min(self.heartbeat.next);
        self.answers.deadline().map_or(next, |deadline| next.min(deadline))
    }

    /// Sets the alarm, leaving it alone where it rings early enough: setting it costs
    /// more than one ring in vain every few seconds.
    fn set(&self, alarm: std::pin::Pin<&mut Sleep>) {
        let next = self.next_alarm();
        if alarm.deadline() > next || alarm.is_elapsed() {
            alarm.reset(next);
        }
    }
}

/// Events that share one write at the most, so that a busy socket starves nothing.
const READY_MAX: usize = 64;

#[cfg(test)]
mod tests;
