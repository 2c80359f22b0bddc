//! The tail: what every stream takes in, heard as it happens, told in the order of the
//! streams.
//!
//! What is heard live is a hint that the network may lose. The sequences of a stream have
//! no gaps: one that is not the next shows that something is missing, and what does not come
//! soon is read.
//!
//! The revocations are followed apart from everything else: what is taken back is in force
//! within a second, whatever has to be waited for meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::followed::{Followed, Kind, Share, followed};
use super::log::Pair;
use super::look::{LOOK, LOOK_FOR_REVOCATIONS, Seen, look_at};
use super::names::Names;
use super::news;
use super::raw::Raw;
use super::read_state::ReadState;
use super::record::Kept;
use super::revoked;
use super::shared::Shared;
use crate::ids::{Sender, UserId};
use crate::message::Profile;
use crate::store::{Announcement, Cursor, Entry, ReadReceipt, StoreError, Stored};

/// What was heard and is told at once.
const BATCH: usize = 256;

/// Inboxes whose last message is kept in mind; past it all are forgotten.
const INBOXES: usize = 200_000;

/// How long the name of a sender is waited for whom this node does not know: until the second
/// try of a question. Everybody's messages wait for it.
const NAME: Duration = Duration::from_millis(500);

/// For how long no name is asked for after one that did not come: its leader hangs, and would
/// be waited for with the message of every stranger.
const NAMELESS: Duration = Duration::from_secs(2);

/// How long the end waits for what was written to be heard, before it is read.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Follower {
    shared: Arc<Shared>,
    share: Share,
    live: Subscriber,
    streams: Vec<Followed>,
    /// Which of them is told of on a subject.
    by_subject: HashMap<String, usize>,
    /// The last message of each inbox.
    latest: HashMap<UserId, Cursor>,
    /// Until when no name is asked for.
    nameless_until: Option<Instant>,
    /// Until when something is waited for that lies before what came.
    patience: Option<Instant>,
    announce: mpsc::Sender<Vec<Announcement>>,
    batch: Vec<Announcement>,
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
            stream.next = log.reads.reach(&stream.name).await?.last + 1;
        }
        let subjects = streams.iter().map(|stream| log.names.live(&stream.name));
        let by_subject = subjects.zip(0..).collect();
        let shared = Arc::clone(shared);
        Ok(Self {
            shared,
            share,
            live,
            streams,
            by_subject,
            latest: HashMap::new(),
            nameless_until: None,
            patience: None,
            announce,
            batch: Vec::new(),
        })
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
            self.tell().await;
        }
        if let Err(error) = self.finish().await {
            warn!(%error, "the last announcements are lost");
        }
        self.tell().await;
    }

    /// Takes a live message, and those that are there already.
    async fn hear(&mut self, first: Message) -> Result<(), StoreError> {
        let mut next = Some(first);
        while let Some(message) = next {
            self.take_live(message).await?;
            next = match self.batch.len() < BATCH {
                true => self.live.next().now_or_never().flatten(),
                false => None,
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
        }
        self.take(number, &raw).await?;
        self.take_due(number).await
    }

    /// Takes what came before its turn, now that it is.
    async fn take_due(&mut self, number: usize) -> Result<(), StoreError> {
        while let Some(raw) = self.streams.get_mut(number).and_then(Followed::due) {
            self.take(number, &raw).await?;
        }
        Ok(())
    }

    /// Reads what was waited for in vain. How far a stream reaches its leader says: what was
    /// kept may be behind that only where nobody wrote it.
    async fn read_what_is_missing(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        let mut outcome = Ok(());
        for number in 0..self.streams.len() {
            let Some(stream) = self.streams.get_mut(number) else { break };
            if stream.patience().is_none_or(|until| until > now) {
                continue;
            }
            stream.wait_again(now);
            let name = stream.name.clone();
            let read = async {
                let reach = self.shared.log.reads.reach(&name).await?;
                if let Some(stream) = self.streams.get_mut(number) {
                    stream.drop_early();
                }
                self.catch_up(number, reach.last).await
            };
            outcome = read.await.and(outcome);
        }
        self.patience = self.streams.iter().filter_map(Followed::patience).min();
        outcome
    }

    /// What was missed is missed for good where nothing was heard since the last look.
    async fn compare(&mut self, (number, last): Seen) -> Result<(), StoreError> {
        let Some(stream) = self.streams.get_mut(number) else { return Ok(()) };
        let behind = (last + 1).saturating_sub(stream.next);
        self.shared.metrics.cluster.behind(&stream.name, behind);
        if stream.kind == Kind::Revocations {
            // Also where it is on its way: it is looked at once, however it comes.
            return self.catch_up(number, last).await;
        }
        let before = stream.behind.take().filter(|(next, _)| *next == stream.next);
        stream.behind = (last >= stream.next).then_some((stream.next, last));
        match before {
            Some((_, last)) => self.catch_up(number, last).await,
            None => Ok(()),
        }
    }

    /// Reads what was missed of a stream up to `until`.
    async fn catch_up(&mut self, number: usize, until: u64) -> Result<(), StoreError> {
        let Some(stream) = self.streams.get(number) else { return Ok(()) };
        if stream.next > until {
            return Ok(());
        }
        if stream.kind != Kind::Revocations {
            warn!(stream = stream.name, from = stream.next, until, "announcements were missed");
            self.shared.metrics.cluster.gap((until + 1).saturating_sub(stream.next));
        }
        match stream.kind {
            // What was in between may be written over: nobody knows what it said.
            Kind::Reads(part) => self.shared.tallies.forget(&self.shared.log.names, part),
            Kind::Profiles => self.shared.profiles.forget(),
            Kind::Messages(_) | Kind::Revocations => {}
        }
        while let Some(missed) = self.missed(number, until).await? {
            for raw in &missed {
                self.take(number, raw).await?;
            }
            if self.batch.len() >= BATCH {
                self.tell().await;
            }
        }
        Ok(())
    }

    /// Some of what was not yet taken up to `until`; nothing where there is no more.
    async fn missed(&mut self, number: usize, until: u64) -> Result<Option<Vec<Raw>>, StoreError> {
        let Some(stream) = self.streams.get_mut(number).filter(|stream| stream.next <= until)
        else {
            return Ok(None);
        };
        let reads = &self.shared.log.reads;
        let (name, filter) = (&stream.name, &stream.filter);
        let (mut found, _) = reads.forward(name, filter, stream.next, BATCH).await?;
        found.retain(|raw| raw.seq <= until);
        if matches!(stream.kind, Kind::Messages(_)) {
            // A replica that is being filled may lack some that its leader has.
            let next_to_each_other =
                (stream.next..).zip(&found).take_while(|(seq, raw)| *seq == raw.seq);
            let count = next_to_each_other.count();
            found.truncate(count);
        }
        if found.is_empty() {
            // A replica may lag: only the leader knows that there is nothing.
            let next = reads.following(name, filter, stream.next).await?;
            found.extend(next.filter(|raw| raw.seq <= until));
        }
        if found.is_empty() {
            stream.next = until + 1;
            return Ok(None);
        }
        Ok(Some(found))
    }

    /// Takes what lies at the next place of a stream, or behind it where that is gone.
    async fn take(&mut self, number: usize, raw: &Raw) -> Result<(), StoreError> {
        let Some(stream) = self.streams.get(number).filter(|stream| raw.seq >= stream.next) else {
            return Ok(());
        };
        match stream.kind {
            Kind::Messages(part) => self.message(part, raw).await,
            Kind::Reads(part) => self.read(part, raw).await?,
            Kind::Profiles => self.shared.profiles.heard(raw),
            Kind::Revocations => match revoked::announced(raw) {
                Ok(news) => self.batch.extend(news),
                Err(error) => error!(%error, "a revocation is not understood"),
            },
        }
        self.passed(number, raw);
        Ok(())
    }

    fn passed(&mut self, number: usize, raw: &Raw) {
        if let Some(stream) = self.streams.get_mut(number) {
            stream.next = raw.seq.saturating_add(1);
        }
    }

    async fn message(&mut self, part: u64, raw: &Raw) {
        let shared = &self.shared;
        let kept = match Kept::parse(&shared.log.names, part, raw) {
            Ok(kept) => kept,
            Err(error) => return error!(%error, "a message is not understood"),
        };
        let (to, from, ordinal) = (kept.message.to, kept.message.from, kept.chain.ordinal);
        shared.tallies.stored(to, from, ordinal);
        shared.clock.heard(Pair { to, from }, kept.message.stored_at);
        shared.lately.heard(part, raw.seq, (Pair { to, from }, ordinal));
        if let Some(name) = &kept.client_id {
            shared.claims.heard(from, name, to, kept.message.stored_at);
        }
        if self.latest.len() >= INBOXES {
            self.latest.clear();
        }
        let previous = self.latest.insert(to, kept.message.id.into());
        let origin = kept.origin;
        let sender = self.sender(from).await;
        let entry = Entry { message: kept.message, sender, client_id: kept.client_id };
        let stored = Stored { entry: Arc::new(entry), previous, origin };
        self.batch.push(Announcement::Stored(stored));
    }

    /// What is known of who sent something. A name that cannot be had now is had by whoever
    /// reads the message.
    async fn sender(&mut self, from: Sender) -> Arc<Profile> {
        if let Some(known) = self.shared.known_profile(from) {
            return known;
        }
        if self.nameless_until.is_some_and(|until| Instant::now() < until) {
            return Arc::default();
        }
        let asked = timeout(NAME, self.shared.profile(from)).await;
        asked.ok().and_then(Result::ok).unwrap_or_else(|| {
            self.nameless_until = Some(Instant::now() + NAMELESS);
            Arc::default()
        })
    }

    async fn read(&mut self, part: u64, raw: &Raw) -> Result<(), StoreError> {
        let parsed = Names::pair(&raw.subject).zip(ReadState::parse(&raw.payload).ok());
        let Some(((reader, from), state)) = parsed else {
            error!(subject = raw.subject, "a read state is not understood");
            return Ok(());
        };
        self.shared.tallies.marked(reader, from, &state);
        self.shared.states.heard(Pair { to: reader, from }, raw.seq, &state);
        let Some(last) = state.news.last() else { return Ok(()) };
        // Whoever hears of a mark has heard of the message before.
        let messages = self.streams.iter().position(|it| it.kind == Kind::Messages(part));
        let messages = messages.unwrap_or_default();
        while let Some(missed) = self.missed(messages, *last).await? {
            for raw in &missed {
                self.message(part, raw).await;
                self.passed(messages, raw);
            }
        }
        while let Some(raw) = self.streams.get_mut(messages).and_then(Followed::due) {
            self.message(part, &raw).await;
            self.passed(messages, &raw);
        }
        let names = &self.shared.log.names;
        let ids = state.news.iter().filter_map(|seq| names.id(part, *seq)).collect();
        let receipt = ReadReceipt { reader, from, ids, origin: state.origin };
        self.batch.push(Announcement::Read(receipt));
        Ok(())
    }

    /// Waits for what this node has written, and reads what does not come.
    async fn finish(&mut self) -> Result<(), StoreError> {
        let end = Instant::now() + LAST_WORDS;
        while self.streams.iter().any(|it| it.next <= self.shared.written(&it.name)) {
            let Ok(Some(message)) = timeout_at(end, self.live.next()).await else { break };
            self.hear(message).await?;
            self.tell().await;
        }
        for number in 0..self.streams.len() {
            let Some(stream) = self.streams.get(number) else { break };
            let written = self.shared.written(&stream.name);
            self.catch_up(number, written).await?;
        }
        Ok(())
    }

    async fn tell(&mut self) {
        if !self.batch.is_empty() {
            // Nobody listening is no fault.
            let _ = self.announce.send(std::mem::take(&mut self.batch)).await;
        }
    }
}
