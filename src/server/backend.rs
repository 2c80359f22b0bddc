//! The store that is configured, and what has its place where the messages have theirs.

use std::sync::Arc;

use tokio::runtime::Handle;
use tracing::warn;

use super::{RunError, StartError};
use crate::admin::Audit;
use crate::admin::audit::node_name;
use crate::auth::{OneNode, TicketBook};
use crate::config::{Backend, Config};
use crate::metrics::StoreMetrics;
use crate::store::jetstream::Neighbours;
use crate::store::{self, Store, Tail};

/// The store, and what goes where the store goes.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) tail: Tail,
    pub(super) tickets: Arc<dyn TicketBook>,
    pub(super) audit: Audit,
    /// The other nodes, where there can be any.
    pub(super) neighbours: Option<Arc<Neighbours>>,
}

/// Opens the store that is configured.
pub(super) async fn open(config: &Config, metrics: StoreMetrics) -> Result<Opened, RunError> {
    let (store, limits) = (config.store.clone(), config.limits.clone());
    match store.backend {
        Backend::Sled => {
            let audit = Audit::at(&config.store.path);
            let log = audit.clone();
            // Off the runtime's threads: it reads everything.
            let opening = move || {
                let opened = store::sled::open(&store, &limits, metrics)?;
                // Messages do not need it, and so it stops no start.
                if let Err(error) = log.may_go_on() {
                    warn!(%error, "nothing can be written down that administrators do, so none of it is done");
                }
                Ok(opened)
            };
            let opened =
                tokio::task::spawn_blocking(opening).await.map_err(|_| RunError::Crashed)?;
            let (store, tail) = opened.map_err(StartError::Store)?;
            let tickets = Arc::new(OneNode::default());
            Ok(Opened { store: Arc::new(store), tail, tickets, audit, neighbours: None })
        }
        Backend::JetStream => {
            let opened = store::jetstream::open(&store, &limits, metrics).await;
            let (store, tail) = opened.map_err(StartError::JetStream)?;
            let tickets = Arc::new(store.clone());
            let node = node_name(&config.store.jetstream);
            let audit = Audit::shared(store.audit(), node, Handle::current());
            let neighbours = Some(store.neighbours());
            Ok(Opened { store: Arc::new(store), tail, tickets, audit, neighbours })
        }
    }
}
