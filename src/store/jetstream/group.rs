//! Several messages to one stream in one go: all of them are written or none, for one answer
//! and one write to the disks of each server.
//!
//! Whatever is not plain goes apart, one by one: a packet that may have been stored before, an
//! inbox that is full, a group that another node's write got in the way of.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout_at};

use super::claims::Claimed;
use super::lanes::{Head, Lane};
use super::line::{OnItsWay, Waiting};
use super::log::Pair;
use super::packets::{body, client_id, name_of};
use super::record::print;
use super::together::{Together, put_together};
use super::writes::{Write, tell};
use crate::ids::UserId;
use crate::store::{AppendError, Appended, ResendKey};

/// A message that goes with others.
struct Entry {
    waiting: Waiting,
    claimed: Option<Claimed>,
    name: String,
    write: Write,
}

/// A message that goes by itself.
pub(super) struct Apart {
    waiting: Waiting,
    /// What came of taking its name, where that was done.
    claimed: Option<Claimed>,
    /// The name of the group's try, which may have been written.
    name: Option<String>,
}

/// A group on its way to being one.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    /// The newest of each pair as it will be: where what is not known yet is a place in here.
    heads: HashMap<Pair, Head>,
    /// How many go to an inbox.
    counts: HashMap<UserId, u64>,
    apart: BTreeMap<UserId, VecDeque<Apart>>,
}

impl Lane {
    /// Writes what can go together, and gives back, by inbox and in their order, what has to
    /// go apart behind it.
    pub(super) async fn write_group(
        &self,
        waiting: Vec<Waiting>,
        on_its_way: &OnItsWay,
    ) -> BTreeMap<UserId, VecDeque<Apart>> {
        let waiting = in_time(waiting);
        self.look_up(&waiting).await;
        let mut group = Group::default();
        for waiting in waiting {
            self.sort(&mut group, waiting);
        }
        let Group { mut entries, heads, mut apart, .. } = group;
        let alone = match entries.len() {
            0 | 1 => {
                // Not given back: as long as it is written, a group gathers behind it.
                self.one_by_one(entries.drain(..).map(Apart::from).collect()).await;
                entries
            }
            _ => self.put(entries, heads, on_its_way).await,
        };
        // These come before what goes apart anyway.
        for entry in alone.into_iter().rev() {
            let inbox = apart.entry(entry.waiting.draft.to).or_default();
            inbox.push_front(entry.into());
        }
        apart
    }

    /// Reads what has to be known and is not, all at once, for as long as the first of those
    /// who wait has time.
    async fn look_up(&self, waiting: &[Waiting]) {
        let drafts = waiting.iter().map(|waiting| &waiting.draft);
        let pairs: BTreeSet<Pair> =
            drafts.map(|draft| Pair { to: draft.to, from: draft.from }).collect();
        let inboxes: BTreeSet<UserId> = pairs.iter().map(|pair| pair.to).collect();
        let tallies = &self.shared.tallies;
        let uncounted = inboxes.into_iter().filter(|inbox| tallies.unread(*inbox).is_none());
        let unknown = pairs.into_iter().filter(|pair| self.known_head(*pair).is_none());
        // Whatever cannot be read goes apart, and says so there.
        let reading = join(
            join_all(uncounted.map(|inbox| self.unread(inbox))),
            join_all(unknown.map(|pair| self.head(pair))),
        );
        let first = waiting.iter().map(Waiting::end).min();
        let _ = timeout_at(first.unwrap_or_else(Instant::now), reading).await;
    }

    /// Finds a message its place in the group, or apart.
    fn sort(&self, group: &mut Group, waiting: Waiting) {
        let draft = &waiting.draft;
        let (inbox, pair) = (draft.to, Pair { to: draft.to, from: draft.from });
        // Behind one of its inbox that goes apart, so does it.
        if let Some(apart) = group.apart.get_mut(&inbox) {
            return apart.push_back(Apart { waiting, claimed: None, name: None });
        }
        let claimed = match &draft.resend {
            ResendKey::Client { again: true, .. } => {
                return group.set_apart(waiting, None);
            }
            ResendKey::Client { id, .. } => Some(self.shared.claims.take(draft.from, id, inbox)),
            _ => None,
        };
        let name = name_of(draft);
        // Perhaps stored before: one of a name that is known makes the whole group fail.
        let known = matches!(claimed, Some(Claimed::Before | Claimed::Elsewhere));
        let count = group.counts.get(&inbox).copied().unwrap_or_default();
        let unread = self.shared.tallies.unread(inbox);
        let has_room = unread.is_some_and(|unread| unread + count < self.shared.rules.unread_max);
        let head = group.heads.get(&pair).cloned().or_else(|| self.known_head(pair));
        let (Some(head), true) = (head, has_room && !known && self.is_new(&name)) else {
            return group.set_apart(waiting, claimed);
        };
        let place = group.entries.len() as u64;
        let stored_at = self.shared.clock.stamp(pair, head.stored_at);
        let payload = body(draft, &head.next, stored_at, Some(place));
        let write = self.shared.log.message_write(pair, payload).named(&name).until(waiting.end());
        let write = match group.heads.contains_key(&pair) {
            // Its place in the group says the same.
            true => write,
            false => write.after(head.seq),
        };
        let next = head.next.next_in_group(place, print(client_id(draft)));
        group.heads.insert(pair, Head { seq: place, next, stored_at });
        group.counts.insert(inbox, count + 1);
        group.entries.push(Entry { waiting, claimed, name, write });
    }

    /// Writes a group and answers for it; gives it back where its messages must go apart.
    async fn put(
        &self,
        entries: Vec<Entry>,
        heads: HashMap<Pair, Head>,
        on_its_way: &OnItsWay,
    ) -> Vec<Entry> {
        let began = Instant::now();
        let writes: Vec<&Write> = entries.iter().map(|entry| &entry.write).collect();
        let mut outcome = put_together(&self.shared.log, &writes).await;
        if let Ok(Together::Not { unsure: true }) = outcome
            && let Some(first) = self.place_of(&entries).await
        {
            tell(&self.shared.client, first, &writes).await;
            outcome = Ok(Together::From(first));
        }
        match outcome {
            Ok(Together::From(first)) => {
                self.shared.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
                on_its_way.is_answered();
                self.written(entries, heads, first);
                Vec::new()
            }
            Ok(Together::Not { .. }) => {
                // Perhaps another node wrote to one of the pairs.
                heads.keys().for_each(|pair| self.forget_head(*pair));
                entries
            }
            Err(error) => {
                tracing::warn!(%error, messages = entries.len(), "messages could not be stored");
                for Entry { waiting, .. } in entries {
                    let _ = waiting.reply.send(Err(AppendError::Unavailable));
                }
                heads.keys().for_each(|pair| self.forget_head(*pair));
                Vec::new()
            }
        }
    }

    /// Where a group lies that was perhaps written: all of it does, or nothing. Nothing, too,
    /// where that cannot be read now.
    async fn place_of(&self, entries: &[Entry]) -> Option<u64> {
        let log = &self.shared.log;
        let (first, last) = entries.first().zip(entries.last())?;
        let found = Write::find(log, &last.write.subject, &last.name).await.ok()??;
        let begin = (found + 1).checked_sub(entries.len() as u64)?;
        let stream = log.names.messages(log.names.part(last.waiting.draft.to));
        // What was written apart, by another node, says another thing of those before it.
        for (seq, entry) in [(begin, first), (found, last)] {
            let raw = log.reads.get(&stream, seq).await.ok()??;
            if raw.payload != entry.write.payload || raw.subject != entry.write.subject {
                return None;
            }
        }
        Some(begin)
    }

    /// Takes note of a group that lies there from `first` on, and answers.
    fn written(&self, entries: Vec<Entry>, heads: HashMap<Pair, Head>, first: u64) {
        let shared = &self.shared;
        let Some(inbox) = entries.first().map(|entry| entry.waiting.draft.to) else { return };
        let part = shared.log.names.part(inbox);
        let (count, names) = (entries.len() as u64, &shared.log.names);
        let last = first + count - 1;
        shared.wrote(&names.messages(part), last);
        shared.metrics.stored(count, names.number(part, last));
        for (pair, head) in heads {
            shared.tallies.stored(pair.to, pair.from, head.next.ordinal.saturating_sub(1));
            shared.clock.heard(pair, head.stored_at);
            let next = head.next.settled(first);
            self.learn_head(pair, Head { seq: first + head.seq, next, ..head });
        }
        for (seq, Entry { waiting, .. }) in (first..).zip(entries) {
            let id = self.id(part, seq).map_err(|error| {
                tracing::error!(%error, "a message has no id");
                AppendError::Unavailable
            });
            // Who is gone meanwhile is not answered, but what they sent is stored.
            let _ = waiting.reply.send(id.map(|id| Appended { id, duplicate: false }));
        }
    }

    /// Writes messages of one inbox, each when the one before it is written.
    pub(super) async fn one_by_one(&self, inbox: VecDeque<Apart>) {
        for Apart { waiting, claimed, name } in inbox {
            // As at the beginning: those before it may have taken long.
            let outcome = match Instant::now() < waiting.end() {
                true => self.append(&waiting, claimed, name).await,
                false => Err(AppendError::Unavailable),
            };
            let _ = waiting.reply.send(outcome);
        }
    }
}

/// Those whose time is not over yet. The others are told so: while nothing can be written,
/// nobody waits for the patience of all before them.
fn in_time(waiting: Vec<Waiting>) -> Vec<Waiting> {
    let (in_time, late): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|waiting| Instant::now() < waiting.end());
    for Waiting { reply, .. } in late {
        let _ = reply.send(Err(AppendError::Unavailable));
    }
    in_time
}

impl From<Entry> for Apart {
    fn from(Entry { waiting, claimed, name, .. }: Entry) -> Self {
        Self { waiting, claimed, name: Some(name) }
    }
}

impl Group {
    fn set_apart(&mut self, waiting: Waiting, claimed: Option<Claimed>) {
        let inbox = waiting.draft.to;
        self.apart.entry(inbox).or_default().push_back(Apart { waiting, claimed, name: None });
    }
}
