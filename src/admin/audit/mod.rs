//! The audit log: every administrative act, where the messages are. One machine has it in
//! `audit.jsonl` (`folder.rs`); several nodes share it in a stream (`shared.rs`).
//!
//! One JSON line an act, written and synced before the act is reported as done. Each line
//! holds the hash of the one before it, so that none can be changed, left out or put in
//! without all after it being written anew. What a chain cannot see is that its own end
//! was cut off: whoever notes down the newest hash elsewhere can (`audit verify --expect`).

mod copy;
mod departing;
mod end;
mod folder;
mod line;
mod read;
mod shared;

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokio::runtime::Handle;

pub use self::copy::{Copied, CopyError};
pub use self::departing::departing;
use self::folder::Folder;
pub use self::line::{Hash, Line, NoHash};
pub use self::read::{Fault, Lines, Verified};
use self::shared::Shared;
pub use self::shared::node_name;
use super::ledger;
use crate::config::{self, Backend};
use crate::ids::UserId;
use crate::store::jetstream::{AuditStream, OpenError};

/// The log's name in the store's directory.
pub const FILE: &str = "audit.jsonl";

/// The act that names the rest of a torn line.
pub const TORN: &str = "audit.torn";

/// How long a line may be, in bytes. An act is a name and a few numbers: what does not fit
/// is content, which has no place here.
pub(in crate::admin) const LINE_MAX: usize = 64 * 1024;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The bearer of an administrator's token.
    Admin {
        /// The token's subject.
        user: UserId,
        /// Its `jti`, where it has one.
        token: Option<String>,
    },
    /// Somebody who may run commands on this host.
    Shell(String),
}

impl Who {
    /// Whoever runs this process, by their name on this system.
    pub fn shell() -> Self {
        let id = nix::unistd::getuid();
        let found = nix::unistd::User::from_uid(id).ok().flatten();
        Self::Shell(found.map_or_else(|| id.to_string(), |user| user.name))
    }

    /// As it stands in the log.
    pub fn name(&self) -> String {
        match self {
            Self::Admin { user, .. } => format!("admin:{user}"),
            Self::Shell(name) => format!("shell:{name}"),
        }
    }

    fn token(&self) -> Option<&str> {
        match self {
            Self::Admin { token, .. } => token.as_deref(),
            Self::Shell(_) => None,
        }
    }
}

/// What is done: a name such as `token.issue`, and what matters about it. Never a token,
/// and never what somebody wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    name: String,
    details: Map<String, Value>,
}

impl Act {
    /// An act without details.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), details: Map::new() }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same act, of which nothing came: what is written down when one was announced
    /// and then could not be done.
    #[must_use]
    pub fn failed(&self, why: &str) -> Self {
        Self { name: format!("{}.failed", self.name), details: self.details.clone() }
            .with("why", why)
    }
}

/// Why an act could not be written down, or the log not be read. Then it must not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The system refuses.
    #[error("the audit log {} cannot be used: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Others than its owner can get at it.
    #[error(
        "the audit log {0} has mode {mode:04o}, so that others than its owner can get at it: run \
         `chmod 600 {0}`",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its last line is not what was written.
    #[error(
        "the audit log {place} is broken in its last line, so that it cannot go on: {why}; run \
         `imserver audit verify`, and move the {kind} away to begin a new one",
        kind = if place.contains('/') { "file" } else { "stream" }
    )]
    Broken {
        /// The file, or the stream.
        place: String,
        /// What is wrong.
        why: Fault,
    },
    /// The servers that keep it have let us in, and cannot be used now.
    #[error("the audit log is on the NATS servers, which neither give nor take it now: {0}")]
    Servers(String),
    /// The way to the servers that keep it, or what is there, is not as it must be.
    #[error("the audit log is on the NATS servers, and cannot be opened there: {0}")]
    Unreached(OpenError),
    /// The act has more details than a line has room for.
    #[error("the act has too many details for a line of the audit log")]
    TooLong,
}

/// The audit log of a service.
#[derive(Clone, Debug)]
pub struct Audit(Place);

/// Where it is.
#[derive(Clone, Debug)]
enum Place {
    Folder(Folder),
    Shared(Shared),
}

impl Audit {
    /// The audit log in `dir`, which is made, for its owner alone, where it is missing.
    ///
    /// # Errors
    /// The directory or the file cannot be made, or others can get at the file.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let folder = Folder::at(dir);
        folder.file()?;
        Ok(Self(Place::Folder(folder)))
    }

    /// The same, looked at with the first act.
    pub fn at(dir: &Path) -> Self {
        Self(Place::Folder(Folder::at(dir)))
    }

    /// Sees whether the next act could be written down, as far as the log's end tells; one
    /// that is not there yet can. Of a log on servers each act finds out.
    ///
    /// # Errors
    /// It is broken there, cannot be used, or others can get at it.
    pub fn may_go_on(&self) -> Result<(), AuditError> {
        match &self.0 {
            Place::Folder(folder) => folder.may_go_on(),
            Place::Shared(_) => Ok(()),
        }
    }

    /// The audit log that a configuration speaks of, for a process without a server.
    ///
    /// # Errors
    /// As [`Audit::open`], and where the servers cannot be used that keep it.
    pub fn of(config: &config::Store) -> Result<Self, AuditError> {
        match config.backend {
            Backend::Sled => Self::open(&config.path),
            Backend::JetStream => Shared::connect(config).map(Place::Shared).map(Self),
        }
    }

    /// The audit log that all nodes write to, as `node`, on the runtime of `handle`.
    pub fn shared(stream: AuditStream, node: String, handle: Handle) -> Self {
        Self(Place::Shared(Shared::new(stream, node, handle)))
    }

    /// What it is called: the path of its file, or the name of its stream.
    pub fn place(&self) -> String {
        match &self.0 {
            Place::Folder(folder) => folder.path().display().to_string(),
            Place::Shared(shared) => shared.name(),
        }
    }

    /// Writes down that `who` does `act`; it is durable when this returns.
    ///
    /// It waits for other processes that write to the same log, and for the disk: not for
    /// a task that others wait for.
    ///
    /// # Errors
    /// Nothing may be done: nothing was written down, or nobody can say whether it was.
    pub fn append(&self, who: &Who, act: &Act) -> Result<Line, AuditError> {
        match &self.0 {
            Place::Folder(folder) => folder.append(who, act),
            Place::Shared(shared) => shared.append(who, act),
        }
    }

    /// Reads the log from its beginning to where it ends now, checking every line. As
    /// [`Audit::append`], it waits.
    ///
    /// # Errors
    /// It cannot be opened. What is wrong within it comes in its place.
    pub fn lines(&self) -> Result<Lines, AuditError> {
        match &self.0 {
            Place::Folder(folder) => folder.lines(),
            Place::Shared(shared) => shared.lines(),
        }
    }

    /// The line that tells of the token with this `jti`, if there is one.
    ///
    /// # Errors
    /// The log cannot be read. What follows a broken line is not looked at.
    pub fn issue_of(&self, jti: &str) -> Result<Option<Line>, AuditError> {
        match &self.0 {
            Place::Folder(folder) => {
                let mut lines = folder.lines()?.map_while(Result::ok);
                Ok(lines.find(|line| ledger::Entry::of(line).is_some_and(|it| it.jti == jti)))
            }
            Place::Shared(shared) => shared.issue_of(jti),
        }
    }

    /// Reads the whole log and says what it found, and whether a hash that was noted down
    /// earlier is still in it.
    ///
    /// # Errors
    /// It cannot be opened. A broken line is a [`Verified`] with a fault.
    pub fn verify(&self, noted: Option<Hash>) -> Result<Verified, AuditError> {
        let aside = match &self.0 {
            Place::Folder(folder) => Some(folder.dir()),
            Place::Shared(_) => None,
        };
        Ok(self.lines()?.verify(aside, noted))
    }

    /// Writes the log into `dir`, which is made where it is missing, as a folder holds it, byte
    /// for byte as it was written; it is durable when this returns. The rests of torn lines that
    /// it names are taken from `beside`, where they lie there.
    ///
    /// # Errors
    /// Nothing was written. One that is there is never written over.
    pub fn copy(&self, beside: &Path, dir: &Path) -> Result<Copied, CopyError> {
        copy::copy(self.lines()?, &self.place(), beside, dir)
    }
}

#[cfg(test)]
mod tests;
