//! The writer away from its database: before it sits down at one, and after it has left it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use nix::fcntl::Flock;
use sled::Db;
use tokio::sync::mpsc;
use tracing::error;

use super::{Request, Writer};
use crate::metrics::StoreMetrics;
use crate::store::Announcement;
use crate::store::sled::blobs::Blobs;
use crate::store::sled::books::Books;
use crate::store::sled::folder;
use crate::store::sled::journal::Journal;
use crate::store::sled::open::Opened;
use crate::store::sled::settings::Settings;
use crate::store::sled::shared::Shared;

/// A writer without a database: before it is opened, and while it is opened again.
#[derive(Debug)]
pub(in super::super) struct Idle {
    pub(in super::super) lock: Flock<File>,
    pub(in super::super) dir: PathBuf,
    pub(in super::super) settings: Settings,
    pub(in super::super) shared: Arc<Shared>,
    pub(in super::super) requests: mpsc::Receiver<Request>,
    pub(in super::super) tail: mpsc::Sender<Vec<Announcement>>,
    pub(in super::super) metrics: StoreMetrics,
}

impl Idle {
    /// Sits down at a database.
    pub(in super::super) fn write(self, opened: Opened, books: Books) -> Writer {
        let Opened { db, base, census, manifest, .. } = opened;
        let Self { lock, dir, settings, shared, requests, tail, metrics } = self;
        let database = folder::database(&dir);
        Writer {
            db,
            blobs: Blobs::of(&database),
            journal: Journal::new(database, base, Arc::clone(&shared)),
            manifest,
            books,
            census,
            lock,
            dir,
            settings,
            shared,
            requests,
            tail,
            metrics,
        }
    }

    /// Ends for good, in words for the operator.
    pub(super) fn give_up(mut self, why: String) {
        say_that_it_ended(&self.shared, why);
        self.metrics.failed.inc();
        // Whoever waits or asks from now on learns that nothing is written.
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            request.refuse();
        }
    }
}

impl Writer {
    /// Leaves the database to the caller.
    pub(in super::super) fn let_go(self) -> (Idle, Db) {
        let Self { db, lock, dir, settings, shared, requests, tail, metrics, .. } = self;
        (Idle { lock, dir, settings, shared, requests, tail, metrics }, db)
    }
}

/// Says everywhere that nothing is written any more.
pub(super) fn say_that_it_ended(shared: &Shared, why: String) {
    // A reader that met damage has said so already, and other words fit that.
    if shared.failure().is_none() {
        error!(
            cause = why,
            "the store stopped writing; nothing acknowledged is lost. \
             Free the disk or mend it, then restart imserver"
        );
        shared.fail(why);
    }
}
