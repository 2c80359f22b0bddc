//! The tokens that a connection lives by: the one it was opened with, and those that
//! refreshed it. It ends when one of them is taken back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::auth::{TokenRef, Verifier, Watch};

/// How many tokens that have not ended may stand behind one connection: more than a day has
/// where one comes every ten minutes. With so many it takes no further one, and ends in time.
const MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Tokens {
    verifier: Verifier,
    held: Mutex<Vec<Arc<TokenRef>>>,
}

impl Tokens {
    pub(super) fn new(first: Arc<TokenRef>, verifier: Verifier) -> Self {
        Self { verifier, held: Mutex::new(vec![first]) }
    }

    /// Whether there is room for `token`. What has ended takes none: it cannot be taken
    /// back any more.
    pub(super) fn has_room(&self, token: &TokenRef) -> bool {
        let now = SystemTime::now();
        let mut held = self.held();
        held.retain(|token| !token.has_ended(now));
        held.len() < MAX || held.iter().any(|held| **held == *token)
    }

    /// Lets the connection live by another token too.
    pub(super) fn add(&self, token: Arc<TokenRef>) {
        let mut held = self.held();
        if !held.contains(&token) {
            held.push(token);
        }
    }

    /// Whether all of them stand.
    pub(super) fn stand(&self) -> bool {
        self.held().iter().all(|token| self.verifier.stands(token))
    }

    /// Tells when that may have changed.
    pub(super) fn watch(&self) -> Watch {
        self.verifier.watch()
    }

    /// Waits until one of them does not stand.
    pub(super) async fn taken_back(&self) {
        // Before the first look, or a change between the two would be missed.
        let mut watch = self.watch();
        while self.stand() {
            watch.due().await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Arc<TokenRef>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
