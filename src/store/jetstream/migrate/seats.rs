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

/// Of each pair of which something is gone: how many went, and where the last one lay.
pub(super) type Departed = BTreeMap<Pair, (u64, u64)>;

/// A user whose erasure goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Erasure {
    pub(super) user: UserId,
    /// Up to which id.
    up_to: u64,
    /// The same as the sequence in each partition.
    pub(super) limits: Vec<u64>,
}

/// Gives places, ids rising.
pub(super) struct Seats {
    names: Names,
    /// What is gone and not yet passed.
    gone: BTreeMap<u64, Gone>,
    last_id: u64,
    /// The next sequence of each partition.
    next: Vec<u64>,
    pub(super) departed: Departed,
    pub(super) erasures: Vec<Erasure>,
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
        let erasures = plan.erasures.iter();
        let erasures =
            erasures.map(|&(user, up_to)| Erasure { user, up_to, limits: vec![0; parts] });
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
        for erasure in self.erasures.iter_mut().filter(|erasure| id <= erasure.up_to) {
            if let Some(limit) = erasure.limits.get_mut(part as usize) {
                *limit = seq;
            }
        }
        Ok(Seat { part, seq, fill_from })
    }
}

#[cfg(test)]
mod tests {
    use super::super::holdings::Holdings;
    use super::*;
    use crate::ids::{MessageId, Sender};
    use crate::store::jetstream::jumps::Jumps;
    use crate::store::jetstream::names::Moved;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    /// Messages 12, 13 and 2^40, with 7 and 2^40 + 2 the last ones of what is gone, and ids
    /// given up to 2^40 + 5.
    fn plan(jumps: Jumps) -> Plan {
        let gone = [(7, 1, 3), ((1 << 40) + 2, 2, 9)].map(|(id, to, ordinal)| {
            let (from, to, message) = (Sender::System, user(to), MessageId::new(id).unwrap());
            (id, Gone { from, to, ordinal, id: message })
        });
        Plan {
            holdings: Holdings::default(),
            gone: gone.into(),
            first_id: 7,
            last_id: (1 << 40) + 5,
            lapsed: 0,
            jumps,
            erasures: vec![(user(1), 12), (user(2), 1)],
        }
    }

    /// Places of all: the sequence, and what is filled before it.
    fn seated(names: &Names, plan: &Plan) -> (Seats, Vec<Seat>) {
        let mut seats = Seats::new(names, plan);
        let mut taken = Vec::new();
        for (id, to) in [(12, 1), (13, 2), (1 << 40, 3)] {
            while let Some(seat) = seats.gone_before(id).unwrap() {
                taken.push(seat);
            }
            taken.push(seats.of(user(to), id).unwrap());
        }
        while let Some(seat) = seats.gone_before(u64::MAX).unwrap() {
            taken.push(seat);
        }
        taken.extend(seats.end().unwrap());
        (seats, taken)
    }

    #[test]
    fn with_one_partition_everything_lies_at_its_id() {
        let mut jumps = Jumps::default();
        jumps.add(13, 1 << 40);
        let plan = plan(jumps.clone());
        let moved = Moved { jumps, last_id: plan.last_id, lapsed: 0 };
        let names = Names::new("im", 1).with(moved);
        let (seats, taken) = seated(&names, &plan);
        let seat = |fill_from, seq| Seat { part: 0, seq, fill_from };
        let expected = [(7, 7), (8, 12), (13, 13), (14, 14), (15, 16), (17, 19)];
        assert_eq!(taken, expected.map(|(fill_from, seq)| seat(fill_from, seq)));
        let ids: Vec<u64> = taken.iter().map(|seat| names.number(0, seat.seq)).collect();
        let far = 1 << 40;
        assert_eq!(ids, [7, 12, 13, far, far + 2, far + 5]);
        let gone: Vec<(u64, u64)> = seats.departed.into_values().collect();
        assert_eq!(gone, [(3, 7), (9, 16)]);
        // An erasure goes up to where it went, and to nothing where all of it is gone.
        let limits: Vec<Vec<u64>> = seats.erasures.into_iter().map(|it| it.limits).collect();
        assert_eq!(limits, [vec![12], vec![0]]);
    }

    #[test]
    fn with_several_everything_follows_all_old_ids_in_its_order() {
        let plan = plan(Jumps::default());
        let moved = Moved { jumps: Jumps::default(), last_id: plan.last_id, lapsed: 0 };
        let names = Names::new("im", 3).with(moved);
        let (seats, taken) = seated(&names, &plan);
        assert_eq!(taken.len(), 5);
        for part in 0..3 {
            let begin = first(&names, &plan);
            assert!(names.number(part, begin) > plan.last_id);
            for (next, seat) in (begin..).zip(taken.iter().filter(|seat| seat.part == part)) {
                assert_eq!((seat.seq, seat.fill_from), (next, next));
            }
        }
        assert_eq!(seats.departed.len(), 2);
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let names = Names::new("im", 1);
        let mut seats = Seats::new(&names, &plan(Jumps::default()));
        seats.of(user(1), 12).unwrap();
        assert!(seats.of(user(1), 12).is_err());
    }
}
