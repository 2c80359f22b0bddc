//! The end of the log, where the next line goes: whole, or torn by a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::folder::{aside, sync_folder};
use super::line::{Hash, Line};
use super::read::Fault;
use super::{Act, LINE_MAX, TORN};

/// How the log ends.
#[derive(Debug)]
pub(super) struct End {
    /// The last whole line.
    last: Option<Line>,
    /// How far the whole lines reach, in bytes.
    whole: u64,
    /// What stands behind them.
    torn: Vec<u8>,
    /// The last line is whole, but for the sign that ends it.
    unfinished: bool,
}

impl End {
    /// Looks at the end of the log.
    ///
    /// # Errors
    /// The outer one is the system's; the inner one says that the last line is whole and
    /// yet not what was written.
    pub(super) fn find(log: &mut File) -> io::Result<Result<Self, Fault>> {
        let length = log.metadata()?.len();
        // Two lines: a torn one and the whole one before it.
        let from = length.saturating_sub(2 * LINE_MAX as u64 + 2);
        log.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        log.take(length - from).read_to_end(&mut bytes)?;
        Ok(Self::of(&bytes, from))
    }

    fn of(bytes: &[u8], from: u64) -> Result<Self, Fault> {
        let (lines, rest) = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => bytes.split_at(at + 1),
            None => (&[][..], bytes),
        };
        if !rest.is_empty()
            && let Ok(last) = Line::read(rest)
        {
            let whole = from + bytes.len() as u64;
            return Ok(Self { last: Some(last), whole, torn: Vec::new(), unfinished: true });
        }
        // We write no NUL: where the last line holds one, the disk has not kept what was
        // written, though its end has arrived.
        let begin = last_begin(lines);
        let (lines, torn) = match lines.get(begin..) {
            Some(last) if rest.is_empty() && last.contains(&0) => {
                (lines.get(..begin).unwrap_or_default(), last)
            }
            _ => (lines, rest),
        };
        let whole = from + lines.len() as u64;
        let last = match lines.strip_suffix(b"\n") {
            None if lines.is_empty() && whole == 0 => None,
            // Longer than any line of ours, or than two of them.
            None => return Err(Fault::NoLine),
            Some(whole) => Some(Line::read(whole.get(last_begin(lines)..).unwrap_or_default())?),
        };
        Ok(Self { last, whole, torn: torn.to_vec(), unfinished: false })
    }

    /// Number and previous hash of the next line.
    pub(super) fn next(&self) -> (u64, Hash) {
        let next = |line: &Line| (line.number.saturating_add(1), line.hash);
        self.last.as_ref().map_or((1, Hash::START), next)
    }

    /// How far the whole lines reach.
    pub(super) fn whole(&self) -> u64 {
        self.whole
    }

    /// What must be written before the next line.
    pub(super) fn before_next(&self) -> String {
        if self.unfinished { "\n".to_owned() } else { String::new() }
    }

    /// Keeps the rest of a torn line beside the log and takes it out of it.
    ///
    /// Cut off in the middle, it is done again: the rest stays until it is kept.
    pub(super) fn set_torn_aside(&self, dir: &Path, log: &mut File) -> io::Result<()> {
        if self.torn.is_empty() {
            return Ok(());
        }
        let (number, _) = self.next();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(aside(dir, number))?;
        file.write_all(&self.torn)?;
        file.sync_all()?;
        sync_folder(dir)?;
        log.set_len(self.whole)?;
        log.sync_all()
    }

    /// The act that names what is kept under the number of the next line. It is there
    /// also where the power went between the keeping and the naming.
    pub(super) fn named_aside(&self, dir: &Path) -> io::Result<Option<Act>> {
        let (number, _) = self.next();
        let path = aside(dir, number);
        let kept = match fs::read(&path) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let act = Act::new(TORN)
            .with("file", name)
            .with("bytes", kept.len())
            .with("sha256", Hash::of(&kept).to_string());
        Ok(Some(act))
    }
}

/// Where the last of whole lines begins.
fn last_begin(lines: &[u8]) -> usize {
    let before = lines.strip_suffix(b"\n").unwrap_or_default();
    before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}
