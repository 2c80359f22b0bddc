//! Everything on its way out: profiles, what is gone, revocations, then messages by id.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::extent::Reach;
use super::log::{Log, Pair};
use super::read_state::ReadState;
use super::record::Kept;
use crate::ids::{MessageId, UserId};
use crate::store::{Export, Gone, Piece, Record, StoreError};

/// Records in a piece, and messages that are read together.
const PIECE: usize = 256;

/// Messages read ahead, over all partitions.
const AHEAD: usize = 2048;

/// Read states that are remembered, some hundred bytes each.
const STATES: usize = 50_000;

/// Who takes nothing for so long is given up.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// Why an export ends early.
enum End {
    /// Nobody takes it.
    Untaken,
    /// It cannot go on.
    Failed(StoreError),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Log {
    /// As the contract says, with what has to run until it is over.
    pub(super) async fn export(
        &self,
        whose: Option<UserId>,
    ) -> Result<(Export, impl Future<Output = ()> + Send + use<>), StoreError> {
        let reaches = self.reaches().await?;
        let last_ids = (0..).zip(&reaches).map(|(part, reach)| self.names.number(part, reach.last));
        let last_id = last_ids.max().unwrap_or_default();
        let (given, pieces) = mpsc::channel(2);
        let log = self.clone();
        let giving = async move {
            let mut out = Out { given, records: Vec::new() };
            let end = match whose {
                None => log.give_all(&reaches, &mut out).await,
                Some(user) => log.give_of(user, &reaches, &mut out).await,
            };
            out.end(end).await;
        };
        Ok((Export { last_id, pieces }, giving))
    }

    /// How far each partition reaches.
    pub(super) async fn reaches(&self) -> Result<Vec<Reach>, StoreError> {
        let streams: Vec<String> =
            (0..self.names.partitions()).map(|part| self.names.messages(part)).collect();
        try_join_all(streams.iter().map(|stream| self.reads.reach(stream))).await
    }

    async fn give_all(&self, reaches: &[Reach], out: &mut Out) -> Result<(), End> {
        self.give_profiles(out).await?;
        self.give_gone(out).await?;
        for revocation in self.revocations().await? {
            out.put(Record::Revocation(revocation)).await?;
        }
        let ahead = (AHEAD / reaches.len().max(1)).clamp(16, PIECE);
        let mut sources: Vec<Source> =
            (0..).zip(reaches).map(|(part, reach)| Source::new(part, *reach, ahead)).collect();
        let mut states = HashMap::new();
        loop {
            for source in &mut sources {
                source.fill(self).await?;
            }
            let first = sources.iter_mut().filter(|source| !source.ahead.is_empty());
            let first = first.min_by_key(|source| source.ahead.front().map(|kept| kept.message.id));
            let Some(kept) = first.and_then(|source| source.ahead.pop_front()) else {
                return Ok(());
            };
            self.give(kept, &mut states, out).await?;
        }
    }

    async fn give_profiles(&self, out: &mut Out) -> Result<(), End> {
        let stream = self.names.profiles();
        let mut seq = 1;
        loop {
            let filter = self.names.all_profiles();
            let found = self.reads.from(&stream, &filter, seq, PIECE).await?;
            for raw in &found {
                if let Some((user, profile)) = self.known(raw)? {
                    out.put(Record::Profile(user, profile)).await?;
                }
                seq = raw.seq + 1;
            }
            if found.is_empty() {
                return Ok(());
            }
        }
    }

    /// Up to where pairs are gone.
    async fn give_gone(&self, out: &mut Out) -> Result<(), End> {
        for part in 0..self.names.partitions() {
            let (stream, filter) = (self.names.reads(part), self.names.all_reads(part));
            let mut seq = 1;
            loop {
                let found = self.reads.from(&stream, &filter, seq, PIECE).await?;
                for raw in &found {
                    seq = raw.seq + 1;
                    let Some((to, from)) = super::names::Names::pair(&raw.subject) else {
                        continue;
                    };
                    let state = ReadState::parse(&raw.payload)?;
                    if let Some(id) = self.names.id(part, state.gone_seq).filter(|_| state.gone > 0)
                    {
                        let ordinal = state.gone;
                        out.put(Record::Gone(Gone { from, to, ordinal, id })).await?;
                    }
                }
                if found.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// All that one user wrote and got.
    async fn give_of(&self, user: UserId, reaches: &[Reach], out: &mut Out) -> Result<(), End> {
        let profile = self.profile(user).await?;
        if *profile != Default::default() {
            out.put(Record::Profile(user, (*profile).clone())).await?;
        }
        let mut places: Vec<(MessageId, Pair, u64)> = Vec::new();
        for pair in self.pairs(user).await? {
            let Some(head) = self.head(pair).await? else { continue };
            let part = head.part;
            let last = reaches.get(part as usize).map_or(0, |reach| reach.last);
            let seqs = self.all(&head).await?.into_iter().filter(|seq| *seq <= last);
            places.extend(seqs.filter_map(|seq| Some((self.names.id(part, seq)?, pair, seq))));
        }
        places.sort_unstable();
        let mut states = HashMap::new();
        for places in places.chunks(PIECE) {
            let mut of_pairs: BTreeMap<Pair, Vec<u64>> = BTreeMap::new();
            for (_, pair, seq) in places {
                of_pairs.entry(*pair).or_default().push(*seq);
            }
            let reading = of_pairs.iter().map(|(pair, seqs)| self.chained(*pair, seqs));
            let mut found = try_join_all(reading).await?.concat();
            found.sort_unstable_by_key(|kept| kept.message.id);
            for kept in found {
                self.give(kept, &mut states, out).await?;
            }
        }
        Ok(())
    }

    async fn give(
        &self,
        kept: Kept,
        states: &mut HashMap<Pair, ReadState>,
        out: &mut Out,
    ) -> Result<(), End> {
        let pair = Pair { to: kept.message.to, from: kept.message.from };
        if states.len() > STATES {
            states.clear();
        }
        let state = match states.entry(pair) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(room) => room.insert(self.state(pair).await?),
        };
        let read = state.is_read(kept.chain.ordinal);
        out.put(Record::Message(kept.exported(read))).await
    }
}

/// The messages of a partition, in their order, up to where it reached.
pub(super) struct Source {
    part: u64,
    next: u64,
    last: u64,
    batch: usize,
    /// How many were found.
    found: u64,
    pub(super) ahead: VecDeque<Kept>,
}

impl Source {
    pub(super) fn new(part: u64, reach: Reach, batch: usize) -> Self {
        let ahead = VecDeque::new();
        Self { part, next: reach.first, last: reach.last, batch, found: 0, ahead }
    }

    /// Reads further ones where none is ahead; none is then at the end.
    pub(super) async fn fill(&mut self, log: &Log) -> Result<(), StoreError> {
        if !self.ahead.is_empty() || self.next > self.last {
            return Ok(());
        }
        let (stream, filter) = (log.names.messages(self.part), log.names.all_messages(self.part));
        let places = (self.next, self.last);
        let found = log.reads.between(&stream, &filter, places, self.batch).await?.found();
        self.next = found.last().map_or(self.last, |raw| raw.seq) + 1;
        for raw in &found {
            self.ahead.push_back(log.message(self.part, raw)?);
        }
        self.found += found.len() as u64;
        if self.next > self.last { self.check(log, &stream).await } else { Ok(()) }
    }

    /// A server passes over what it cannot read, but counts it.
    async fn check(&self, log: &Log, stream: &str) -> Result<(), StoreError> {
        let (there, last) = log.reads.count(stream).await?;
        // Of those that came meanwhile none was looked for.
        let missed = there.saturating_sub(self.found + last.saturating_sub(self.last));
        match missed {
            0 => Ok(()),
            _ => Err(StoreError::Damaged(format!(
                "a server cannot read {missed} messages of the stream {stream} that it has: see \
                 docs/runbook.md, *A copy that cannot be read*"
            ))),
        }
    }
}

/// Where the records go.
struct Out {
    given: mpsc::Sender<Result<Piece, StoreError>>,
    records: Vec<Record>,
}

impl Out {
    async fn put(&mut self, record: Record) -> Result<(), End> {
        self.records.push(record);
        if self.records.len() < PIECE {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), End> {
        let records = std::mem::take(&mut self.records);
        self.send(Ok(Piece::Records(records))).await
    }

    async fn send(&self, piece: Result<Piece, StoreError>) -> Result<(), End> {
        match timeout(TAKEN_WITHIN, self.given.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Untaken),
        }
    }

    /// An end without [`Piece::End`] is none.
    async fn end(mut self, end: Result<(), End>) {
        let last = match end {
            Ok(()) => self.flush().await.map(|()| Ok(Piece::End)),
            Err(End::Failed(error)) => Ok(Err(error)),
            Err(End::Untaken) => Err(End::Untaken),
        };
        if let Ok(last) = last {
            let _ = self.send(last).await;
        }
    }
}
