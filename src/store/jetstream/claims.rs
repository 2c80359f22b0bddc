//! Which names of packets are taken, towards whichever recipient.
//!
//! Towards one recipient the stream knows a name again. Towards another one it is another
//! stream, or another message: that is looked up here, from what this node wrote and what it
//! heard of others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::sober_now;
use crate::digest::digest128;
use crate::ids::{Sender, UserId};
use crate::message::{ClientMsgId, StoredAt};

/// Names in the window, in the order in which they were taken.
pub(super) struct Claims {
    window: Duration,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    by_name: HashMap<[u8; 16], Claim>,
    oldest_first: VecDeque<(StoredAt, [u8; 16])>,
}

#[derive(Clone, Copy)]
struct Claim {
    to: UserId,
    at: StoredAt,
}

/// What came of taking a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// It was free.
    Now,
    /// It stood for a message to the same recipient already.
    Before,
    /// It stands for one to somebody else.
    Elsewhere,
}

impl Claims {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, taken: Mutex::default() }
    }

    /// Takes a name for a message to `to`.
    pub(super) fn take(&self, from: Sender, name: &ClientMsgId, to: UserId) -> Claimed {
        let now = sober_now();
        let mut taken = self.taken();
        taken.forget(now, self.window);
        let name = key(from, name);
        // What was heard late stands behind younger ones, and is over all the same.
        let young = |claim: &&Claim| is_young(claim.at, now, self.window);
        match taken.by_name.get(&name).filter(young) {
            Some(claim) if claim.to == to => Claimed::Before,
            Some(_) => Claimed::Elsewhere,
            None => {
                taken.add(name, Claim { to, at: now });
                Claimed::Now
            }
        }
    }

    /// Gives a name back for which nothing was written.
    pub(super) fn give_back(&self, from: Sender, name: &ClientMsgId) {
        self.taken().by_name.remove(&key(from, name));
    }

    /// There is a message of that name.
    pub(super) fn heard(&self, from: Sender, name: &ClientMsgId, to: UserId, at: StoredAt) {
        let now = sober_now();
        let mut taken = self.taken();
        taken.forget(now, self.window);
        let name = key(from, name);
        let is_newer = taken.by_name.get(&name).is_none_or(|known| known.at <= at);
        if is_newer && is_young(at, now, self.window) {
            taken.add(name, Claim { to, at });
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn add(&mut self, name: [u8; 16], claim: Claim) {
        self.by_name.insert(name, claim);
        self.oldest_first.push_back((claim.at, name));
    }

    fn forget(&mut self, now: StoredAt, window: Duration) {
        while let Some((at, name)) = self.oldest_first.front().copied() {
            if is_young(at, now, window) {
                return;
            }
            self.oldest_first.pop_front();
            // It may have been taken again since.
            if self.by_name.get(&name).is_some_and(|claim| claim.at == at) {
                self.by_name.remove(&name);
            }
        }
    }
}

/// Whether what was stored `at` is within `window`.
pub(super) fn is_young(at: StoredAt, now: StoredAt, window: Duration) -> bool {
    u128::from(now.0.saturating_sub(at.0)) < window.as_millis()
}

fn key(from: Sender, name: &ClientMsgId) -> [u8; 16] {
    digest128(&[&from.get().to_le_bytes(), name.as_str().as_bytes()])
}
