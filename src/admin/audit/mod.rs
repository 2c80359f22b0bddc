//! The audit log: every administrative act, in `audit.jsonl` beside the messages.
//!
//! One JSON line an act, written and synced before the act is reported as done. Each line
//! holds the hash of the one before it, so that none can be changed, left out or put in
//! without all after it being written anew. What a chain cannot see is that its own end
//! was cut off: whoever notes down the newest hash elsewhere can (`audit verify --expect`).
//!
//! Nothing is ever overwritten but the rest of a line that a power cut tore: that is kept
//! beside the log, and the chain goes on with a line that names it and holds its hash.

mod end;
mod line;
mod read;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg, OFlag};
use serde_json::{Map, Value};

use self::end::End;
pub use self::line::{Hash, Line, NoHash};
pub use self::read::{Fault, Lines, Verified};
use crate::ids::UserId;
use crate::secret_file;

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
        "the audit log {} is broken in its last line, so that it cannot go on: {why}; run \
         `imserver audit verify`, and move the file away to begin a new one",
        path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: Fault,
    },
    /// The act has more details than a line has room for.
    #[error("the act has too many details for a line of the audit log")]
    TooLong,
}

/// The audit log of a store's directory.
#[derive(Clone, Debug)]
pub struct Audit {
    dir: PathBuf,
}

impl Audit {
    /// The audit log in `dir`, which is made, for its owner alone, where it is missing.
    ///
    /// # Errors
    /// The directory or the file cannot be made, or others can get at the file.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let audit = Self { dir: dir.to_owned() };
        secret_file::create_folder(dir).map_err(|cause| audit.io(cause))?;
        audit.file()?;
        Ok(audit)
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Writes down that `who` does `act`; it is on the disk when this returns.
    ///
    /// It waits for other processes that write to the same log, and for the disk: not for
    /// a task that others wait for.
    ///
    /// # Errors
    /// Nothing was written down, and so nothing may be done.
    pub fn append(&self, who: &Who, act: &Act) -> Result<Line, AuditError> {
        let file = self.file()?;
        let mut log = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| self.io(error.into()))?;
        let io = |cause| self.io(cause);
        let end = End::find(&mut log).map_err(io)?;
        let end = end.map_err(|why| AuditError::Broken { path: self.path(), why })?;
        end.set_torn_aside(&self.dir, &mut log).map_err(io)?;

        let mut text = end.before_next();
        let (mut number, mut previous) = end.next();
        let mut write = |who: &Who, act: &Act| {
            let line = Line::new(number, SystemTime::now(), who, act, previous);
            if line.text.len() >= LINE_MAX {
                return Err(AuditError::TooLong);
            }
            text.push_str(&line.text);
            text.push('\n');
            (number, previous) = (line.number.saturating_add(1), line.hash);
            Ok(line)
        };
        if let Some(torn) = end.named_aside(&self.dir).map_err(io)? {
            write(&Who::Shell("imserver".to_owned()), &torn)?;
        }
        let line = write(who, act)?;
        let written = log.write_all(text.as_bytes()).and_then(|()| log.sync_all());
        if let Err(cause) = written {
            // What is there of the lines was not reported to anybody. Where even this
            // fails, the next act finds a torn line.
            let _ = log.set_len(end.whole());
            return Err(self.io(cause));
        }
        Ok(line)
    }

    /// Reads the log from its beginning to where it ends now, checking every line.
    ///
    /// # Errors
    /// It cannot be opened. What is wrong within it comes in its place.
    pub fn lines(&self) -> Result<Lines, AuditError> {
        // Behind a lock no half of a line is seen that is being written.
        let log = Flock::lock(self.file()?, FlockArg::LockShared)
            .map_err(|(_, error)| self.io(error.into()))?;
        let length = log.metadata().map_err(|cause| self.io(cause))?.len();
        let file = log.unlock().map_err(|(_, error)| self.io(error.into()))?;
        Lines::begin(file, length).map_err(|cause| self.io(cause))
    }

    /// Reads the whole log and says what it found, and whether a hash that was noted down
    /// earlier is still in it.
    ///
    /// # Errors
    /// It cannot be opened. A broken line is a [`Verified`] with a fault.
    pub fn verify(&self, noted: Option<Hash>) -> Result<Verified, AuditError> {
        Ok(self.lines()?.verify(&self.dir, noted))
    }

    /// The file, which is made where it is missing, and which is nobody else's.
    fn file(&self) -> Result<File, AuditError> {
        let path = self.path();
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            // A link could lead the log to where others read or end it.
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&path);
        let file = opened.map_err(|cause| self.io(cause))?;
        let what = file.metadata().map_err(|cause| self.io(cause))?;
        if !what.is_file() {
            return Err(self.io(io::Error::other("it is no regular file")));
        }
        if what.mode() & 0o077 != 0 {
            return Err(AuditError::Open { path, mode: what.mode() & 0o7777 });
        }
        if what.len() == 0 {
            // Its name must outlive a power cut as its first line does.
            sync_folder(&self.dir).map_err(|cause| self.io(cause))?;
        }
        Ok(file)
    }

    fn io(&self, cause: io::Error) -> AuditError {
        AuditError::Io { path: self.path(), cause }
    }
}

/// The file that keeps the rest of a torn line, which line `number` names.
fn aside(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("audit.torn-{number}"))
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    let folder = if dir == Path::new("") { Path::new(".") } else { dir };
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
