//! Marks on their way: those that come while others are written wait, and go together then.
//!
//! A write costs the servers the same whether one mark is in it or many, and nobody waits
//! for a mark as they do for a message.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::log::Pair;
use super::marking::PIECE;
use super::read_state::ReadState;
use super::shared::Shared;
use super::together::{Together, put_together};
use super::trail::Step;
use super::writes::Write;
use crate::ids::ConnectionId;
use crate::store::StoreError;

/// Marks that are written in one go. The servers take 1,000 at the most.
const GROUP: usize = 256;

/// Islands of a read state that goes with others; a larger one goes by itself.
const ISLANDS: usize = 64;

type Outcome = Result<(), StoreError>;

/// Marks of a pair that came in on one connection.
type Key = (Pair, Option<ConnectionId>);

/// Marks that wait, by partition.
pub(super) struct Marks(Vec<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: HashMap<Key, Waiting>,
    /// Somebody writes what is here, and will look here again.
    is_written: bool,
}

#[derive(Default)]
struct Waiting {
    steps: Vec<Step>,
    replies: Vec<oneshot::Sender<Outcome>>,
}

/// Marks of one pair whose turn it is.
struct Mark {
    key: Key,
    waiting: Waiting,
}

impl Marks {
    pub(super) fn new(partitions: u64) -> Self {
        Self((0..partitions).map(|_| Mutex::default()).collect())
    }

    /// Adds some to those that wait; whether there is nobody yet who writes them.
    fn add(&self, part: u64, key: Key, steps: Vec<Step>, reply: oneshot::Sender<Outcome>) -> bool {
        let Some(mut queue) = self.of(part) else { return false };
        let waiting = queue.waiting.entry(key).or_default();
        waiting.steps.extend(steps);
        waiting.replies.push(reply);
        !std::mem::replace(&mut queue.is_written, true)
    }

    /// Takes those that wait; where none do, nobody writes any more.
    fn take(&self, part: u64) -> Option<Vec<Mark>> {
        let mut queue = self.of(part)?;
        if queue.waiting.is_empty() {
            queue.is_written = false;
            return None;
        }
        let waiting = std::mem::take(&mut queue.waiting).into_iter();
        let marks = waiting.map(|(key, mut waiting)| {
            waiting.steps.sort_unstable();
            waiting.steps.dedup();
            Mark { key, waiting }
        });
        Some(marks.collect())
    }

    fn of(&self, part: u64) -> Option<MutexGuard<'_, Queue>> {
        let queue = self.0.get(usize::try_from(part).ok()?)?;
        Some(queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whoever writes the marks of a partition. Should that end early, those that wait are told
/// and the next one begins anew.
struct Writer {
    shared: Arc<Shared>,
    part: u64,
    is_done: bool,
}

impl Writer {
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_done
            && let Some(mut queue) = self.shared.marks.of(self.part)
        {
            *queue = Queue::default();
        }
    }
}

impl Mark {
    fn answer(self, outcome: &Outcome) {
        for reply in self.waiting.replies {
            // Who is gone meanwhile needs no answer.
            let _ = reply.send(outcome.clone());
        }
    }
}

impl Shared {
    /// Marks some of a pair, together with whatever else comes until it is their turn.
    pub(super) async fn mark_soon(self: &Arc<Self>, key: Key, steps: Vec<Step>) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let part = self.log.names.part(key.0.to);
        if self.marks.add(part, key, steps, reply) {
            let writer = Writer { shared: Arc::clone(self), part, is_done: false };
            self.tasks.spawn(async move {
                while let Some(marks) = writer.shared.marks.take(part) {
                    writer.shared.write_marks(part, marks).await;
                }
                writer.done();
            });
        }
        outcome.await.unwrap_or(Err(StoreError::Unavailable))
    }

    async fn write_marks(&self, part: u64, marks: Vec<Mark>) {
        let mut marks = marks.into_iter().peekable();
        while marks.peek().is_some() {
            let some: Vec<Mark> = marks.by_ref().take(GROUP).collect();
            let apart = self.mark_together(part, some).await;
            join_all(apart.into_iter().map(|mark| self.mark_apart(mark))).await;
        }
    }

    /// Writes as many as can go together; gives back the others.
    async fn mark_together(&self, part: u64, marks: Vec<Mark>) -> Vec<Mark> {
        let states = join_all(marks.iter().map(|mark| self.state(mark.key.0))).await;
        let (mut together, mut apart) = (Vec::new(), Vec::new());
        let mut pairs = HashSet::new();
        for (mark, known) in marks.into_iter().zip(states) {
            let (pair, origin) = mark.key;
            let plain = mark.waiting.steps.len() <= PIECE && pairs.insert(pair);
            match known {
                Ok((at, state)) if plain && state.read.islands() <= ISLANDS => {
                    match state.marked(&mark.waiting.steps, origin) {
                        Some(state) => together.push((mark, at, state)),
                        None => mark.answer(&Ok(())),
                    }
                }
                // What is wrong shows there.
                _ => apart.push(mark),
            }
        }
        if together.len() < 2 {
            apart.extend(together.into_iter().map(|(mark, ..)| mark));
            return apart;
        }
        let writes =
            together.iter().map(|(mark, at, state)| self.log.state_write(mark.key.0, *at, state));
        let writes: Vec<Write> = writes.collect();
        let outcome = put_together(&self.log, &writes.iter().collect::<Vec<_>>()).await;
        match outcome {
            Ok(Together::From(first)) => {
                for (seq, (mark, _, state)) in (first..).zip(together) {
                    self.marked(mark.key.0, part, seq, &state);
                    mark.answer(&Ok(()));
                }
            }
            Ok(Together::Not { .. }) => {
                for (mark, ..) in together {
                    self.states.forget(mark.key.0);
                    apart.push(mark);
                }
            }
            Err(error) => {
                for (mark, ..) in together {
                    self.states.forget(mark.key.0);
                    mark.answer(&Err(error.clone()));
                }
            }
        }
        apart
    }

    async fn mark_apart(&self, mark: Mark) {
        let (pair, origin) = mark.key;
        let mut outcome = Ok(());
        for piece in mark.waiting.steps.chunks(PIECE) {
            outcome = self.mark(pair, piece, origin).await;
            if outcome.is_err() {
                break;
            }
        }
        mark.answer(&outcome);
    }

    /// What was read of a pair, and where that lies; 0: nowhere.
    pub(super) async fn state(&self, pair: Pair) -> Result<(u64, ReadState), StoreError> {
        if let Some(known) = self.states.known(pair) {
            return Ok(known);
        }
        let names = &self.log.names;
        let stream = names.reads(names.part(pair.to));
        match self.log.reads.last(&stream, &names.read(pair.to, pair.from)).await? {
            Some(raw) => Ok((raw.seq, ReadState::parse(&raw.payload)?)),
            None => Ok((0, ReadState::default())),
        }
    }

    /// Takes note of a state that was written.
    pub(super) fn marked(&self, pair: Pair, part: u64, seq: u64, state: &ReadState) {
        self.wrote(&self.log.names.reads(part), seq);
        self.tallies.marked(pair.to, pair.from, state);
        self.states.learn(pair, seq, state);
    }
}
