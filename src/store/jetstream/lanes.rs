//! What an append to a partition has to know of what lies there. How it is written says
//! `apart.rs` of one message, `group.rs` of several.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::Pair;
use super::packets::NamesOfLate;
use super::read_state::ReadState;
use super::record::{Chain, print};
use super::shared::Shared;
use crate::ids::{MessageId, UserId};
use crate::message::StoredAt;
use crate::store::StoreError;

/// Names of packets that are kept in mind, over all partitions: the last ones that this node
/// wrote.
const NAMES: usize = 1 << 16;

/// Heads that are kept in mind, over all partitions; past it all of a partition are read anew.
const HEADS: usize = 1 << 16;

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
    names: Mutex<NamesOfLate>,
}

impl Lane {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), heads: Mutex::default(), names: Mutex::default() }
    }

    /// Takes note of a name that is about to be written; false where this node has written
    /// it lately.
    pub(super) fn is_new(&self, name: &str) -> bool {
        locked(&self.names).is_new(name, self.share(NAMES))
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

    pub(super) fn id(&self, part: u64, seq: u64) -> Result<MessageId, StoreError> {
        let id = self.shared.log.names.id(part, seq);
        id.ok_or_else(|| StoreError::Damaged("there are no ids left".to_owned()))
    }

    /// Whether an inbox takes no more. Never by hearsay alone: a mark at another node may not
    /// have been heard of.
    pub(super) async fn is_full(&self, inbox: UserId) -> Result<bool, StoreError> {
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
        write.put(log).await.map(drop)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
