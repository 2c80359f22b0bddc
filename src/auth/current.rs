//! The key set in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::keys::KeySet;
use super::provided::Provided;

/// The key set in force, shared by all verifiers and replaced while they run: the file's
/// keys and a provider's, each without a thought of the other.
///
/// A token is checked with one set from beginning to end: the old one or the
/// new one, never a mixture.
#[derive(Clone, Debug)]
pub struct CurrentKeys(Arc<Current>);

#[derive(Debug)]
struct Current {
    set: ArcSwap<KeySet>,
    replaced: watch::Sender<()>,
    /// A token came in whose key is not there.
    missed: Notify,
}

impl CurrentKeys {
    /// Puts a first set in force.
    pub fn new(keys: KeySet) -> Self {
        let set = ArcSwap::from_pointee(keys);
        Self(Arc::new(Current { set, replaced: watch::Sender::new(()), missed: Notify::new() }))
    }

    /// Puts another set of the file in force, for every clone of this.
    pub fn replace(&self, keys: KeySet) {
        self.change(|now| keys.clone().beside(Arc::clone(now.provided())));
    }

    /// Puts a provider's keys in force, in the place of those that it had before.
    pub fn provide(&self, provided: Provided) {
        let provided = Arc::new(provided);
        self.change(|now| now.clone().beside(Arc::clone(&provided)));
    }

    fn change(&self, next: impl Fn(&KeySet) -> KeySet) {
        self.0.set.rcu(|now| next(now));
        // Behind the change: whoever is woken by it finds it.
        self.0.replaced.send_replace(());
    }

    /// The set in force now.
    pub fn get(&self) -> Arc<KeySet> {
        self.0.set.load_full()
    }

    /// Waits until a token has come in whose key is not there, now or since it was last
    /// waited for.
    pub async fn missed(&self) {
        self.0.missed.notified().await;
    }

    /// Says so.
    pub(super) fn miss(&self) {
        self.0.missed.notify_one();
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.0.replaced.subscribe()
    }
}
