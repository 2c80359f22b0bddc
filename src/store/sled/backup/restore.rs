//! From a backup to a store, and whether one is whole.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use super::super::fingerprint::Findings;
use super::super::gone::Skipped;
use super::super::keys;
use super::super::record::ROWS_VERSION;
use super::super::staging::{self, FillError, Staging};
use super::format::{Flaw, Frame, Header, Parser, Summary};
use super::is_companion;

/// What is read of a file at once.
const PIECE: usize = 256 << 10;

/// Why a backup was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is not as it was written.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is right, but cannot become a store.
    #[error(transparent)]
    Fill(#[from] FillError),
}

/// Looks at a backup as it is written or read, piece by piece.
pub struct Checker {
    parser: Parser,
    header: Option<Header>,
    summary: Option<Summary>,
    messages: u64,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("messages", &self.messages).finish_non_exhaustive()
    }
}

impl Default for Checker {
    fn default() -> Self {
        Self { parser: Parser::new(), header: None, summary: None, messages: 0 }
    }
}

impl Checker {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        self.parser.feed(bytes);
        while let Some(frame) = self.parser.next()? {
            match frame {
                Frame::Header(header) => self.header = Some(header),
                Frame::Rows(rows) => {
                    let messages = rows.iter().filter(|(key, _)| key.starts_with(keys::MESSAGES));
                    self.messages += messages.count() as u64;
                }
                Frame::File(..) => {}
                Frame::End(summary) => self.summary = Some(summary),
            }
        }
        Ok(())
    }

    /// How many messages went by so far, and how many there were when the copy began.
    pub fn progress(&self) -> (u64, u64) {
        (self.messages, self.header.as_ref().map_or(0, |header| header.messages))
    }

    /// There are no more bytes: what was it?
    ///
    /// # Errors
    /// [`Flaw::CutShort`].
    pub fn finish(self) -> Result<(Header, Summary), Flaw> {
        self.parser.finish()?;
        self.header.zip(self.summary).ok_or(Flaw::CutShort(0))
    }
}

/// Reads a backup from end to end and checks that it is as it was written.
///
/// # Errors
/// [`BackupError`].
pub fn check(backup: impl Read) -> Result<(Header, Summary), BackupError> {
    let mut checker = Checker::default();
    in_pieces(backup, |piece| Ok(checker.feed(piece)?))?;
    Ok(checker.finish()?)
}

/// Makes the store that was backed up in `dir`, which must be empty or absent.
///
/// Ids go on far behind the last one of the backup, so that none that was given after it
/// was made is ever given again.
///
/// # Errors
/// [`BackupError`]; `dir` is then as empty as it was.
pub fn restore(backup: impl Read, dir: &Path, cache_bytes: u64) -> Result<Findings, BackupError> {
    let mut staging = Staging::begin(dir, cache_bytes)?;
    let mut parser = Parser::new();
    let mut summary = None;
    let mut skipped = Skipped::default();
    in_pieces(backup, |piece| {
        parser.feed(piece);
        while let Some(frame) = parser.next()? {
            match frame {
                Frame::Header(header) if header.layout > ROWS_VERSION => {
                    return Err(newer(header.layout).into());
                }
                Frame::Header(_) => {}
                Frame::Rows(rows) => {
                    for (key, value) in rows.iter() {
                        if key == keys::SKIPPED {
                            skipped = Skipped::decode(key, value).ok_or_else(skips_broken)?;
                            continue;
                        }
                        staging.insert(key, value)?;
                    }
                }
                Frame::File(name, piece) if is_companion(&name) => {
                    staging.append(&name, &piece)?;
                }
                Frame::File(name, _) => {
                    let what =
                        format!("it holds the file {name:?}, which this imserver does not know");
                    return Err(FillError::Source(what).into());
                }
                Frame::End(found) => summary = Some(found),
            }
        }
        Ok(())
    })?;
    parser.finish()?;
    let Some(summary) = summary else { return Err(Flaw::CutShort(0).into()) };
    let skipped = staging::pass_over(skipped, summary.last_id)?;
    staging.insert(keys::SKIPPED, &skipped.encode(keys::SKIPPED))?;
    Ok(staging.publish(|found| match found.messages == summary.messages {
        true => Ok(()),
        false => Err(format!(
            "the backup speaks of {} messages, but {} came out of it",
            summary.messages, found.messages
        )),
    })?)
}

fn skips_broken() -> FillError {
    FillError::Source("its record of skipped ids is not whole".to_owned())
}

fn newer(layout: u64) -> FillError {
    FillError::Source(format!(
        "it has the layout version {layout}, and this imserver knows {ROWS_VERSION}; restore it \
         with the version that made it, or a newer one"
    ))
}

fn in_pieces(
    mut source: impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        match buffer.get(..count) {
            Some(piece) if !piece.is_empty() => take(piece)?,
            _ => return Ok(()),
        }
    }
}
