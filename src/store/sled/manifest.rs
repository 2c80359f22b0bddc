//! A small file beside the database that says how much must be in it.
//!
//! sled opens a truncated file as a smaller or an empty database and says
//! nothing. The manifest is what notices: a store that holds less than its
//! manifest names is damaged and is not opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::census::Census;
use super::seal::Seal;

/// The length of each of its two lines: one sector, which a disk writes whole.
const LINE: usize = 512;

/// What the store held at the least when this was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The layout of the database.
    pub(super) schema: u64,
    /// The highest message id in it; 0: none.
    pub(super) last_id: u64,
    /// How many messages it ever held.
    pub(super) messages: u64,
    /// How many of them were ever marked read, or are gone.
    pub(super) read: u64,
    /// How many of them are gone; layout 1 knew of none.
    #[serde(default)]
    pub(super) gone: u64,
    /// How often something was revoked, or a user enabled again; layout 1 knew neither.
    #[serde(default)]
    pub(super) decrees: u64,
    /// Set at a clean stop: the numbers are exact, and the files had this checksum.
    pub(super) seal: Option<Seal>,
    checksum: u32,
}

impl Manifest {
    pub(super) fn new(schema: u64, census: Census, seal: Option<Seal>) -> Self {
        let mut manifest = Self {
            schema,
            last_id: census.last_id,
            messages: census.messages,
            read: census.read,
            gone: census.gone,
            decrees: census.decrees,
            seal,
            checksum: 0,
        };
        manifest.checksum = manifest.sum();
        manifest
    }

    /// What the database held when this was written.
    pub(super) fn census(&self) -> Census {
        let Self { last_id, messages, read, gone, decrees, .. } = *self;
        Census { last_id, messages, read, gone, decrees }
    }

    fn sum(&self) -> u32 {
        let Self { schema, last_id, messages, read, gone, decrees, seal, .. } = self;
        let text = match schema {
            1 => format!("{schema} {last_id} {messages} {read} {seal:?}"),
            _ => format!("{schema} {last_id} {messages} {read} {gone} {decrees} {seal:?}"),
        };
        crc32fast::hash(text.as_bytes())
    }
}

/// Where the manifest of a store lies.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("manifest.json")
}

/// Reads the manifest of the store in `dir`; `None` where there is no file.
///
/// Of its two lines one may be torn by a power cut, or older: the counts only grow,
/// for what is gone is counted on.
///
/// # Errors
/// Those of reading, and [`io::ErrorKind::InvalidData`] when no line is whole.
pub(super) fn read(dir: &Path) -> io::Result<Option<Manifest>> {
    let bytes = match fs::read(path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let whole = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Manifest>(line).ok())
        .filter(|manifest| manifest.checksum == manifest.sum())
        .max_by_key(Manifest::census);
    match whole {
        Some(manifest) => Ok(Some(manifest)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "no line of it is whole")),
    }
}

/// Puts `manifest` in the place of the one before, whole or not at all.
pub(super) fn write(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let temporary = dir.join("manifest.json.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let line = line(manifest)?;
    file.write_all(&line)?;
    file.write_all(&line)?;
    file.sync_all()?;
    fs::rename(&temporary, path(dir))?;
    sync_dir(dir)
}

/// The manifest as a line of [`LINE`] bytes.
fn line(manifest: &Manifest) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(manifest)?;
    if line.len() >= LINE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not fit its line"));
    }
    line.resize(LINE - 1, b' ');
    line.push(b'\n');
    Ok(line)
}

/// The manifest of an open store, renewed in its place: two lines by turns, so that
/// one of them is always whole.
///
/// A new file would make the journal of the file system commit, and the next
/// message wait ten milliseconds for it.
#[derive(Debug)]
pub(super) struct Renewed {
    file: File,
    turn: bool,
}

impl Renewed {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().write(true).open(path(dir))?, turn: false })
    }

    pub(super) fn write(&mut self, manifest: &Manifest) -> io::Result<()> {
        self.file.write_all_at(&line(manifest)?, if self.turn { LINE as u64 } else { 0 })?;
        self.file.sync_data()?;
        self.turn = !self.turn;
        Ok(())
    }
}

/// Makes what was created in `dir` survive a power cut.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_digit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_none());
        let census = Census { last_id: 1234, messages: 1200, read: 7, gone: 3, decrees: 5 };
        let manifest = Manifest::new(2, census, None);
        write(dir.path(), &manifest).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(manifest));
        let text = fs::read_to_string(path(dir.path())).unwrap();
        fs::write(path(dir.path()), text.replace("1234", "1134")).unwrap();
        assert_eq!(read(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    /// Of two lines that differed in revocations alone the second one was believed, also where
    /// it was older: a journal that had lost the newest revocation then passed for whole.
    #[test]
    fn the_line_that_knows_more_counts_wherever_it_stands_and_whatever_it_is_about() {
        let dir = tempfile::tempdir().unwrap();
        let before = Census { last_id: 9, messages: 8, read: 7, gone: 6, decrees: 5 };
        let newer = [
            Census { last_id: 10, ..before },
            Census { messages: 9, ..before },
            Census { read: 8, ..before },
            Census { gone: 7, ..before },
            Census { decrees: 6, ..before },
        ];
        for census in newer {
            let lines = [census, before].map(|census| Manifest::new(4, census, None));
            write(dir.path(), &lines[1]).unwrap();
            Renewed::open(dir.path()).unwrap().write(&lines[0]).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(lines[0]), "the first");
            write(dir.path(), &lines[0]).unwrap();
            Renewed::open(dir.path()).unwrap().write(&lines[1]).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(lines[0]), "the second");
        }
    }

    #[test]
    fn a_renewal_cut_short_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let at = |last_id| {
            let census = Census { last_id, messages: last_id, ..Census::default() };
            Manifest::new(2, census, None)
        };
        write(dir.path(), &at(0)).unwrap();
        let mut renewed = Renewed::open(dir.path()).unwrap();
        for last_id in 1..=3 {
            renewed.write(&at(last_id)).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(at(last_id)));
        }
        let mut text = fs::read(path(dir.path())).unwrap();
        assert_eq!(text.len(), 2 * LINE);
        // Where it was no text, the whole one was not read either.
        for rubbish in [b'x', 0xff] {
            text[..40].fill(rubbish);
            fs::write(path(dir.path()), &text).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(at(2)));
        }
    }
}
