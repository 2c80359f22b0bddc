//! Pages of a conversation: what two wrote to each other, out of two inboxes.
//!
//! A place in it is the id of the last message before it in either direction, that of the
//! lower user's inbox first; 0 where there is none.

use std::cmp::Ordering;
use std::collections::VecDeque;

use futures_util::future::try_join_all;

use super::log::{Log, Pair};
use super::read_state::ReadState;
use super::record::Kept;
use crate::ids::{ID_END, Sender, UserId};
use crate::store::{History, HistoryCursor, HistoryEntry, StoreError, Stretch};

/// One of the two directions.
struct Direction {
    part: u64,
    head: Option<Kept>,
    state: ReadState,
    /// The id at the cursor, and the sequence.
    edge: u64,
    at: u64,
}

impl Log {
    /// As the contract says.
    pub(super) async fn history(
        &self,
        user: UserId,
        peer: Sender,
        stretch: Stretch,
        limit: usize,
    ) -> Result<Option<History>, StoreError> {
        let edges = match stretch {
            Stretch::Newest => [ID_END - 1; 2],
            Stretch::Before(HistoryCursor(edges)) | Stretch::After(HistoryCursor(edges)) => edges,
        };
        if edges.iter().any(|edge| *edge >= ID_END) {
            return Err(StoreError::BadCursor);
        }
        let edges = self.edges(edges);
        let pairs = directions(user, peer);
        let horizon = self.horizon(&pairs).await?;
        let directions = pairs.into_iter().zip(edges);
        let directions = try_join_all(directions.map(|(pair, edge)| self.direction(pair, edge)));
        let mut directions = directions.await?;
        if directions.iter().all(|direction| direction.head.is_none()) {
            return Ok(None);
        }
        for direction in &mut directions {
            direction.at = match (stretch, self.names.place(direction.edge)) {
                (Stretch::Newest, _) => horizon,
                _ if self.names.is_old(direction.edge) => {
                    self.reached(direction.part, direction.edge).await?
                }
                (_, (_, 0)) => 0,
                (_, (part, seq)) if part == direction.part => seq,
                _ => return Err(StoreError::BadCursor),
            };
        }
        // One more than wanted tells whether there is more.
        let more = limit.saturating_add(1);
        let found = directions.iter().map(|direction| self.of(direction, stretch, horizon, more));
        let mut found = merge(try_join_all(found).await?);
        let (older, newer) = if let Stretch::After(cursor) = stretch {
            found.truncate(limit);
            let newer = place(&found, cursor.0);
            (self.has_older(&directions).await?.then_some(cursor), newer)
        } else {
            let newer = place(&found, [0; 2]);
            let rest = found.split_off(found.len().saturating_sub(limit));
            let before = std::mem::replace(&mut found, rest);
            ((!before.is_empty()).then(|| place(&before, [0; 2])), newer)
        };
        let entries = found.into_iter().map(|(at, kept)| {
            let state = directions.get(at).map(|direction| &direction.state);
            let read = state.is_some_and(|state| state.is_read(kept.chain.ordinal));
            HistoryEntry { message: kept.message, read }
        });
        Ok(Some(History { entries: entries.collect(), older, newer }))
    }

    /// Where a cursor stands in each direction. In the store that was moved in here one id said
    /// it for both.
    fn edges(&self, [one, other]: [u64; 2]) -> [u64; 2] {
        match other {
            0 if self.names.is_from_before(one) => [one; 2],
            _ => [one, other],
        }
    }

    async fn direction(&self, pair: Pair, edge: u64) -> Result<Direction, StoreError> {
        // The head before the marks: what is shown as unread was so when it was looked at.
        let head = self.head(pair).await?;
        let state = self.state(pair).await?;
        Ok(Direction { part: self.names.part(pair.to), head, state, edge, at: 0 })
    }

    /// Up to where both directions are known where they lie in one stream. Their heads are
    /// read one after the other: without it a message could be shown before an older one of
    /// the other direction.
    async fn horizon(&self, pairs: &[Pair]) -> Result<u64, StoreError> {
        let parts: Vec<u64> = pairs.iter().map(|pair| self.names.part(pair.to)).collect();
        match parts[..] {
            [one, other] if one == other => {
                Ok(self.reads.reach(&self.names.messages(one)).await?.last)
            }
            _ => Ok(u64::MAX),
        }
    }

    async fn of(
        &self,
        direction: &Direction,
        stretch: Stretch,
        horizon: u64,
        limit: usize,
    ) -> Result<Vec<Kept>, StoreError> {
        let Some(head) = &direction.head else { return Ok(Vec::new()) };
        let Stretch::After(_) = stretch else {
            return self.newest(head, direction.at.min(horizon), limit).await;
        };
        let mut found = self.following(head, direction.at, limit).await?;
        found.retain(|kept| kept.seq <= horizon);
        Ok(found)
    }

    /// Whether anything lies before a cursor.
    async fn has_older(&self, directions: &[Direction]) -> Result<bool, StoreError> {
        for direction in directions {
            if let Some(head) = &direction.head
                && !self.newest(head, direction.at, 1).await?.is_empty()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The directions of a conversation, that to the lower user first. Notes to oneself and
/// notices of the system have one.
fn directions(user: UserId, peer: Sender) -> Vec<Pair> {
    let own = Pair { to: user, from: peer };
    match own.answers().filter(|answers| *answers != own) {
        None => vec![own],
        Some(answers) if own < answers => vec![own, answers],
        Some(answers) => vec![answers, own],
    }
}

/// The place behind some messages; `before` where they are none.
fn place(found: &[(usize, Kept)], before: [u64; 2]) -> HistoryCursor {
    let mut place = before;
    for (at, kept) in found {
        if let Some(id) = place.get_mut(*at) {
            *id = kept.message.id.get();
        }
    }
    HistoryCursor(place)
}

/// Which of two messages of one conversation comes first. In one stream that is told by
/// their places, in two by the time at which they were stored; of those that were moved in
/// by the ids that they had, and they come before all others.
pub(super) fn order(one: &Kept, other: &Kept) -> Ordering {
    let of = |kept: &Kept| (kept.message.stored_at, kept.message.id);
    match (one.old, other.old) {
        _ if one.part == other.part => one.seq.cmp(&other.seq),
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => of(one).cmp(&of(other)),
    }
}

/// Both directions as one, each in its own order.
pub(super) fn merge(found: Vec<Vec<Kept>>) -> Vec<(usize, Kept)> {
    let mut queues: Vec<VecDeque<Kept>> = found.into_iter().map(VecDeque::from).collect();
    let mut merged = Vec::new();
    loop {
        let fronts = queues.iter().enumerate().filter_map(|(at, queue)| Some((at, queue.front()?)));
        let first = fronts.min_by(|(_, one), (_, other)| order(one, other));
        let Some(at) = first.map(|(at, _)| at) else {
            return merged;
        };
        merged.extend(queues.get_mut(at).and_then(VecDeque::pop_front).map(|kept| (at, kept)));
    }
}
