//! The log of several nodes: one stream, to which all of them write.
//!
//! It is one chain, whoever writes: a line can be put only behind the one whose hash it holds,
//! since the servers take it only while that one is the last. Who comes second reads again.
//! The servers themselves refuse to remove a line.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::line::{Hash, Line};
use super::read::{Fault, Lines};
use super::{Act, AuditError, LINE_MAX, Who};
use crate::admin::ledger::Entry;
use crate::config;
use crate::store::StoreError;
use crate::store::jetstream::{AuditStream, Filed, Topic};

/// How long an act may take to be written down, and how long a piece of the log to be read.
const PATIENCE: Duration = Duration::from_secs(15);

/// Lines that are read at once.
const BATCH: usize = 500;

/// The longest name of a node, in bytes.
const NODE: usize = 64;

/// The log in a stream.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    stream: AuditStream,
    node: String,
    /// One act of this process at a time: they would only get in each other's way.
    writing: Mutex<()>,
    handle: Handle,
    /// Of a process that has no other.
    _own: Option<Runtime>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("node", &self.0.node).finish_non_exhaustive()
    }
}

/// What a node is called in the log: what is configured, or the name of its host.
pub fn node_name(config: &config::JetStream) -> String {
    let host = || nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let mut name = config.node.clone().unwrap_or_else(host);
    while name.len() > NODE {
        name.pop();
    }
    name
}

impl Shared {
    pub(super) fn new(stream: AuditStream, node: String, handle: Handle) -> Self {
        Self(Arc::new(Inner { stream, node, writing: Mutex::default(), handle, _own: None }))
    }

    /// Connects to the servers, for a process that does nothing else with them.
    pub(super) fn connect(config: &config::Store) -> Result<Self, AuditError> {
        let own = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let own = own.map_err(|error| AuditError::Servers(error.to_string()))?;
        let stream = own.block_on(AuditStream::connect(config));
        let stream = stream.map_err(AuditError::Unreached)?;
        let node = node_name(&config.jetstream);
        let (handle, writing) = (own.handle().clone(), Mutex::default());
        Ok(Self(Arc::new(Inner { stream, node, writing, handle, _own: Some(own) })))
    }

    pub(super) fn name(&self) -> String {
        self.0.stream.name()
    }

    pub(super) fn append(&self, who: &Who, act: &Act) -> Result<Line, AuditError> {
        self.wait(self.write(who, act))
    }

    /// Waits for the servers, on a thread that may.
    fn wait<T>(&self, work: impl Future<Output = Result<T, AuditError>>) -> Result<T, AuditError> {
        let done = self.0.handle.block_on(async { timeout(PATIENCE, work).await });
        let late = || AuditError::Servers("no answer came in time".to_owned());
        done.unwrap_or_else(|_| Err(late()))
    }

    async fn write(&self, who: &Who, act: &Act) -> Result<Line, AuditError> {
        let Inner { stream, node, writing, .. } = &*self.0;
        let _writing = writing.lock().await;
        loop {
            let last = stream.last().await.map_err(cause)?;
            let after = last.as_ref().map_or(0, |filed| filed.seq);
            let last = last.map(|filed| line_of(stream, &filed)).transpose();
            let last = last.map_err(|why| AuditError::Broken { place: stream.name(), why })?;
            let (number, previous) =
                last.map_or((1, Hash::START), |last| (last.number.saturating_add(1), last.hash));
            let line = Line::new(number, SystemTime::now(), Some(node), who, act, previous);
            if line.text.len() >= LINE_MAX {
                return Err(AuditError::TooLong);
            }
            // Two nodes at once may write the same: then each has a line of its own.
            let name = format!("{}.{:016x}", line.hash, fastrand::u64(..));
            let text = line.text.clone();
            if stream.write(after, &topic(&line), text, &name).await.map_err(cause)? {
                return Ok(line);
            }
        }
    }

    pub(super) fn lines(&self) -> Result<Lines, AuditError> {
        let until = self.wait(async { self.0.stream.reach().await.map_err(cause) })?;
        let log = self.clone();
        Ok(Lines::of_stream(Reading { log, next: 1, until, read: VecDeque::new() }))
    }

    pub(super) fn issue_of(&self, jti: &str) -> Result<Option<Line>, AuditError> {
        let stream = &self.0.stream;
        let found = self.wait(async { stream.issue_of(jti).await.map_err(cause) })?;
        // What is broken is as if it were not there, as behind a broken line of a file.
        let line = found.and_then(|filed| line_of(stream, &filed).ok());
        Ok(line.filter(|line| Entry::of(line).is_some_and(|entry| entry.jti == jti)))
    }
}

/// The lines of a stream, up to where it reached when the reading began.
pub(super) struct Reading {
    log: Shared,
    next: u64,
    until: u64,
    read: VecDeque<Filed>,
}

impl Reading {
    /// The next line.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Fault> {
        let stream = &self.log.0.stream;
        if self.read.is_empty() && self.next <= self.until {
            let some = async { stream.some(self.next, self.until, BATCH).await.map_err(cause) };
            let some = self.log.wait(some);
            let some = some.map_err(|error| Fault::Unreadable(error.to_string()))?;
            self.next = some.last().map_or(self.until, |last| last.seq) + 1;
            self.read.extend(some);
        }
        self.read.pop_front().map(|filed| line_of(stream, &filed)).transpose()
    }
}

/// What was filed as a line, which must lie where it belongs.
fn line_of(stream: &AuditStream, filed: &Filed) -> Result<Line, Fault> {
    let line = Line::read(&filed.text)?;
    match stream.lies_at(filed, &topic(&line)) {
        true => Ok(line),
        false => Err(Fault::Misplaced),
    }
}

pub(super) fn topic(line: &Line) -> Topic {
    match Entry::of(line) {
        Some(entry) => Topic::Token { sub: entry.sub, jti: entry.jti },
        None => Topic::Act,
    }
}

fn cause(error: StoreError) -> AuditError {
    AuditError::Servers(error.to_string())
}
