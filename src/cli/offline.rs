//! The store, opened by a command while no server runs.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

use super::Failure;
use crate::config::Config;
use crate::metrics::StoreMetrics;
use crate::store::Store;
use crate::store::sled::{self, SledStore};

/// An open store and what its calls run on.
#[derive(Debug)]
pub(super) struct Offline {
    runtime: Runtime,
    store: SledStore,
}

impl Offline {
    /// Opens the store of `config`. A server that runs on it has it locked.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("no thread can be started: {error}")))?;
        // Nobody is here to be told what is announced.
        let (store, _) = sled::open(&config.store, &config.limits, StoreMetrics::unseen())
            .map_err(Failure::failed)?;
        Ok(Self { runtime, store })
    }

    /// Does something with the store, then closes it: what was done is durable then.
    pub(super) fn run<T, W>(self, work: impl FnOnce(SledStore) -> W) -> Result<T, Failure>
    where
        W: Future<Output = Result<T, Failure>>,
    {
        let Self { runtime, store } = self;
        runtime.block_on(async {
            let done = work(store.clone()).await;
            store.close().await.map_err(Failure::failed)?;
            done
        })
    }
}
