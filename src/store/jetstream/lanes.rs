//! One message after the other: what an append has to know, and how it is written by
//! itself.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::claims::{Claimed, is_young};
use super::log::Pair;
use super::read_state::ReadState;
use super::record::{Body, Chain, Kept, print};
use super::shared::Shared;
use super::writes::{Write, Written};
use crate::digest::digest128;
use crate::ids::{MessageId, UserId};
use crate::message::StoredAt;
use crate::store::{AppendError, Appended, Draft, PacketDigest, ResendKey, StoreError};

/// Heads that are kept in mind, over all partitions; past it all of a partition are read anew.
const HEADS: usize = 1 << 16;

/// Names of packets that are kept in mind, over all partitions: the last ones that this node
/// wrote.
const NAMES: usize = 1 << 16;

/// How often others may get in between before it is given up.
const TRIES: usize = 1000;

/// What the next message of a pair has to know of the last.
#[derive(Clone)]
pub(super) struct Head {
    /// Its sequence; 0: there is none.
    pub(super) seq: u64,
    /// What the next one's chain is.
    pub(super) next: Chain,
    pub(super) stored_at: StoredAt,
}

/// What writes to a partition. Of one inbox, one call at a time.
pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    heads: Mutex<HashMap<Pair, Head>>,
    names: Mutex<Names>,
}

/// Prints of names, in the order in which they were written.
#[derive(Default)]
struct Names {
    hasher: RandomState,
    known: HashSet<u64>,
    oldest_first: VecDeque<u64>,
}

impl Lane {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), heads: Mutex::default(), names: Mutex::default() }
    }

    /// Appends a message; `claimed` says what came of taking its name, and `name` by which one
    /// it was perhaps written, where that was done.
    pub(super) async fn append(
        &self,
        draft: &Draft,
        claimed: Option<Claimed>,
        name: Option<String>,
    ) -> Result<Appended, AppendError> {
        let name = name.unwrap_or_else(|| name_of(draft));
        let ResendKey::Client { id, again } = &draft.resend else {
            return self.write(draft, name).await;
        };
        let take = || self.shared.claims.take(draft.from, id, draft.to);
        let claimed = claimed.unwrap_or_else(take);
        if claimed == Claimed::Elsewhere {
            return Err(AppendError::IdReused);
        }
        let first = match again {
            false => Ok(None),
            true => self.named(draft).await,
        };
        let mut is_over = false;
        let outcome = match first {
            Ok(Some(first)) => {
                let window = self.shared.rules.dedup_window;
                is_over = !is_young(first.message.stored_at, StoredAt::now(), window);
                same(draft, &first)
            }
            Ok(None) => self.write(draft, name).await,
            Err(_) => Err(AppendError::Unavailable),
        };
        // A message from before the window keeps its name from nobody.
        if claimed == Claimed::Now && (is_over || is_refused(&outcome)) {
            self.shared.claims.give_back(draft.from, id);
        }
        outcome
    }

    /// Takes note of a name that is about to be written; false where this node has written
    /// it lately.
    pub(super) fn is_new(&self, name: &str) -> bool {
        let bound = self.share(NAMES);
        let mut names = locked(&self.names);
        let print = names.hasher.hash_one(name);
        if !names.known.insert(print) {
            return false;
        }
        names.oldest_first.push_back(print);
        if names.oldest_first.len() > bound
            && let Some(oldest) = names.oldest_first.pop_front()
        {
            names.known.remove(&oldest);
        }
        true
    }

    /// The newest message of a pair, where that is known.
    pub(super) fn known_head(&self, pair: Pair) -> Option<Head> {
        locked(&self.heads).get(&pair).cloned()
    }

    pub(super) fn learn_head(&self, pair: Pair, head: Head) {
        let bound = self.share(HEADS);
        let mut heads = locked(&self.heads);
        if heads.len() >= bound {
            heads.clear();
        }
        heads.insert(pair, head);
    }

    pub(super) fn forget_head(&self, pair: Pair) {
        locked(&self.heads).remove(&pair);
    }

    /// The part of a bound that is this partition's.
    fn share(&self, of: usize) -> usize {
        let partitions = usize::try_from(self.shared.log.names.partitions()).unwrap_or(usize::MAX);
        (of / partitions.max(1)).max(256)
    }

    /// The newest message of a pair with the name of `draft`, however old.
    async fn named(&self, draft: &Draft) -> Result<Option<Kept>, StoreError> {
        let ResendKey::Client { id, .. } = &draft.resend else { return Ok(None) };
        let log = &self.shared.log;
        let Some(head) = log.head(Pair { to: draft.to, from: draft.from }).await? else {
            return Ok(None);
        };
        for seq in log.printed(&head, print(Some(id))).await? {
            let kept = log.messages(head.part, &[seq]).await?.pop();
            if let Some(kept) = kept.filter(|kept| kept.client_id.as_ref() == Some(id)) {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    async fn write(&self, draft: &Draft, name: String) -> Result<Appended, AppendError> {
        let outcome = self.try_write(draft, name).await;
        outcome.unwrap_or_else(|error| {
            tracing::warn!(%error, "a message could not be stored");
            Err(AppendError::Unavailable)
        })
    }

    async fn try_write(
        &self,
        draft: &Draft,
        mut name: String,
    ) -> Result<Result<Appended, AppendError>, StoreError> {
        let pair = Pair { to: draft.to, from: draft.from };
        let log = &self.shared.log;
        let subject = log.names.message(draft.to, draft.from);
        let is_full = self.is_full(draft.to).await?;
        for _ in 0..TRIES {
            if is_full {
                // Nothing is written, but a resend is still known.
                let known = Write::find(&self.shared.log.context, &subject, &name).await?;
                match known {
                    None => return Ok(Err(AppendError::InboxFull)),
                    Some(seq) => match self.known(draft, seq).await? {
                        Known::Same(outcome) => return Ok(outcome),
                        Known::Over => name = successor(&name, seq),
                    },
                }
                continue;
            }
            let head = self.head(pair).await?;
            let stored_at = self.shared.clock.stamp(pair, head.stored_at);
            let payload = body(draft, &head.next, stored_at, None);
            let write = log.message_write(pair, payload).after(head.seq).named(&name);
            let began = Instant::now();
            match write.put(&log.context).await? {
                Written::At(seq) => {
                    // Every message is a commit of its own.
                    let metrics = &self.shared.metrics;
                    metrics.messages.inc();
                    metrics.commit_messages.observe(1.0);
                    metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
                    return self.stored(draft, &head, seq, stored_at).map(Ok);
                }
                Written::Before(seq) => {
                    // Perhaps this very one, whose answer was lost.
                    self.forget_head(pair);
                    match self.known(draft, seq).await? {
                        Known::Same(outcome) => return Ok(outcome),
                        Known::Over => name = successor(&name, seq),
                    }
                }
                Written::Lost => {
                    self.shared.metrics.cluster.overtaken.inc();
                    self.forget_head(pair);
                }
            }
        }
        Err(StoreError::Unavailable)
    }

    /// Takes note of what was written.
    fn stored(
        &self,
        draft: &Draft,
        head: &Head,
        seq: u64,
        stored_at: StoredAt,
    ) -> Result<Appended, StoreError> {
        let shared = &self.shared;
        let part = shared.log.names.part(draft.to);
        shared.wrote(&shared.log.names.messages(part), seq);
        shared.tallies.stored(draft.to, draft.from, head.next.ordinal);
        let next = head.next.next(seq, print(client_id(draft)));
        let pair = Pair { to: draft.to, from: draft.from };
        self.shared.clock.heard(pair, stored_at);
        self.learn_head(pair, Head { seq, next, stored_at });
        Ok(Appended { id: self.id(part, seq)?, duplicate: false })
    }

    pub(super) fn id(&self, part: u64, seq: u64) -> Result<MessageId, StoreError> {
        let id = self.shared.log.names.id(part, seq);
        id.ok_or_else(|| StoreError::Damaged("there are no ids left".to_owned()))
    }

    /// Whether what lies at `seq` under the name of a draft is the same packet.
    async fn known(&self, draft: &Draft, seq: u64) -> Result<Known, StoreError> {
        let shared = &self.shared;
        let part = shared.log.names.part(draft.to);
        let duplicate = Appended { id: self.id(part, seq)?, duplicate: true };
        let Some(first) = shared.log.messages(part, &[seq]).await?.pop() else {
            // Of a message that is gone nobody knows any more what it said, nor when.
            return Ok(Known::Same(Ok(duplicate)));
        };
        let window = match &draft.resend {
            // The name was drawn for this try alone.
            ResendKey::None => {
                return Ok(Known::Same(Ok(Appended { duplicate: false, ..duplicate })));
            }
            ResendKey::Packet(_) => shared.rules.resend_window,
            ResendKey::Client { .. } => shared.rules.dedup_window,
        };
        if !is_young(first.message.stored_at, StoredAt::now(), window) {
            return Ok(Known::Over);
        }
        Ok(Known::Same(same(draft, &first)))
    }

    /// Whether an inbox takes no more. Never by hearsay alone: a mark at another node may not
    /// have been heard of.
    async fn is_full(&self, inbox: UserId) -> Result<bool, StoreError> {
        let most = self.shared.rules.unread_max;
        if self.unread(inbox).await? < most {
            return Ok(false);
        }
        self.shared.tallies.forget_one(inbox);
        Ok(self.unread(inbox).await? >= most)
    }

    /// How many unread messages an inbox has.
    pub(super) async fn unread(&self, inbox: UserId) -> Result<u64, StoreError> {
        let shared = &self.shared;
        if let Some(unread) = shared.tallies.unread(inbox) {
            return Ok(unread);
        }
        shared.tallies.begin(inbox);
        let (heads, states) = shared.log.inbox(inbox).await?;
        let newest = heads.into_iter().map(|(peer, head)| (peer, head.chain.ordinal));
        Ok(shared.tallies.count(inbox, newest, states.into_iter()))
    }

    /// The newest message of a pair; where there is none, what is known of those gone.
    pub(super) async fn head(&self, pair: Pair) -> Result<Head, StoreError> {
        if let Some(head) = self.known_head(pair) {
            return Ok(head);
        }
        let log = &self.shared.log;
        let head = match log.head(pair).await? {
            Some(kept) => Head {
                seq: kept.seq,
                next: kept.chain.next(kept.seq, print(kept.client_id.as_ref())),
                stored_at: kept.message.stored_at,
            },
            None => {
                let gone = log.state(pair).await?.gone;
                self.acquaint(pair).await?;
                Head { seq: 0, next: Chain::first(gone + 1), stored_at: StoredAt(0) }
            }
        };
        self.learn_head(pair, head.clone());
        Ok(head)
    }

    /// Notes with the sender whom they write to: their list of conversations has no other
    /// way to know.
    async fn acquaint(&self, pair: Pair) -> Result<(), StoreError> {
        let Some(answers) = pair.answers() else { return Ok(()) };
        let log = &self.shared.log;
        let write = log.state_write(answers, 0, &ReadState::default());
        // Where there is one already, it is known.
        write.put(&log.context).await.map(drop)
    }
}

/// Whether a name stands for nothing that was written. It does stand for what was written
/// before, perhaps by a first try of the same call whose answer was lost, and for what perhaps
/// was.
fn is_refused(outcome: &Result<Appended, AppendError>) -> bool {
    matches!(outcome, Err(AppendError::IdReused | AppendError::InboxFull))
}

/// What a name that is known stands for.
enum Known {
    /// The same packet, or another one that may not have this name.
    Same(Result<Appended, AppendError>),
    /// One from before its window.
    Over,
}

/// The outcome of a try of `first`, which is another message where the contents differ.
fn same(draft: &Draft, first: &Kept) -> Result<Appended, AppendError> {
    let is_named = matches!(draft.resend, ResendKey::Client { .. });
    if is_named && first.message.content != draft.content {
        return Err(AppendError::IdReused);
    }
    Ok(Appended { id: first.message.id, duplicate: true })
}

/// The message as it is written: by itself, or at this place of a group.
pub(super) fn body(
    draft: &Draft,
    chain: &Chain,
    stored_at: StoredAt,
    place: Option<u64>,
) -> bytes::Bytes {
    let digest = match &draft.resend {
        ResendKey::Packet(digest) => Some(*digest),
        _ => None,
    };
    let body = Body {
        chain,
        stored_at,
        timestamp: &draft.timestamp,
        content: &draft.content,
        client_id: client_id(draft),
        digest,
        origin: draft.origin,
    };
    place.map_or_else(|| body.write(), |place| body.write_grouped(place))
}

pub(super) fn client_id(draft: &Draft) -> Option<&crate::message::ClientMsgId> {
    match &draft.resend {
        ResendKey::Client { id, .. } => Some(id),
        _ => None,
    }
}

/// The name by which a stream knows every try of a packet again.
pub(super) fn name_of(draft: &Draft) -> String {
    let (to, from) = (draft.to, draft.from.get());
    let digest = match &draft.resend {
        ResendKey::None => return format!("r{}", hex(&fastrand::u128(..).to_le_bytes())),
        ResendKey::Packet(PacketDigest(digest)) => *digest,
        // A client's name may hold what no header can.
        ResendKey::Client { id, .. } => digest128(&[id.as_str().as_bytes()]),
    };
    let kind = if matches!(draft.resend, ResendKey::Packet(_)) { 'p' } else { 'c' };
    format!("{kind}{to}.{from}.{}", hex(&digest))
}

/// The name of the packet that follows one at `seq` whose window is over: the stream may
/// remember for longer than it should.
pub(super) fn successor(name: &str, seq: u64) -> String {
    let first = name.split('~').next().unwrap_or_default();
    format!("{first}~{seq}")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_back_only_where_nothing_was_written() {
        let id = MessageId::new(1).unwrap();
        for duplicate in [false, true] {
            assert!(!is_refused(&Ok(Appended { id, duplicate })), "{duplicate}");
        }
        assert!(!is_refused(&Err(AppendError::Unavailable)));
        for refused in [AppendError::IdReused, AppendError::InboxFull] {
            assert!(is_refused(&Err(refused)));
        }
    }
}
