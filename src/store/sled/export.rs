//! Everything that the store holds, or all that concerns one user, record by record.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use std::sync::Arc;

use sled::Tree;
use tokio::sync::mpsc;

use super::gone::Gone;
use super::keys::{self, Pair};
use super::log::Log;
use super::packer::Known;
use super::panics::caught;
use super::read_state::ReadState;
use super::reader::{self, Row, Rows};
use super::record::{LogPiece, MessageRecord, decode_profile};
use super::revoked;
use super::shared::Shared;
use super::stream::{self, Line, Stop};
use crate::ids::{MessageId, UserId};
use crate::store::{self, Export, Exported, Piece, Record, StoreError};

/// Read states that are kept at hand while messages of many pairs come by turns.
const STATES: usize = 10_000;

/// How much content goes into a piece, about.
const PIECE_BYTES: usize = 64 << 10;

/// Records of a piece at the most.
const PIECE_RECORDS: usize = 256;

/// Begins to export from an open store, on a thread of its own.
pub(super) async fn begin(
    shared: Arc<Shared>,
    whose: Option<UserId>,
) -> Result<Export, StoreError> {
    let log = shared.log()?;
    let (pieces, taken) = mpsc::channel(2);
    let still = shared.hold_still().await;
    let (last_id, lapsed) = (shared.head().get(), log.lapsed);
    let line = Line::to(pieces);
    stream::aside(move || {
        let _still = still;
        let mut out = Out { line: &line, records: Vec::new(), bytes: 0 };
        let mut take = |record| out.take(record);
        let outcome = caught(|| match whose {
            None => all(&log, last_id, &mut take),
            Some(user) => of_user(&log, user, last_id, &mut take),
        });
        let outcome = outcome.and_then(|()| out.end());
        if let Err(Stop::Store(error)) = outcome {
            shared.met(&error);
            let _ = line.send(Err(error));
        }
    });
    Ok(Export { last_id, lapsed, pieces: taken })
}

/// Records on their way to whoever asked for them.
struct Out<'a> {
    line: &'a Line<Piece>,
    records: Vec<Record>,
    bytes: usize,
}

impl Out<'_> {
    fn take(&mut self, record: Record) -> Result<(), Stop> {
        if let Record::Message(Exported { message, .. }) = &record {
            self.bytes += message.content.len();
        }
        self.records.push(record);
        if self.bytes < PIECE_BYTES && self.records.len() < PIECE_RECORDS {
            return Ok(());
        }
        self.bytes = 0;
        self.line.send(Ok(Piece::Records(std::mem::take(&mut self.records))))
    }

    fn end(self) -> Result<(), Stop> {
        self.line.send(Ok(Piece::Records(self.records)))?;
        self.line.send(Ok(Piece::End))
    }
}

/// Gives everything up to the message `end`: profiles, then messages by id. Nothing may be
/// taken away or moved meanwhile.
pub(super) fn all<E: From<StoreError>>(
    log: &Log,
    end: u64,
    take: &mut impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    beside_messages(log, take)?;
    let mut states = States::new(log);
    let mut gone = Known { log, pairs: HashMap::new() };
    // Taken before the volumes: one that comes between the two is passed over in the log.
    let packed_up_to = log.shelf.packed_up_to();
    for volume in log.shelf.volumes().iter().filter(|volume| volume.row.last <= packed_up_to) {
        let mut held = Vec::new();
        for number in 0..volume.blocks() {
            held.extend(volume.block(number)?.iter().cloned());
        }
        held.sort_unstable_by_key(|&(_, id, _)| id);
        for (pair, id, value) in held {
            if id > gone.of(pair)?.id && id <= end {
                take(states.exported(pair, reader::Row::open(pair, id, value)?.record()?)?)?;
            }
        }
    }
    for row in log.range(keys::commit(packed_up_to + 1)..=keys::commit(end)) {
        let (key, value) = row.map_err(reader::unreadable)?;
        let piece =
            LogPiece::decode(&key, &value).ok_or_else(|| reader::not_whole("commit", &key))?;
        for (pair, id, value) in piece.messages() {
            let row = reader::Row::open(pair, id, value.clone())?;
            take(states.exported(pair, row.record()?)?)?;
        }
    }
    Ok(())
}

/// Gives what concerns `user`, up to the message `end`: their profile, then what they and
/// others wrote to each other, by id.
pub(super) fn of_user<E: From<StoreError>>(
    log: &Log,
    user: UserId,
    end: u64,
    take: &mut impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    let key = keys::profile(user);
    if let Some(value) = log.get(&key).map_err(reader::unreadable)? {
        let profile =
            decode_profile(&key, &value).ok_or_else(|| reader::not_whole("profile", &key))?;
        take(Record::Profile(user, profile))?;
    }
    for peer in reader::peers(log, user) {
        for pair in reader::pairs(user, peer?) {
            if let Some(gone) = gone_record(pair, reader::gone(log, pair)?) {
                take(Record::Gone(gone))?;
            }
        }
    }
    let mut sources: Vec<(Rows, Option<Row>)> = Vec::new();
    let mut next = BinaryHeap::new();
    for peer in reader::peers(log, user) {
        for pair in reader::pairs(user, peer?) {
            let mut rows = Rows::of(log, pair, 0..=end);
            let first = rows.next().transpose()?;
            next.extend(first.as_ref().map(|row| Reverse((row.id, sources.len()))));
            sources.push((rows, first));
        }
    }
    let mut states = States::new(log);
    while let Some(Reverse((_, at))) = next.pop() {
        let Some((rows, row)) = sources.get_mut(at) else { continue };
        let Some(taken) = std::mem::replace(row, rows.next().transpose()?) else { continue };
        next.extend(row.as_ref().map(|row| Reverse((row.id, at))));
        take(states.exported(taken.pair, taken.record()?)?)?;
    }
    Ok(())
}

fn beside_messages<E: From<StoreError>>(
    tree: &Tree,
    take: &mut impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    for row in tree.scan_prefix(keys::PROFILES) {
        let (key, value) = row.map_err(reader::unreadable)?;
        let found = keys::parse_profile(&key).zip(decode_profile(&key, &value));
        let (user, profile) = found.ok_or_else(|| reader::not_whole("profile", &key))?;
        take(Record::Profile(user, profile))?;
    }
    for revocation in revoked::rows(tree).map_err(StoreError::Damaged)? {
        take(Record::Revocation(revocation))?;
    }
    for row in tree.scan_prefix(keys::GONE) {
        let (key, value) = row.map_err(reader::unreadable)?;
        let found = keys::parse_gone(&key).zip(Gone::decode(&key, &value));
        let (pair, gone) = found.ok_or_else(|| reader::not_whole("gone", &key))?;
        if let Some(gone) = gone_record(pair, gone) {
            take(Record::Gone(gone))?;
        }
    }
    Ok(())
}

fn gone_record(pair: Pair, Gone { ordinal, id }: Gone) -> Option<store::Gone> {
    let id = MessageId::new(id)?;
    (ordinal > 0).then_some(store::Gone { from: pair.from, to: pair.to, ordinal, id })
}

/// The read flags of the pairs that came by.
struct States<'a> {
    tree: &'a Tree,
    known: HashMap<Pair, ReadState>,
}

impl<'a> States<'a> {
    fn new(tree: &'a Tree) -> Self {
        Self { tree, known: HashMap::new() }
    }

    fn exported(&mut self, pair: Pair, record: MessageRecord) -> Result<Record, StoreError> {
        let MessageRecord { message, client_id } = record;
        if self.known.len() == STATES && !self.known.contains_key(&pair) {
            self.known.clear();
        }
        let state = match self.known.entry(pair) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(room) => {
                room.insert(reader::read_state(self.tree, pair)?)
            }
        };
        let read = state.holds(message.ordinal);
        Ok(Record::Message(Exported { message, client_id, read }))
    }
}
