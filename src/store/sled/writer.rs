//! The one thread that writes: it takes what came in while the last commit was on
//! its way to the disk, and commits it as one.
//!
//! There is no timer and nothing to tune. The order of every step is the promise: the journal
//! and its sync, then the tree, *then* raise the watermark, then answer, then announce.

mod idle;
mod request;
mod stop;

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::Flock;
use sled::Db;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

pub(super) use self::idle::Idle;
use self::idle::say_that_it_ended;
pub(super) use self::request::Request;
pub(super) use self::stop::Stop;
use super::blobs::Blobs;
use super::books::Books;
use super::census::Census;
use super::commit::Commit;
use super::folder;
use super::journal::Journal;
use super::manifest::{self, Manifest, Renewed};
use super::record::SCHEMA_VERSION;
use super::revoked;
use super::rows::Rows;
use super::seal::Seal;
use super::settings::Settings;
use super::shared::Shared;
use crate::epoch;
use crate::metrics::StoreMetrics;
use crate::store::Announcement;

/// Requests a commit takes at the most: beyond it a commit gets no cheaper per
/// message, and sled's garbage grows faster than it is collected.
const GROUP_MAX: usize = 512;

/// Rows of a commit whose garbage one more pin collects, with room to spare: a pin takes up to
/// eight bags of 64 pieces, and a row leaves a handful.
const ROWS_A_PIN: usize = 32;

/// How often revocations that are over are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How old the manifest may grow while messages are written.
const MANIFEST_AGE: Duration = Duration::from_secs(1);

/// The writer, until it is given its thread.
#[derive(Debug)]
pub(super) struct Writer {
    db: Db,
    blobs: Blobs,
    journal: Journal,
    manifest: Renewed,
    pub(super) books: Books,
    /// What is durable.
    pub(super) census: Census,
    pub(super) lock: Flock<File>,
    pub(super) dir: PathBuf,
    pub(super) settings: Settings,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) tail: mpsc::Sender<Vec<Announcement>>,
    pub(super) metrics: StoreMetrics,
}

impl Writer {
    /// Writes until it is closed or fails for good.
    pub(super) fn run(mut self) {
        let (idle, why) = loop {
            let mut written = Written { at: Instant::now(), census: self.census };
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.work(&mut written)));
            let stop = match outcome {
                Ok(Ok(close)) => return self.finish(close),
                Ok(Err(stop)) => stop,
                Err(_) => Stop::Final("the database failed in the middle of a write".to_owned()),
            };
            match stop {
                Stop::Full(why) => match self.begin_anew(&why) {
                    Ok(again) => self = again,
                    Err(end) => break *end,
                },
                Stop::Final(why) => break (self.abandon(), why),
            }
        };
        idle.give_up(why);
    }

    /// Commits group after group; gives back who asked to close.
    fn work(&mut self, written: &mut Written) -> Result<Option<oneshot::Sender<bool>>, Stop> {
        let runtime = quiet_runtime()?;
        let mut group = Vec::with_capacity(GROUP_MAX);
        let mut swept = None;
        loop {
            let due = swept.is_none_or(|swept: Instant| swept.elapsed() >= SWEEP_EVERY);
            if due && self.has_room()? {
                let (rows, forgotten) = self.books.sweep(epoch::sober_now())?;
                if !rows.is_empty() {
                    self.persist(rows)?;
                }
                // What is left over is soon gone.
                swept = (forgotten < revoked::PIECE).then(Instant::now);
            }
            let wait = self.requests.recv_many(&mut group, GROUP_MAX);
            match runtime.block_on(async { tokio::time::timeout(MANIFEST_AGE, wait).await }) {
                // Everybody who could ask is gone.
                Ok(0) => return Ok(None),
                Ok(_) => {
                    self.let_others_ask(&mut group);
                    if let Some(why) = self.shared.failure() {
                        // A reader met damage: nothing is built on top of it.
                        return Err(Stop::Final(why));
                    }
                    let close = match self.has_room()? {
                        true => self.commit(group.drain(..))?,
                        false => self.wait_for_room(&runtime, &mut group)?,
                    };
                    if let Some(close) = close {
                        return self.drain(close);
                    }
                }
                Err(_) => {}
            }
            if self.shared.has_met_full() {
                // One of sled's own writes, behind those of the last commit: until
                // something is to be written only readers hear of it.
                return Err(Stop::Full("a read met a write that had found no room".to_owned()));
            }
            self.keep_manifest(written);
        }
    }

    /// Lets those have the processor first who are about to ask, and takes what they ask
    /// for. Where it is busy that makes larger groups; where it is not, nothing is waited for.
    fn let_others_ask(&mut self, group: &mut Vec<Request>) {
        std::thread::yield_now();
        while group.len() < GROUP_MAX
            && let Ok(request) = self.requests.try_recv()
        {
            group.push(request);
        }
    }

    /// Writes what was in line behind the wish to close.
    fn drain(
        &mut self,
        close: oneshot::Sender<bool>,
    ) -> Result<Option<oneshot::Sender<bool>>, Stop> {
        self.requests.close();
        let mut rest = Vec::new();
        while let Ok(request) = self.requests.try_recv() {
            rest.push(request);
        }
        let mut rest = rest.into_iter().peekable();
        while rest.peek().is_some() {
            self.commit(rest.by_ref().take(GROUP_MAX))?;
        }
        Ok(Some(close))
    }

    /// Makes one group durable and tells everybody.
    fn commit(
        &mut self,
        group: impl Iterator<Item = Request>,
    ) -> Result<Option<oneshot::Sender<bool>>, Stop> {
        let mut close = None;
        // Before the commit, not behind it: after a quiet hour the resend keys of the
        // last commit are as old as that hour.
        self.books.tidy();
        let mut commit = Commit::new(&mut self.books);
        for request in group {
            let entered = match request {
                Request::Append(draft, reply) => commit.append(draft, reply),
                Request::Known(draft, reply) => commit.known(&draft, reply),
                Request::MarkRead(reader, marks, origin, reply) => {
                    commit.mark_read(reader, &marks, origin, reply)
                }
                Request::SetProfile(user, claimed, reply) => {
                    commit.set_profile(user, claimed, reply)
                }
                Request::Remove(piece, reply) => commit.remove(piece, reply),
                Request::Revoke(revocation, reply) => commit.revoke(revocation, reply),
                Request::Enable(user, reply) => commit.enable(user, reply),
                Request::Close(done) => {
                    close = Some(done);
                    Ok(())
                }
            };
            entered.map_err(|error| Stop::Final(error.to_string()))?;
        }
        let (rows, mut outcome) = commit.prepare();
        if !rows.is_empty() {
            let began = Instant::now();
            // Before those who wait learn of it: `/readyz` then tells them the same.
            self.persist(rows).inspect_err(|stop| {
                if let Stop::Final(why) = stop {
                    say_that_it_ended(&self.shared, why.clone());
                }
            })?;
            self.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
        }
        // Durable, and so to be read; before the watermark says so.
        let log = &self.books.log;
        log.hot.insert(std::mem::take(&mut outcome.logged));
        log.hot.remove(&outcome.taken);
        self.books.publish();
        self.census.messages += outcome.messages();
        self.shared.set_messages(self.census.kept());
        self.census.read += outcome.newly_read;
        self.census.gone += outcome.gone;
        self.metrics.removed.inc_by(outcome.gone);
        if outcome.decrees() > 0 {
            let first = self.census.decrees == 0;
            self.census.decrees += outcome.decrees();
            if first {
                // As with the very first message.
                self.renew_manifest()?;
            }
        }
        if let Some(last_id) = outcome.last_id {
            self.census.last_id = last_id;
            if let Some(first) = outcome.first_id() {
                self.shared.remember(first, outcome.places());
            }
            if self.shared.raise(last_id) {
                // The very first message: from now on an empty database is damage.
                self.renew_manifest()?;
            }
            self.metrics.stored(outcome.messages(), last_id);
        }
        let announcements = outcome.tell();
        if !announcements.is_empty() {
            // Nobody listens any more only while the server stops.
            let _ = self.tail.blocking_send(announcements);
        }
        Ok(close)
    }

    /// Brings rows to the disk itself, and then into the tree.
    fn persist(&mut self, rows: Rows) -> Result<(), Stop> {
        let count = rows.len();
        self.journal.append(&rows)?;
        rows.enter(&self.books.log)?;
        // sled may bring to the disk what names them whenever it likes.
        self.blobs.sync()?;
        self.journal.entered()?;
        // sled's garbage is collected a little at every pin; without these, memory
        // and disk grow with the load.
        for _ in 0..1 + count / ROWS_A_PIN {
            crossbeam_epoch::pin().flush();
        }
        Ok(())
    }

    /// Renews the manifest when it is behind and old enough.
    fn keep_manifest(&mut self, written: &mut Written) {
        if self.census == written.census || written.at.elapsed() < MANIFEST_AGE {
            return;
        }
        match self.renew_manifest() {
            Ok(()) => written.census = self.census,
            // The one before still tells the truth, only less of it: try again.
            Err(Stop::Full(cause) | Stop::Final(cause)) => {
                warn!(cause, "the store goes on with an older manifest")
            }
        }
        written.at = Instant::now();
    }

    pub(super) fn renew_manifest(&mut self) -> Result<(), Stop> {
        let manifest = Manifest::new(SCHEMA_VERSION, self.census, None);
        let written = self.manifest.write(&manifest);
        written.map_err(|e| Stop::io(&e, format!("the manifest could not be written: {e}")))
    }

    fn finish(self, close: Option<oneshot::Sender<bool>>) {
        let Self { db, journal, lock, books, dir, census, manifest, shared, .. } = self;
        let settled = journal.close();
        shared.close();
        // All that is open: whoever hears that the store is closed may unmount its disk.
        drop((books, db, manifest));
        // Whoever was told that it is closed may open it, and finds it sealed.
        folder::released(&folder::database(&dir));
        let sealed = settled.map_err(Stop::into_error).and_then(|()| {
            let seal = Seal::of(&folder::database(&dir))?;
            manifest::write(&dir, &Manifest::new(SCHEMA_VERSION, census, Some(seal)))
        });
        match &sealed {
            Ok(()) => info!(messages = census.kept(), "store closed"),
            Err(error) => error!(%error, "the store was closed without a seal"),
        }
        drop(lock);
        if let Some(close) = close {
            let _ = close.send(sealed.is_ok());
        }
    }
}

/// The clock by which the writer waits.
pub(super) fn quiet_runtime() -> Result<Runtime, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|error| Stop::Final(format!("no runtime for the writer: {error}")))
}

/// The manifest on the disk.
struct Written {
    at: Instant,
    census: Census,
}
