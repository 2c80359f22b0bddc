//! Configuration, certificate and keys read again, on SIGHUP, when their files change, and
//! when an administrator asks, without dropping a connection.
//!
//! Each of the three is taken whole or refused whole: what is refused stays as it was, and
//! the others are not held up by it.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::terms::{CurrentTerms, waiting};
use super::tls::Certificate;
use crate::auth::{CurrentKeys, KeySet};
use crate::certificate;
use crate::config::{self, Config};
use crate::metrics::ServerMetrics;
use crate::telemetry::LogLevel;
use crate::ticks::every;

/// How often the files are looked at. One that changed is read when it has not changed
/// further until the next look: half a configuration may be a valid one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum What {
    Configuration,
    Certificate,
    Keys,
}

impl What {
    /// The label of its metric.
    fn label(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Certificate => "certificate",
            Self::Keys => "keys",
        }
    }

    /// What a sentence calls it.
    fn noun(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Certificate => "certificate",
            Self::Keys => "key set",
        }
    }
}

/// Where the configuration comes from, to be read as often as one likes.
pub struct Source {
    file: PathBuf,
    read: Box<dyn Fn() -> Result<Config, config::Error> + Send + Sync>,
}

impl Source {
    /// `read` gives the configuration that stands in `file`, with all that overrides it.
    pub fn new(
        file: &Path,
        read: impl Fn() -> Result<Config, config::Error> + Send + Sync + 'static,
    ) -> Self {
        Self { file: file.to_owned(), read: Box::new(read) }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What is read again, and where it goes.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) source: Source,
    /// What the server started with.
    pub(super) started: Config,
    pub(super) terms: CurrentTerms,
    pub(super) log: LogLevel,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) keys: CurrentKeys,
    pub(super) metrics: ServerMetrics,
    /// Held while something is read, so that the latest reading is the one in force.
    pub(super) reading: Mutex<()>,
}

/// One of the things that are read again, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Reread {
    pub(super) what: What,
    /// The file.
    pub(super) file: String,
    /// Why the one in use was kept; nothing where the new one is in force.
    pub(super) refused: Option<String>,
    /// Settings that differ from those in use and need a restart.
    pub(super) waiting: Vec<&'static str>,
}

/// By what a changed file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    changed: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Reload {
    /// Counts what was read at the start: it is in force.
    pub(super) fn count_the_start(&self) {
        for what in [What::Configuration, What::Certificate, What::Keys] {
            if what != What::Certificate || self.certificate.is_some() {
                self.metrics.reloaded(what.label(), true);
            }
        }
    }

    /// What stands in the files and was refused, so that it is not in force.
    pub(super) fn not_in_force(&self) -> Vec<&'static str> {
        let all = [What::Configuration, What::Certificate, What::Keys].map(What::label);
        all.into_iter().filter(|what| !self.metrics.is_in_force(what)).collect()
    }

    /// Until when the certificate in use is good, where there is one and it says so.
    pub(super) fn certificate_end(&self) -> Option<SystemTime> {
        self.certificate.as_ref()?.end()
    }

    /// Watches for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                error!(%error, "SIGHUP cannot be heard; restart to use what has changed");
                return;
            }
        };
        let mut look = every(LOOK_EVERY);
        let mut seen = self.marks();
        let mut before = seen;
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = look.tick() => {
                    let now = self.marks();
                    let settled = now == std::mem::replace(&mut before, now);
                    if now == seen || !settled {
                        continue;
                    }
                }
            }
            // What changes while it is read is read again.
            seen = self.marks();
            self.now().await;
        }
    }

    fn marks(&self) -> [Option<Mark>; 4] {
        let mark = |path: &Path| {
            let what = fs::metadata(path).ok()?;
            Some(Mark { changed: what.modified().ok(), length: what.len(), inode: what.ino() })
        };
        let Config { tls, auth, .. } = &self.started;
        [&self.source.file, &tls.cert, &tls.key, &auth.keys].map(|path| mark(path))
    }

    /// Reads everything now, and says what came of each.
    pub(super) async fn now(self: &Arc<Self>) -> Vec<Reread> {
        let reload = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || reload.read());
        // It does not panic; and if it did, nothing would have been read.
        reading.await.unwrap_or_default()
    }

    fn read(&self) -> Vec<Reread> {
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let Config { tls, auth, .. } = &self.started;
        let mut all = vec![self.took(What::Configuration, &self.source.file, self.configuration())];
        if let Some(current) = &self.certificate {
            let new = certificate::load(tls).map(|new| current.replace(new));
            all.push(self.took(What::Certificate, &tls.cert, nothing_waits(new)));
        }
        let new = KeySet::configured(auth).map(|new| self.keys.replace(new));
        all.push(self.took(What::Keys, &auth.keys, nothing_waits(new)));
        all
    }

    /// Puts the whole of a new configuration in force, or nothing of it.
    fn configuration(&self) -> Result<Vec<&'static str>, String> {
        let new = (self.source.read)().map_err(|error| error.to_string())?;
        // First what may fail.
        self.log.set(&new.log.level).map_err(|error| error.to_string())?;
        self.terms.replace(&new);
        Ok(waiting(&self.started, &new))
    }

    /// Tells the log, the metrics and whoever asked.
    fn took(&self, what: What, file: &Path, taken: Result<Vec<&'static str>, String>) -> Reread {
        let (noun, file) = (what.noun(), file.display().to_string());
        self.metrics.reloaded(what.label(), taken.is_ok());
        match taken {
            Ok(waiting) => {
                info!(file, "{noun} read again");
                for setting in &waiting {
                    warn!(setting, "this setting was changed; a restart is needed to use it");
                }
                Reread { what, file, refused: None, waiting }
            }
            Err(sentence) => {
                // Several faults are several lines, and an entry of the log is one.
                let error = sentence.replace("\n  ", " | ");
                warn!(error, "the {noun} stays the one in use");
                Reread { what, file, refused: Some(sentence), waiting: Vec::new() }
            }
        }
    }
}

fn nothing_waits<E: fmt::Display>(taken: Result<(), E>) -> Result<Vec<&'static str>, String> {
    taken.map(|()| Vec::new()).map_err(|error| error.to_string())
}
