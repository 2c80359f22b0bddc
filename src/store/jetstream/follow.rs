//! The tail: what every stream takes in, heard as it happens, told in the order of the
//! streams.
//!
//! What is heard live is a hint that the network may lose. The sequences of a stream have
//! no gaps: one that is not the next shows that something is missing, and what does not come
//! soon is read (`catch_up.rs`). What is told of it says `telling.rs`.
//!
//! The revocations are followed apart from everything else: what is taken back is in force
//! within a second, whatever has to be waited for meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::followed::{Followed, Kind, Share, followed};
use super::look::{LOOK, LOOK_FOR_REVOCATIONS, Seen, look_at};
use super::news;
use super::raw::Raw;
use super::shared::Shared;
use super::telling::Telling;
use crate::store::{Announcement, StoreError};

/// How long the end waits for what was written to be heard, before it is read.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    share: Share,
    live: Subscriber,
    pub(super) streams: Vec<Followed>,
    /// Which of them is told of on a subject.
    by_subject: HashMap<String, usize>,
    /// Until when something is waited for that lies before what came.
    pub(super) patience: Option<Instant>,
    pub(super) telling: Telling,
}

impl Follower {
    /// Begins to listen: everything that is written from now on will be told.
    pub(super) async fn new(
        shared: &Arc<Shared>,
        share: Share,
        announce: mpsc::Sender<Vec<Announcement>>,
    ) -> Result<Self, StoreError> {
        let log = &shared.log;
        let live = match share {
            Share::Revocations => log.names.live(&log.names.revocations()),
            Share::Others => log.names.live("*"),
        };
        let subscribed = shared.client.subscribe(live).await;
        let live = subscribed.map_err(|_| StoreError::Unavailable)?;
        shared.client.flush().await.map_err(|_| StoreError::Unavailable)?;
        let mut streams = followed(&log.names, share);
        for stream in &mut streams {
            let last = log.reads.reach(&stream.name).await?.last;
            stream.next = last.saturating_add(1);
            if let Kind::Messages(part) = stream.kind {
                shared.metrics.given(log.names.number(part, last));
            }
        }
        let subjects = streams.iter().map(|stream| log.names.live(&stream.name));
        let by_subject = subjects.zip(0..).collect();
        let (shared, telling) = (Arc::clone(shared), Telling::new(shared, announce));
        Ok(Self { shared, share, live, streams, by_subject, patience: None, telling })
    }

    /// What asks the leaders from time to time, and whenever the connection was made anew.
    pub(super) fn look(
        &self,
        made: watch::Receiver<u64>,
    ) -> (impl Future<Output = ()> + use<>, mpsc::Receiver<Seen>) {
        let (tell, seen) = mpsc::channel(64);
        let streams: Vec<_> = self.streams.iter().map(|stream| stream.name.clone()).collect();
        let (shared, share) = (Arc::clone(&self.shared), self.share);
        let looking = async move {
            let trouble = |why| shared.trouble(why);
            match share {
                Share::Revocations => {
                    look_at(&shared, &streams, LOOK_FOR_REVOCATIONS, made, tell, |_| {}).await;
                }
                Share::Others => look_at(&shared, &streams, LOOK, made, tell, trouble).await,
            }
        };
        (looking, seen)
    }

    /// Tells what happens until `finish`, and then all that this node has written.
    pub(super) async fn run(mut self, mut seen: mpsc::Receiver<Seen>, finish: CancellationToken) {
        loop {
            let patience = self.patience;
            let outcome = tokio::select! {
                message = self.live.next() => match message {
                    Some(message) => self.hear(message).await,
                    None => break,
                },
                Some(seen) = seen.recv() => self.compare(seen).await,
                () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                    self.read_what_is_missing().await
                }
                () = finish.cancelled() => break,
            };
            if let Err(error) = outcome {
                // What was not told is behind its stream, and will be noticed so.
                warn!(%error, "what was stored cannot be read");
            }
            self.telling.tell().await;
        }
        if let Err(error) = self.finish().await {
            warn!(%error, "the last announcements are lost");
        }
        self.telling.tell().await;
    }

    /// Takes a live message, and those that are there already.
    async fn hear(&mut self, first: Message) -> Result<(), StoreError> {
        let mut next = Some(first);
        while let Some(message) = next {
            self.take_live(message).await?;
            next = match self.telling.is_full() {
                true => None,
                false => self.live.next().now_or_never().flatten(),
            };
        }
        Ok(())
    }

    async fn take_live(&mut self, message: Message) -> Result<(), StoreError> {
        let Some(number) = self.by_subject.get(message.subject.as_str()).copied() else {
            return Ok(());
        };
        for raw in news::heard(message) {
            self.arrive(number, raw).await?;
        }
        Ok(())
    }

    /// Takes something where it is its turn. Else what is missing is read, or waited for.
    async fn arrive(&mut self, number: usize, raw: Raw) -> Result<(), StoreError> {
        let Some(stream) = self.streams.get_mut(number) else { return Ok(()) };
        if raw.seq > stream.next {
            if stream.is_told_by_nodes() {
                let until = stream.keep(raw, Instant::now());
                self.patience = Some(self.patience.map_or(until, |before| before.min(until)));
                return Ok(());
            }
            self.catch_up(number, raw.seq.saturating_sub(1)).await?;
            if self.streams.get(number).is_some_and(|stream| stream.next < raw.seq) {
                // Of what lies before it nobody knows yet: with that it will be read.
                return Ok(());
            }
        }
        self.take(number, &raw).await?;
        self.take_due(number).await
    }

    /// Takes what came before its turn, now that it is.
    pub(super) async fn take_due(&mut self, number: usize) -> Result<(), StoreError> {
        while let Some(raw) = self.streams.get_mut(number).and_then(Followed::due) {
            self.take(number, &raw).await?;
        }
        Ok(())
    }

    /// Takes what lies at the next place of a stream, or behind it where that is gone.
    pub(super) async fn take(&mut self, number: usize, raw: &Raw) -> Result<(), StoreError> {
        let Some(stream) = self.streams.get(number).filter(|stream| raw.seq >= stream.next) else {
            return Ok(());
        };
        match stream.kind {
            Kind::Messages(part) => self.message(number, part, raw).await,
            Kind::Reads(part) => self.read(part, raw).await?,
            Kind::Profiles => self.shared.profiles.heard(raw),
            Kind::Revocations => self.telling.revocation(raw),
        }
        self.pass(number, raw.seq);
        Ok(())
    }

    async fn message(&mut self, number: usize, part: u64, raw: &Raw) {
        if self.streams.get(number).is_some_and(|stream| stream.next < raw.seq) {
            self.telling.passed_over(part);
        }
        self.telling.message(part, raw).await;
        self.pass(number, raw.seq);
    }

    async fn read(&mut self, part: u64, raw: &Raw) -> Result<(), StoreError> {
        let Some((pair, state)) = self.telling.state(raw) else { return Ok(()) };
        let Some(last) = state.news.last() else { return Ok(()) };
        // Whoever hears of a mark has heard of the message before.
        let messages = self.streams.iter().position(|it| it.kind == Kind::Messages(part));
        let messages = messages.unwrap_or_default();
        loop {
            while let Some(raw) = self.streams.get_mut(messages).and_then(Followed::due) {
                self.message(messages, part, &raw).await;
            }
            let Some(missed) = self.missed(messages, *last).await? else { break };
            for raw in &missed {
                self.message(messages, part, raw).await;
            }
        }
        self.telling.receipt(part, pair, &state);
        Ok(())
    }

    /// Goes on behind a place of a stream.
    pub(super) fn pass(&mut self, number: usize, seq: u64) {
        if let Some(stream) = self.streams.get_mut(number) {
            stream.next = seq.saturating_add(1);
        }
    }

    /// Waits for what this node has written, and reads what does not come.
    async fn finish(&mut self) -> Result<(), StoreError> {
        let end = Instant::now() + LAST_WORDS;
        while self.streams.iter().any(|it| it.next <= self.shared.written(&it.name)) {
            let Ok(Some(message)) = timeout_at(end, self.live.next()).await else { break };
            self.hear(message).await?;
            self.telling.tell().await;
        }
        let mut outcome = Ok(());
        for number in 0..self.streams.len() {
            let Some(stream) = self.streams.get(number) else { break };
            let written = self.shared.written(&stream.name);
            outcome = self.catch_up(number, written).await.and(outcome);
        }
        outcome
    }
}
