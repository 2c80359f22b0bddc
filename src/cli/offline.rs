//! The store of a server that does not run, opened by a command.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::Failure;
use super::cert::exists;
use crate::admin::{ExportLines, revoke};
use crate::config::{self, Backend, Config};
use crate::ids::UserId;
use crate::metrics::StoreMetrics;
use crate::store;
use crate::store::Store;
use crate::store::sled::{OpenError, SledStore};

/// What a command lets the database keep in memory: it walks, and comes by each row once.
pub(super) const CACHE_BYTES: u64 = 64 << 20;

/// An open store, and what it is used with.
pub(super) struct Offline {
    runtime: Runtime,
    store: SledStore,
}

impl Offline {
    /// Opens the store of `config`, which must be there.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        Self::find(config)?.ok_or_else(|| {
            let path = config.store.path.display();
            Failure::failed(format!("there is no data in {path} (store.path), and no server runs"))
        })
    }

    /// The same; nothing where none was made yet.
    pub(super) fn find(config: &Config) -> Result<Option<Self>, Failure> {
        needs_node(config)?;
        match exists(&config.store.path.join("manifest.json"))? {
            true => Self::open_or_make(config).map(Some),
            false => Ok(None),
        }
    }

    /// The same, making it where it is missing.
    pub(super) fn open_or_make(config: &Config) -> Result<Self, Failure> {
        needs_node(config)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("no thread can be started: {error}")))?;
        let metrics = StoreMetrics::unseen();
        // Nothing is removed by the way.
        let settings = config::Store {
            cache_bytes: CACHE_BYTES,
            retention: Duration::ZERO,
            ..config.store.clone()
        };
        let opened = store::sled::open(&settings, &config.limits, metrics);
        // Nobody is here to be told what is announced.
        let (store, _) = opened.map_err(|error| match error {
            OpenError::InUse { path } => Failure::failed(format!(
                "{} is in use by a server that does not answer at server.admin_listen: is that \
                 another configuration?",
                path.display()
            )),
            other => Failure::failed(other),
        })?;
        Ok(Self { runtime, store })
    }

    /// Hands the bytes of a backup to `take`.
    pub(super) fn backup(
        &self,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut backup = self.store.backup().await.map_err(Failure::failed)?;
            while let Some(chunk) = backup.chunks.recv().await {
                take(&chunk.map_err(Failure::failed)?)?;
            }
            Ok(())
        })
    }

    /// Hands the lines of an export to `take`.
    pub(super) fn export(
        &self,
        whose: Option<UserId>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(give(&self.store, whose, take))
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

    pub(super) fn close(self) -> Result<(), Failure> {
        self.runtime.block_on(self.store.close()).map_err(Failure::failed)
    }
}

/// Hands the lines of an export of the streams to `take`, while no node runs. `begin` is called
/// when they are open.
pub(super) fn export_streams(
    config: &Config,
    whose: Option<UserId>,
    begin: impl FnOnce() -> Result<(), Failure>,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads can be started: {error}")))?;
    // Nothing is made and nothing goes by the way.
    let mut settings = config.store.clone();
    settings.retention = Duration::ZERO;
    settings.jetstream.create = false;
    let metrics = StoreMetrics::unseen();
    let opening = store::jetstream::open(&settings, &config.limits, metrics);
    let (store, _) = runtime.block_on(opening)?;
    let given = begin().and_then(|()| runtime.block_on(give(&store, whose, take)));
    runtime.block_on(store.close()).map_err(Failure::failed)?;
    given
}

/// Hands the lines of an export to `take`.
async fn give(
    store: &impl Store,
    whose: Option<UserId>,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut export = store.export(whose).await.map_err(Failure::failed)?;
    let mut lines = ExportLines::begin(whose, &export);
    while let Some(piece) = export.pieces.recv().await {
        take(lines.add(piece.map_err(Failure::failed)?).as_bytes())?;
    }
    Ok(())
}

/// Fails where the messages lie in no folder of this machine, for which alone the command is.
/// `instead` says what is done with streams.
pub(super) fn folder_alone(config: &Config, command: &str, instead: &str) -> Result<(), Failure> {
    match config.store.backend {
        Backend::Sled => Ok(()),
        Backend::JetStream => Err(Failure::usage(format!(
            "`imserver {command}` is for a folder of one machine, and store.backend is \
             \"jetstream\": {instead}"
        ))),
    }
}

/// Fails where the messages lie in no folder that could be opened in the place of a server.
fn needs_node(config: &Config) -> Result<(), Failure> {
    match config.store.backend {
        Backend::Sled => Ok(()),
        Backend::JetStream => Err(Failure::failed(format!(
            "store.backend is \"jetstream\": this goes through a node that runs, and none answers at \
             {} (server.admin_listen)",
            config.server.admin_listen
        ))),
    }
}

/// A time in milliseconds since the Unix epoch, for people.
pub(super) fn time(milliseconds: u64) -> String {
    revoke::shown(milliseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_nobody_can_write_is_the_last_that_one_can() {
        assert_eq!(time(1_700_000_000_999), "2023-11-14T22:13:20Z");
        // A panic once: the file of a backup may say anything.
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
