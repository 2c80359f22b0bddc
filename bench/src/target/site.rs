//! Where users connect: one server, or nodes that keep their messages in common.

use std::slice;
use std::time::Duration;

use anyhow::Result;

use super::Target;
use crate::meter::Meter;

/// The servers under test together. A pair's sender is on one node and its recipient on the
/// next, so that with two nodes half of the senders are on each.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    first: &'a Target,
    others: &'a [Target],
    store: &'a [Meter],
}

impl<'a> Site<'a> {
    /// One server.
    #[must_use]
    pub fn of(first: &'a Target) -> Self {
        Self { first, others: &[], store: &[] }
    }

    /// Nodes, and what the servers cost that they keep everything in; nothing without a node.
    #[must_use]
    pub fn of_nodes(nodes: &'a [Target], store: &'a [Meter]) -> Option<Self> {
        let (first, others) = nodes.split_first()?;
        Some(Self { first, others, store })
    }

    /// Where the sender of this pair connects.
    #[must_use]
    pub fn sender(&self, pair: usize) -> &'a Target {
        let at = pair % (self.others.len() + 1);
        at.checked_sub(1).and_then(|at| self.others.get(at)).unwrap_or(self.first)
    }

    /// Where its recipient does.
    #[must_use]
    pub fn recipient(&self, pair: usize) -> &'a Target {
        self.sender(pair + 1)
    }

    /// Tells all that there are these users, as [`Target::introduce`].
    ///
    /// # Errors
    /// As there.
    pub async fn introduce(&self, users: &[u64]) -> Result<()> {
        for target in self.all() {
            target.introduce(users).await?;
        }
        Ok(())
    }

    /// CPU time of the nodes so far, if all are on this machine.
    ///
    /// # Errors
    /// One is gone.
    pub fn cpu(&self) -> Result<Option<Duration>> {
        self.meters().map(|meters| meters.iter().map(Meter::cpu).sum()).transpose()
    }

    /// Resident memory of the nodes, in bytes, if all are on this machine.
    ///
    /// # Errors
    /// One is gone.
    pub fn resident(&self) -> Result<Option<u64>> {
        self.meters().map(|meters| meters.iter().map(Meter::resident).sum()).transpose()
    }

    /// CPU time of the servers that the nodes keep everything in, if there are any.
    ///
    /// # Errors
    /// One is gone.
    pub fn store_cpu(&self) -> Result<Option<Duration>> {
        let any = !self.store.is_empty();
        any.then(|| self.store.iter().map(Meter::cpu).sum()).transpose()
    }

    fn all(&self) -> impl Iterator<Item = &'a Target> {
        slice::from_ref(self.first).iter().chain(self.others)
    }

    fn meters(&self) -> Option<Vec<Meter>> {
        self.all().map(Target::meter).collect()
    }
}
