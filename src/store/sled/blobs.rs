//! The files that sled keeps its largest pages in, and never syncs.
//!
//! A page of more than a quarter of a segment goes into a file of its own before the log
//! names it. sled 0.34.7 leaves it to the system when that reaches the disk (`write_blob`),
//! so that a power cut takes what the log, which is synced, then lacks. In new databases no
//! page is so large ([`super::segment`]); those with segments of 512 KiB have such files
//! from sixteen messages of 8 KiB on, and their moment of danger is only made short here.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What a folder's time of change may be behind: two changes so close may bear the same.
const GRAIN: Duration = Duration::from_millis(100);

/// The files of a database, as far as they are known to be on the disk.
#[derive(Debug)]
pub(super) struct Blobs {
    folder: PathBuf,
    synced: HashSet<OsString>,
    /// When the folder had changed, and when that was looked at.
    seen: Option<(SystemTime, SystemTime)>,
}

impl Blobs {
    /// Those of the database in this folder, none of which is known yet.
    pub(super) fn of(database: &Path) -> Self {
        Self { folder: database.join("blobs"), synced: HashSet::new(), seen: None }
    }

    /// Brings to the disk what has come since the last time.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let looked = SystemTime::now();
        let changed = match fs::metadata(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            folder => folder?.modified()?,
        };
        if self.is_known(changed) {
            return Ok(());
        }
        let mut here = HashSet::new();
        let mut news = false;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !self.synced.contains(&name) {
                match File::open(entry.path()) {
                    // sled has put another page in its place.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    file => file?.sync_all()?,
                }
                news = true;
            }
            here.insert(name);
        }
        if news {
            File::open(&self.folder)?.sync_all()?;
        }
        self.synced = here;
        self.seen = Some((changed, looked));
        Ok(())
    }

    /// Whether nothing can have come since the folder was read.
    fn is_known(&self, changed: SystemTime) -> bool {
        self.seen.is_some_and(|(before, looked)| {
            changed == before && looked.duration_since(changed).is_ok_and(|since| since > GRAIN)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_synced_once_and_what_goes_is_forgotten() {
        let database = tempfile::tempdir().unwrap();
        let mut blobs = Blobs::of(database.path());
        blobs.sync().unwrap();
        assert!(blobs.seen.is_none(), "there is no folder yet");
        let folder = database.path().join("blobs");
        fs::create_dir(&folder).unwrap();
        // Also those that come within the grain of the folder's time.
        for name in ["1", "2", "3"] {
            fs::write(folder.join(name), name).unwrap();
            blobs.sync().unwrap();
            assert!(blobs.synced.contains(&OsString::from(name)), "{name}");
        }
        fs::remove_file(folder.join("2")).unwrap();
        blobs.sync().unwrap();
        assert_eq!(blobs.synced.len(), 2);
    }

    #[test]
    fn a_folder_is_read_again_unless_it_surely_is_as_it_was() {
        let mut blobs = Blobs::of(Path::new("nowhere"));
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let after = |later| Some((changed, changed + later));
        assert!(!blobs.is_known(changed));
        blobs.seen = after(GRAIN / 2);
        assert!(!blobs.is_known(changed));
        blobs.seen = after(GRAIN * 2);
        assert!(blobs.is_known(changed) && !blobs.is_known(changed + GRAIN));
        // The clock was set back meanwhile.
        blobs.seen = Some((changed, changed - GRAIN));
        assert!(!blobs.is_known(changed));
    }
}
