//! Reading the log back, with every link of the chain checked.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Take};
use std::path::Path;

use super::folder::aside;
use super::line::{Hash, Line};
use super::shared::Reading;
use super::{LINE_MAX, TORN};

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is not one of ours.
    #[error("it is no line of an audit log")]
    NoLine,
    /// Its hash is not the one of what it says.
    #[error("it does not say what it said when it was written")]
    Changed,
    /// It does not follow the line before it.
    #[error("it does not follow the line before it: lines were changed, left out or put in")]
    Unlinked,
    /// It is the last one, and has no end: what a power cut leaves.
    #[error("it was cut off while it was written; nothing of it was reported as done")]
    Torn,
    /// What was kept of a torn line is not what the log says of it.
    #[error("the file that it names is missing or has changed")]
    Aside,
    /// It lies in its stream as something else than it is.
    #[error("it lies there under another subject than it was written under")]
    Misplaced,
    /// The system does not give it.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// The lines of a log; what is wrong with one ends them.
pub struct Lines {
    source: Source,
    expected: u64,
    previous: Hash,
    ended: bool,
}

/// Where they come from.
enum Source {
    File(Take<BufReader<File>>),
    Stream(Reading),
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn begin(mut file: File, length: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self::of(Source::File(BufReader::new(file).take(length))))
    }

    /// The lines of a stream.
    pub(super) fn of_stream(reading: Reading) -> Self {
        Self::of(Source::Stream(reading))
    }

    fn of(source: Source) -> Self {
        Self { source, expected: 1, previous: Hash::START, ended: false }
    }

    fn read(&mut self) -> Result<Option<Line>, Fault> {
        let read = match &mut self.source {
            Source::File(file) => of_file(file)?,
            Source::Stream(reading) => reading.next()?,
        };
        let Some(line) = read else { return Ok(None) };
        if line.number != self.expected || line.previous != self.previous {
            return Err(Fault::Unlinked);
        }
        self.expected = line.number.saturating_add(1);
        self.previous = line.hash;
        Ok(Some(line))
    }

    /// Reads all that are left.
    ///
    /// What is kept of torn lines is looked for in `dir`, where there is one.
    pub(super) fn verify(mut self, dir: Option<&Path>, noted: Option<Hash>) -> Verified {
        let has_noted = noted == Some(Hash::START);
        let mut verified = Verified { lines: 0, newest: None, has_noted, torn: 0, fault: None };
        loop {
            let number = self.expected;
            let line = match self.read() {
                Ok(None) => return verified,
                Ok(Some(line)) => line,
                Err(fault) => return Verified { fault: Some((number, fault)), ..verified },
            };
            if line.act == TORN
                && let Some(dir) = dir
            {
                verified.torn += 1;
                if !is_kept(dir, &line) {
                    return Verified { fault: Some((number, Fault::Aside)), ..verified };
                }
            }
            verified.lines += 1;
            verified.newest = Some(line.hash);
            verified.has_noted |= noted == Some(line.hash);
        }
    }
}

/// The next line of a file.
fn of_file(file: &mut Take<BufReader<File>>) -> Result<Option<Line>, Fault> {
    let mut bytes = Vec::new();
    let mut one = file.by_ref().take(LINE_MAX as u64);
    one.read_until(b'\n', &mut bytes).map_err(|error| Fault::Unreadable(error.to_string()))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let at_end = file.limit() == 0;
    let line = match bytes.strip_suffix(b"\n") {
        Some(line) => Line::read(line),
        // Whole, but for the sign that ends it: the next act adds that.
        None => Line::read(&bytes).map_err(|_| if at_end { Fault::Torn } else { Fault::NoLine }),
    };
    // We write no NUL: the disk has not kept what was written.
    line.map(Some).map_err(|why| if at_end && bytes.contains(&0) { Fault::Torn } else { why })
}

/// Whether what was kept of a torn line is what `line` says of it.
pub(super) fn is_kept(dir: &Path, line: &Line) -> bool {
    let kept = fs::read(aside(dir, line.number)).map(|kept| Hash::of(&kept).to_string());
    let said = line.details.get("sha256").and_then(|said| said.as_str());
    kept.is_ok_and(|kept| Some(kept.as_str()) == said)
}

impl Iterator for Lines {
    /// A line, or the number of the one that is wrong and what is.
    type Item = Result<Line, (u64, Fault)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let number = self.expected;
        let next = self.read().map_err(|fault| (number, fault)).transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// What a whole reading came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Good lines, up to the first bad one.
    pub lines: u64,
    /// The hash of the last good one.
    pub newest: Option<Hash>,
    /// One of them has the hash that was noted down earlier.
    pub has_noted: bool,
    /// Lines that name what a power cut left.
    pub torn: u64,
    /// The first bad line, and what is wrong with it.
    pub fault: Option<(u64, Fault)>,
}
