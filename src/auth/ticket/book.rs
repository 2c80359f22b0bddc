//! What nodes must know of each other's tickets: by which key they are checked, and which
//! were used.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

/// What stands for a ticket: a digest of its names, from which nobody makes the ticket.
pub type TicketDigest = [u8; 16];

/// A ticket that somebody came with. Times are whole seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Which one.
    pub ticket: TicketDigest,
    /// Its `exp`: it is refused for that from then on.
    pub exp: u64,
    /// What time it is.
    pub now: u64,
}

/// Nobody can be asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the nodes know of tickets can be neither read nor written now")]
pub struct BookUnavailable;

/// Where all nodes of a service keep what they must know of each other's tickets. Neither a
/// ticket nor what signs one is ever in it.
pub trait TicketBook: Send + Sync + fmt::Debug {
    /// Makes known to all nodes the public half of the key that signs this node's tickets, a
    /// JWK, for [`KEY_LIFE`](super::KEY_LIFE) at least.
    ///
    /// # Errors
    /// Perhaps it is known, perhaps not.
    fn announce<'a>(
        &'a self,
        kid: &'a str,
        key: String,
    ) -> BoxFuture<'a, Result<(), BookUnavailable>>;

    /// The key that another node has made known under this name; nothing where none has.
    ///
    /// # Errors
    /// Nobody can say.
    fn key<'a>(&'a self, kid: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, BookUnavailable>>;

    /// Takes note that a ticket is used, and says whether it was not before: of all who ask,
    /// at whichever nodes and at once, one is told so.
    ///
    /// # Errors
    /// Perhaps it is used from now on, perhaps not: it must open nothing.
    fn spend(&self, spent: Spent) -> BoxFuture<'_, Result<bool, BookUnavailable>>;
}

/// The book of a service that is one process, and gone with it.
#[derive(Debug, Default)]
pub struct OneNode {
    /// What was used, by its `exp`, until that is over.
    used: Mutex<BTreeSet<(u64, TicketDigest)>>,
}

impl OneNode {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.used.lock().unwrap().len()
    }
}

impl TicketBook for OneNode {
    /// There is nobody else to know.
    fn announce<'a>(
        &'a self,
        _kid: &'a str,
        _key: String,
    ) -> BoxFuture<'a, Result<(), BookUnavailable>> {
        ready(Ok(())).boxed()
    }

    fn key<'a>(&'a self, _kid: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, BookUnavailable>> {
        ready(Ok(None)).boxed()
    }

    /// Forgets what is over and so refused for that, which bounds what is remembered.
    fn spend(&self, spent: Spent) -> BoxFuture<'_, Result<bool, BookUnavailable>> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while used.first().is_some_and(|(exp, _)| *exp <= spent.now) {
            used.pop_first();
        }
        ready(Ok(used.insert((spent.exp, spent.ticket)))).boxed()
    }
}
