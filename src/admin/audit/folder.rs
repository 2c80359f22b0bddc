//! The log of one machine: `audit.jsonl` beside the messages.
//!
//! Nothing is ever overwritten but the rest of a line that a power cut tore: that is kept
//! beside the log, and the chain goes on with a line that names it and holds its hash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

use super::end::End;
use super::line::Line;
use super::read::Lines;
use super::{Act, AuditError, FILE, LINE_MAX, Who};
use crate::secret_file;

/// The log in a folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The log in `dir`, which need not be there yet.
    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where it is, with what is kept beside it.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Writes down that `who` does `act`; it is on the disk when this returns.
    ///
    /// It waits for other processes that write to the same log, and for the disk: not for
    /// a task that others wait for.
    ///
    /// # Errors
    /// Nothing was written down, and so nothing may be done.
    pub(super) fn append(&self, who: &Who, act: &Act) -> Result<Line, AuditError> {
        let file = self.file()?;
        let mut log = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| self.io(error.into()))?;
        let io = |cause| self.io(cause);
        let end = self.end(&mut log)?;
        end.set_torn_aside(&self.dir, &mut log).map_err(io)?;

        let mut text = end.before_next();
        let (mut number, mut previous) = end.next();
        let mut write = |who: &Who, act: &Act| {
            let line = Line::new(number, SystemTime::now(), None, who, act, previous);
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

    /// Sees whether a line could go behind the last one.
    ///
    /// # Errors
    /// None could.
    pub(super) fn may_go_on(&self) -> Result<(), AuditError> {
        if !self.path().exists() {
            return Ok(());
        }
        let mut log = Flock::lock(self.file()?, FlockArg::LockShared)
            .map_err(|(_, error)| self.io(error.into()))?;
        self.end(&mut log).map(drop)
    }

    fn end(&self, log: &mut File) -> Result<End, AuditError> {
        let end = End::find(log).map_err(|cause| self.io(cause))?;
        end.map_err(|why| AuditError::Broken { place: self.path().display().to_string(), why })
    }

    /// Reads the log from its beginning to where it ends now, checking every line.
    ///
    /// # Errors
    /// It cannot be opened. What is wrong within it comes in its place.
    pub(super) fn lines(&self) -> Result<Lines, AuditError> {
        // Behind a lock no half of a line is seen that is being written.
        let log = Flock::lock(self.file()?, FlockArg::LockShared)
            .map_err(|(_, error)| self.io(error.into()))?;
        let length = log.metadata().map_err(|cause| self.io(cause))?.len();
        let file = log.unlock().map_err(|(_, error)| self.io(error.into()))?;
        Lines::begin(file, length).map_err(|cause| self.io(cause))
    }

    /// The file, which is made where it is missing, and which is nobody else's.
    pub(super) fn file(&self) -> Result<File, AuditError> {
        secret_file::create_folder(&self.dir).map_err(|cause| self.io(cause))?;
        let path = self.path();
        let (owner, us) = (self.owner()?, geteuid().as_raw());
        if owner != us && !path.exists() {
            // Made by root, it would be one that its server may not write to.
            let what = format!("its folder belongs to user {owner}, and this runs as user {us}");
            return Err(self.io(io::Error::other(what)));
        }
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

    /// Whose the folder is.
    fn owner(&self) -> Result<u32, AuditError> {
        // Of a name alone the folder is the one we are in.
        let folder = self.dir.join(".");
        fs::metadata(folder).map(|found| found.uid()).map_err(|cause| self.io(cause))
    }

    fn io(&self, cause: io::Error) -> AuditError {
        AuditError::Io { path: self.path(), cause }
    }
}

/// The file that keeps the rest of a torn line, which line `number` names.
pub(super) fn aside(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("audit.torn-{number}"))
}

pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    let folder = if dir == Path::new("") { Path::new(".") } else { dir };
    fs::File::open(folder)?.sync_all()
}
