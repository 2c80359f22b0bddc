//! The move itself: everything in the order of an export, each where it is to lie.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;

use super::super::claims::is_young;
use super::super::erase;
use super::super::log::{Log, Pair};
use super::super::packets::name_of;
use super::super::profiles;
use super::super::record::{Body, Chain, print};
use super::super::revoked;
use super::super::writes::Write;
use super::load::{Item, Load, WINDOW, WINDOW_SMALL};
use super::marks;
use super::plan::Plan;
use super::seats::{Departed, Erasure, Seat, Seats};
use super::target::Target;
use super::{MigrateError, Step, Watch};
use crate::auth::Revocation;
use crate::config;
use crate::ids::MessageId;
use crate::message::{ClientMsgId, Message, Profile, StoredAt};
use crate::store::sled::Departure;
use crate::store::{Draft, Exported, PacketDigest, Record, ResendKey, StoreError};

/// Records that are handed over at once, and pieces that wait.
const PIECE: usize = 256;
const AHEAD: usize = 16;

/// Writes at once where their order does not matter.
const AT_ONCE: usize = 256;

/// How often it is told how far it has come, in messages.
const EVERY: u64 = 500;

/// Moves all of it, or what is left of it.
pub(super) async fn run(
    target: &Target,
    config: &config::Store,
    from: &Arc<Departure>,
    plan: &Plan,
    watch: &Watch<'_>,
) -> Result<(), MigrateError> {
    let log = target.log();
    let mut moving = Moving::begin(target, &log, config, from, plan, watch).await?;
    let (records, mut pieces) = mpsc::channel(AHEAD);
    let source = Arc::clone(from);
    let reading = tokio::task::spawn_blocking(move || give(&source, &records));
    while let Some(piece) = pieces.recv().await {
        for record in piece {
            moving.take(record).await?;
        }
    }
    reading.await.map_err(|_| StoreError::Damaged("the folder cannot be read".to_owned()))??;
    let (departed, erasures) = moving.finish().await?;
    marks::run(target, &log, from, plan, &departed, watch).await?;
    for Erasure { user, limits, .. } in erasures {
        let begun = erase::begun(&limits);
        Write::new(log.names.erasure(user), begun).put(&log).await?;
    }
    for part in 0..log.names.partitions() {
        let (stream, nothing) = (log.names.messages(part), log.names.nothing(part));
        if let Some(last) = log.reads.last(&stream, &nothing).await? {
            log.reads.purge(&stream, &nothing, last.seq).await?;
        }
    }
    Ok(())
}

/// Why the folder is read no further.
enum End {
    /// Nobody takes it any more.
    Unwanted,
    Failed(StoreError),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Hands over all records, in pieces.
fn give(from: &Departure, to: &mpsc::Sender<Vec<Record>>) -> Result<(), StoreError> {
    let mut piece = Vec::with_capacity(PIECE);
    let walked = from.walk(&mut |record| {
        piece.push(record);
        match piece.len() {
            PIECE => to
                .blocking_send(std::mem::replace(&mut piece, Vec::with_capacity(PIECE)))
                .map_err(|_| End::Unwanted),
            _ => Ok(()),
        }
    });
    match walked {
        Ok(()) => {
            // Whoever does not take the last piece has ended for a reason of their own.
            let _ = to.blocking_send(piece);
            Ok(())
        }
        Err(End::Unwanted) => Ok(()),
        Err(End::Failed(error)) => Err(error),
    }
}

struct Moving<'a> {
    log: &'a Log,
    watch: &'a Watch<'a>,
    config: &'a config::Store,
    seats: Seats,
    gone: HashMap<Pair, u64>,
    packets: HashMap<MessageId, PacketDigest>,
    /// The way back from the next message of each pair.
    chains: HashMap<Pair, Chain>,
    parts: Vec<Load>,
    profiles: Load,
    known: u64,
    revocations: Vec<Revocation>,
    now: StoredAt,
    done: u64,
    all: u64,
}

impl<'a> Moving<'a> {
    async fn begin(
        target: &Target,
        log: &'a Log,
        config: &'a config::Store,
        from: &Departure,
        plan: &Plan,
        watch: &'a Watch<'a>,
    ) -> Result<Self, MigrateError> {
        let names = &log.names;
        let window = (WINDOW / names.partitions() as usize).max(64);
        let mut parts = Vec::new();
        for part in 0..names.partitions() {
            let stream = names.messages(part);
            parts.push(Load::begin(target.context(), &log.reads, stream, window).await?);
        }
        let stream = names.profiles();
        let profiles = Load::begin(target.context(), &log.reads, stream, WINDOW_SMALL).await?;
        let gone = plan.gone.values();
        Ok(Self {
            log,
            watch,
            config,
            seats: Seats::new(names, plan),
            gone: gone.map(|gone| (Pair { to: gone.to, from: gone.from }, gone.ordinal)).collect(),
            packets: from.packets(config.resend_window)?,
            chains: HashMap::new(),
            parts,
            profiles,
            known: 0,
            revocations: Vec::new(),
            now: StoredAt::now(),
            done: 0,
            all: plan.holdings.digest.messages(),
        })
    }

    async fn take(&mut self, record: Record) -> Result<(), MigrateError> {
        match record {
            Record::Profile(user, profile) if profile != Profile::default() => {
                self.known += 1;
                let (seq, subject) = (self.known, self.log.names.profile(user));
                let payload = profiles::encode(&profile);
                let item = Item { seq, subject, payload, name: None };
                self.profiles.put(item, self.watch).await
            }
            Record::Profile(..) => Ok(()),
            Record::Revocation(revocation) => {
                self.revocations.push(revocation);
                Ok(())
            }
            // The plan knows.
            Record::Gone(_) => Ok(()),
            Record::Message(exported) => self.message(exported).await,
        }
    }

    async fn message(&mut self, exported: Exported) -> Result<(), MigrateError> {
        let Exported { message, client_id, .. } = exported;
        let id = message.id.get();
        self.gone_before(id).await?;
        let seat = self.seats.of(message.to, id)?;
        let pair = Pair { to: message.to, from: message.from };
        let gone = self.gone.get(&pair).copied().unwrap_or_default();
        let chain = self.chains.entry(pair).or_insert_with(|| Chain::first(gone + 1));
        if chain.ordinal != message.ordinal {
            return Err(MigrateError::Store(StoreError::Damaged(format!(
                "the message {id} is the {}th of its pair, not the {}th",
                message.ordinal, chain.ordinal
            ))));
        }
        let next = chain.next(seat.seq, print(client_id.as_ref()));
        let chain = std::mem::replace(chain, next);
        let there = self.parts.get(seat.part as usize).is_some_and(|part| part.has(seat.seq));
        if !there {
            let (payload, name) = self.written(&message, client_id, &chain);
            let subject = self.log.names.message(message.to, message.from);
            self.put(&seat, subject, payload, name).await?;
        }
        self.done += 1;
        // What an earlier run has moved is passed over, and is no measure of the time it takes.
        let tell = !there && self.done.is_multiple_of(EVERY);
        if tell || self.done == self.all {
            (self.watch)(Step::Moving { done: self.done, all: self.all });
        }
        Ok(())
    }

    /// A message as it lies in its stream, and the name by which that knows it again while
    /// it is young.
    fn written(
        &self,
        message: &Message,
        client_id: Option<ClientMsgId>,
        chain: &Chain,
    ) -> (Bytes, Option<String>) {
        let digest = self.packets.get(&message.id).copied();
        let body = Body {
            chain,
            stored_at: message.stored_at,
            timestamp: &message.timestamp,
            content: &message.content,
            client_id: client_id.as_ref(),
            digest,
            origin: None,
        };
        let old = (self.log.names.partitions() > 1).then_some(message.id.get());
        let payload = body.write_moved(old);
        let (resend, window) = match (client_id, digest) {
            (Some(id), _) => (ResendKey::Client { id, again: false }, self.config.dedup_window),
            (None, Some(digest)) => (ResendKey::Packet(digest), self.config.resend_window),
            (None, None) => return (payload, None),
        };
        let name = is_young(message.stored_at, self.now, window).then(|| {
            let (timestamp, content) = (String::new(), String::new());
            let (from, to, origin) = (message.from, message.to, None);
            name_of(&Draft { from, to, timestamp, content, resend, origin })
        });
        (payload, name)
    }

    /// Keeps the places of what is gone before an id.
    async fn gone_before(&mut self, id: u64) -> Result<(), MigrateError> {
        while let Some(seat) = self.seats.gone_before(id)? {
            self.nothing(&seat).await?;
        }
        Ok(())
    }

    async fn nothing(&mut self, seat: &Seat) -> Result<(), MigrateError> {
        let subject = self.log.names.nothing(seat.part);
        self.put(seat, subject, Bytes::new(), None).await
    }

    /// Puts something in its place, and nothing in those before it that stay empty.
    async fn put(
        &mut self,
        seat: &Seat,
        subject: String,
        payload: Bytes,
        name: Option<String>,
    ) -> Result<(), MigrateError> {
        let Some(load) = self.parts.get_mut(seat.part as usize) else { return Ok(()) };
        for seq in seat.fill_from..seat.seq {
            let subject = self.log.names.nothing(seat.part);
            let item = Item { seq, subject, payload: Bytes::new(), name: None };
            load.put(item, self.watch).await?;
        }
        load.put(Item { seq: seat.seq, subject, payload, name }, self.watch).await
    }

    /// Waits until all is there, and gives what is known of those who are gone.
    async fn finish(mut self) -> Result<(Departed, Vec<Erasure>), MigrateError> {
        self.gone_before(u64::MAX).await?;
        if let Some(seat) = self.seats.end()? {
            self.nothing(&seat).await?;
        }
        for load in &mut self.parts {
            load.finish(self.watch).await?;
        }
        self.profiles.finish(self.watch).await?;
        let now = SystemTime::now();
        let writes = self.revocations.iter();
        let writes = writes.filter_map(|it| revoked::write(&self.log.names, it, now));
        let writes: Vec<Write> = writes.collect();
        let writing = writes.iter().map(|write| write.put(self.log));
        stream::iter(writing).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        Ok((self.seats.departed, self.seats.erasures))
    }
}
