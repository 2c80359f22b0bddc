//! The log as a folder holds it, written from wherever it is: its way back to one machine.
//!
//! The lines are the bytes that were hashed, so that a log which came out of a folder and went
//! on in a stream goes on in a folder again, and a hash that was noted down is still in it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::folder::{aside, sync_folder};
use super::line::{Hash, Line};
use super::read::{Fault, Lines, is_kept};
use super::{AuditError, FILE, TORN};
use crate::secret_file;

/// What a copy is called until it is whole. Not as the files of a log are: a folder with half of
/// one is taken for no log, and not for an empty folder.
const PART: &str = "partial.audit.jsonl";

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The file.
    pub path: PathBuf,
    /// How many lines there are.
    pub lines: u64,
    /// The hash of the last one.
    pub newest: Option<Hash>,
    /// Files that keep the rests of torn lines, which lines name and which were not found.
    pub without: Vec<String>,
}

/// Why no copy was made. There is none then, and nothing else has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] AuditError),
    /// It is broken, or the rest of it cannot be read.
    #[error("{place}: line {number} is broken: {why}; nothing was written")]
    Broken {
        /// The file or the stream.
        place: String,
        /// The line.
        number: u64,
        /// What is wrong.
        why: Fault,
    },
    /// There is an audit log where it is to go.
    #[error(
        "there is an audit log already, {}, and none is written over: move it away, or name \
         another folder",
        .0.display()
    )]
    Occupied(PathBuf),
    /// Another process has the folder.
    #[error(
        "{} is in use by a server or another command: stop that, or name another folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// The system refuses.
    #[error("{} cannot be written: {cause}", path.display())]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Writes `lines`, which come from `place`, into `dir`, with the rests of torn lines that lie in
/// `beside`. It is on the disk when this returns.
pub(super) fn copy(
    lines: Lines,
    place: &str,
    beside: &Path,
    dir: &Path,
) -> Result<Copied, CopyError> {
    let (path, part) = (dir.join(FILE), dir.join(PART));
    let failed = |cause| CopyError::Io { path: part.clone(), cause };
    let in_folder = |cause| CopyError::Io { path: dir.to_owned(), cause };
    // A link that leads nowhere is something, too.
    if path.symlink_metadata().is_ok() {
        return Err(CopyError::Occupied(path));
    }
    // As an import takes the one that it fills.
    let folder = secret_file::take_folder(dir).map_err(in_folder)?;
    let _mine = folder.ok_or_else(|| CopyError::InUse(dir.to_owned()))?;
    // What one that was killed has left.
    if let Err(cause) = fs::remove_file(&part)
        && cause.kind() != io::ErrorKind::NotFound
    {
        return Err(failed(cause));
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(&part);
    let file = file.map_err(failed)?;
    // Removed where this ends before it is whole.
    let whole = TempPath::try_from_path(&part).map_err(failed)?;

    let mut out = BufWriter::new(&file);
    let mut copied = Copied { path: path.clone(), lines: 0, newest: None, without: Vec::new() };
    let mut torn = Vec::new();
    for line in lines {
        let line = match line {
            Ok(line) => line,
            // Nothing of it was reported as done.
            Err((_, Fault::Torn)) => break,
            Err((number, why)) => {
                return Err(CopyError::Broken { place: place.to_owned(), number, why });
            }
        };
        writeln!(out, "{}", line.text).map_err(failed)?;
        copied.lines += 1;
        copied.newest = Some(line.hash);
        if line.act == TORN {
            torn.push(line);
        }
    }
    out.flush().and_then(|()| file.sync_all()).map_err(failed)?;
    drop(out);
    for line in &torn {
        if !has_rest(line, beside, dir).map_err(in_folder)? {
            let rest = aside(Path::new(""), line.number);
            copied.without.push(rest.display().to_string());
        }
    }
    whole.persist_noclobber(&path).map_err(|refused| match refused.error.kind() {
        io::ErrorKind::AlreadyExists => CopyError::Occupied(path.clone()),
        _ => failed(refused.error),
    })?;
    sync_folder(dir).map_err(in_folder)?;
    Ok(copied)
}

/// Sees to it that what `line` names lies in `dir`, and says whether it does.
///
/// Nothing is written over: what lies there and is something else is for who put it there.
fn has_rest(line: &Line, beside: &Path, dir: &Path) -> io::Result<bool> {
    if is_kept(dir, line) {
        return Ok(true);
    }
    let (from, to) = (aside(beside, line.number), aside(dir, line.number));
    if to.exists() || !is_kept(beside, line) {
        return Ok(false);
    }
    secret_file::create(&to, &fs::read(from)?)?;
    Ok(true)
}
