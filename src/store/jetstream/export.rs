//! Everything on its way out: profiles, what is gone, revocations, then messages by id.
//!
//! Of several partitions ids do not say which message came first, and to whoever takes them in
//! they alone say it. So the messages leave in the order of their conversations, with new ids
//! behind all that were ever given: nobody takes one of them for another that they know.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::extent::Reach;
use super::in_order::InOrder;
use super::log::{Log, Pair};
use super::read_state::ReadState;
use super::record::Kept;
use super::timeline::Timeline;
use crate::ids::{ID_END, MessageId, UserId};
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
        let given_up_to = last_ids.max().unwrap_or_default().max(self.names.last_old());
        let (last_id, lapsed) = match (whose, self.names.partitions()) {
            (None, 2..) => (given_up_to.saturating_add(room(&reaches)), given_up_to),
            _ => (given_up_to, self.names.lapsed()),
        };
        if last_id >= ID_END {
            let what = format!("behind the id {given_up_to} there is no room for new ones");
            return Err(StoreError::Damaged(what));
        }
        let (given, pieces) = mpsc::channel(2);
        let log = self.clone();
        let giving = async move {
            let mut out = Out { given, records: Vec::new() };
            let end = match whose {
                None => log.give_all(&reaches, lapsed, &mut out).await,
                Some(user) => log.give_of(user, &reaches, &mut out).await,
            };
            out.end(end).await;
        };
        Ok((Export { last_id, lapsed, pieces }, giving))
    }

    /// How far each partition reaches.
    pub(super) async fn reaches(&self) -> Result<Vec<Reach>, StoreError> {
        let streams: Vec<String> =
            (0..self.names.partitions()).map(|part| self.names.messages(part)).collect();
        try_join_all(streams.iter().map(|stream| self.reads.reach(stream))).await
    }

    async fn give_all(&self, reaches: &[Reach], lapsed: u64, out: &mut Out) -> Result<(), End> {
        self.give_profiles(out).await?;
        self.give_gone(out).await?;
        for revocation in self.revocations().await? {
            out.put(Record::Revocation(revocation)).await?;
        }
        match reaches {
            [reach] => self.give_as_they_lie(*reach, out).await,
            _ => self.give_in_order(reaches, lapsed, out).await,
        }
    }

    /// The messages of one partition, with the ids that they have.
    async fn give_as_they_lie(&self, reach: Reach, out: &mut Out) -> Result<(), End> {
        let (mut source, mut states) = (Source::new(0, reach, PIECE), HashMap::new());
        loop {
            source.fill(self).await?;
            let Some(kept) = source.ahead.pop_front() else { return Ok(()) };
            self.give(kept, &mut states, out).await?;
        }
    }

    /// Those of several, with new ids behind `last_id`.
    async fn give_in_order(
        &self,
        reaches: &[Reach],
        mut last_id: u64,
        out: &mut Out,
    ) -> Result<(), End> {
        let ahead = (AHEAD / reaches.len().max(1)).clamp(16, PIECE);
        let (mut messages, mut states) = (InOrder::new(self, reaches, ahead), HashMap::new());
        while let Some(mut kept) = messages.next(self).await? {
            last_id += 1;
            kept.message.id = MessageId::new(last_id).ok_or_else(used_up)?;
            self.give(kept, &mut states, out).await?;
        }
        Ok(())
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
        let mut places: Vec<Place> = Vec::new();
        for pair in self.pairs(user).await? {
            let Some(head) = self.head(pair).await? else { continue };
            let last = reaches.get(head.part as usize).map_or(0, |reach| reach.last);
            let seqs = self.all(&head).await?.into_iter().filter(|seq| *seq <= last);
            places.extend(seqs.map(|seq| (pair, seq)));
        }
        let mut states = HashMap::new();
        for places in self.in_order(places).await?.chunks(PIECE) {
            let found = self.at_places(places).await?.into_iter();
            let mut found: HashMap<Place, Kept> = found.map(|kept| (place(&kept), kept)).collect();
            for place in places {
                if let Some(kept) = found.remove(place) {
                    self.give(kept, &mut states, out).await?;
                }
            }
        }
        Ok(())
    }

    /// Places in the order of the conversations.
    async fn in_order(&self, mut places: Vec<Place>) -> Result<Vec<Place>, StoreError> {
        places.sort_unstable_by_key(|(pair, seq)| (self.names.part(pair.to), *seq));
        if self.names.partitions() == 1 {
            return Ok(places);
        }
        let mut timeline = Timeline::new(&self.names);
        for places in places.chunks(PIECE) {
            let mut found = self.at_places(places).await?;
            found.sort_unstable_by_key(|kept| (kept.part, kept.seq));
            found.iter().for_each(|kept| timeline.add(kept));
        }
        Ok(std::iter::from_fn(|| timeline.next()).collect())
    }

    /// What lies at some places, pair by pair.
    async fn at_places(&self, places: &[Place]) -> Result<Vec<Kept>, StoreError> {
        let mut of_pairs: BTreeMap<Pair, Vec<u64>> = BTreeMap::new();
        for (pair, seq) in places {
            of_pairs.entry(*pair).or_default().push(*seq);
        }
        let reading = of_pairs.iter().map(|(pair, seqs)| self.chained(*pair, seqs));
        Ok(try_join_all(reading).await?.concat())
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

/// Where a message of a pair lies.
type Place = (Pair, u64);

fn place(kept: &Kept) -> Place {
    (Pair { to: kept.message.to, from: kept.message.from }, kept.seq)
}

/// How many messages there are at the most.
fn room(reaches: &[Reach]) -> u64 {
    let of = |reach: &Reach| reach.last.saturating_add(1).saturating_sub(reach.first.max(1));
    reaches.iter().map(of).fold(0, u64::saturating_add)
}

fn used_up() -> StoreError {
    StoreError::Damaged("the ids have come to their end".to_owned())
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
