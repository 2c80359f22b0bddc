//! Which sequence everything gets that is moved: with one partition that of its id, so that
//! the id stays; with several the next one of its partition, so that the order stays.

use std::collections::BTreeMap;

use super::super::log::Pair;
use super::super::names::Names;
use super::plan::Plan;
use crate::ids::UserId;
use crate::store::{Gone, StoreError};

/// A place in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) part: u64,
    pub(super) seq: u64,
    /// The first sequence before it that would stay empty, which no stream lets be.
    pub(super) fill_from: u64,
}

/// Gives places, ids rising.
pub(super) struct Seats {
    names: Names,
    /// What is gone and not yet passed.
    gone: BTreeMap<u64, Gone>,
    last_id: u64,
    /// The next sequence of each partition.
    next: Vec<u64>,
    /// Where the last message of each pair lies that is gone, and how many went.
    pub(super) departed: BTreeMap<Pair, (u64, u64)>,
    /// Users whose erasure goes on: up to which id, and up to which sequence of each partition.
    pub(super) erasures: Vec<(UserId, u64, Vec<u64>)>,
}

/// The sequence with which each stream of messages begins.
pub(super) fn first(names: &Names, plan: &Plan) -> u64 {
    match names.partitions() {
        1 => plan.first_id.max(1),
        _ => names.first_new(),
    }
}

impl Seats {
    pub(super) fn new(names: &Names, plan: &Plan) -> Self {
        let parts = names.partitions() as usize;
        let erasures = plan.erasures.iter().map(|(user, id)| (*user, *id, vec![0; parts]));
        Self {
            names: names.clone(),
            gone: plan.gone.clone(),
            last_id: plan.last_id,
            next: vec![first(names, plan); parts],
            departed: BTreeMap::new(),
            erasures: erasures.collect(),
        }
    }

    /// The next place of something gone that comes before the message `id`.
    pub(super) fn gone_before(&mut self, id: u64) -> Result<Option<Seat>, StoreError> {
        let Some(gone) = self.gone.first_entry().filter(|gone| *gone.key() < id) else {
            return Ok(None);
        };
        let gone = gone.remove();
        let pair = Pair { to: gone.to, from: gone.from };
        let seat = self.of(gone.to, gone.id.get())?;
        self.departed.insert(pair, (gone.ordinal, seat.seq));
        Ok(Some(seat))
    }

    /// The place of the last id that was given, where nothing lies there: no id up to it may
    /// be given again.
    pub(super) fn end(&mut self) -> Result<Option<Seat>, StoreError> {
        let is_free = self.next.first().is_some_and(|next| {
            self.names.partitions() == 1 && *next <= self.names.seq_up_to(0, self.last_id)
        });
        is_free.then(|| self.at(0, self.last_id)).transpose()
    }

    /// The place of the message `id` to a user.
    pub(super) fn of(&mut self, to: UserId, id: u64) -> Result<Seat, StoreError> {
        self.at(self.names.part(to), id)
    }

    fn at(&mut self, part: u64, id: u64) -> Result<Seat, StoreError> {
        let wrong = || StoreError::Damaged(format!("the message {id} does not follow the others"));
        let next = self.next.get_mut(part as usize).ok_or_else(wrong)?;
        let fill_from = *next;
        let seq = match self.names.partitions() {
            1 => self.names.place(id).1,
            _ => *next,
        };
        if seq < fill_from {
            return Err(wrong());
        }
        *next = seq + 1;
        for (_, up_to, limits) in &mut self.erasures {
            if id <= *up_to
                && let Some(limit) = limits.get_mut(part as usize)
            {
                *limit = seq;
            }
        }
        Ok(Seat { part, seq, fill_from })
    }
}
