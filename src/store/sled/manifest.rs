//! A small file beside the database that says how much must be in it.
//!
//! sled opens a truncated file as a smaller or an empty database and says
//! nothing. The manifest is what notices: a store that holds less than its
//! manifest names is damaged and is not opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::census::Census;
use super::seal::Seal;

/// What the store held at the least when this was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The layout of the database.
    pub(super) schema: u64,
    /// The highest message id in it; 0: none.
    pub(super) last_id: u64,
    /// How many messages it holds.
    pub(super) messages: u64,
    /// How many of them were marked read.
    pub(super) read: u64,
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
            seal,
            checksum: 0,
        };
        manifest.checksum = manifest.sum();
        manifest
    }

    /// What the database held when this was written.
    pub(super) fn census(&self) -> Census {
        Census { last_id: self.last_id, messages: self.messages, read: self.read }
    }

    fn sum(&self) -> u32 {
        let text = format!(
            "{} {} {} {} {:?}",
            self.schema, self.last_id, self.messages, self.read, self.seal
        );
        crc32fast::hash(text.as_bytes())
    }
}

/// Where the manifest of a store lies.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("manifest.json")
}

/// Reads the manifest of the store in `dir`; `None` where there is no file.
///
/// # Errors
/// Those of reading, and [`io::ErrorKind::InvalidData`] when it is not whole.
pub(super) fn read(dir: &Path) -> io::Result<Option<Manifest>> {
    let text = match fs::read_to_string(path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let manifest: Manifest = serde_json::from_str(&text)?;
    if manifest.checksum != manifest.sum() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum does not match"));
    }
    Ok(Some(manifest))
}

/// Puts `manifest` in the place of the one before, whole or not at all.
pub(super) fn write(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let temporary = dir.join("manifest.json.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(manifest)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&temporary, path(dir))?;
    sync_dir(dir)
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
        let census = Census { last_id: 1234, messages: 1200, read: 7 };
        let manifest = Manifest::new(1, census, None);
        write(dir.path(), &manifest).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(manifest));
        let text = fs::read_to_string(path(dir.path())).unwrap();
        fs::write(path(dir.path()), text.replace("1234", "1134")).unwrap();
        assert_eq!(read(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
