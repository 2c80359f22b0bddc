//! How a connection learns that the tokens it lives by may stand no more.

use futures_util::future::{Either, select};
use tokio::sync::watch;

use super::current::CurrentKeys;
use super::revocations::Revocations;

/// Tells when a token that was believed should be looked at again.
#[derive(Clone, Debug)]
pub struct Watch {
    keys: watch::Receiver<()>,
    revocations: watch::Receiver<()>,
}

impl Watch {
    pub(super) fn new(keys: &CurrentKeys, revocations: &Revocations) -> Self {
        Self { keys: keys.watch(), revocations: revocations.watch() }
    }

    /// Whether it should be looked at now. Takes no lock, so that it may be asked for
    /// every frame.
    pub fn is_due(&self) -> bool {
        // Who follows holds the other end too, in the verifier: it cannot be gone.
        self.keys.has_changed().unwrap_or(false) || self.revocations.has_changed().unwrap_or(false)
    }

    /// To be called before looking: what changes from then on is due again.
    pub fn looked(&mut self) {
        self.keys.mark_unchanged();
        self.revocations.mark_unchanged();
    }

    /// Waits until it is due.
    pub async fn due(&mut self) {
        let keys = std::pin::pin!(self.keys.changed());
        let revocations = std::pin::pin!(self.revocations.changed());
        let changed = match select(keys, revocations).await {
            Either::Left((changed, _)) | Either::Right((changed, _)) => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
