//! A checksum over the files of a closed database: unchanged since, it needs no other check.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the files of a database were when it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seal {
    bytes: u64,
    checksum: u32,
}

impl Seal {
    /// Reads every file below `database`.
    pub(super) fn of(database: &Path) -> io::Result<Self> {
        let mut hasher = crc32fast::Hasher::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 20];
        for path in files(database)? {
            let name = path.strip_prefix(database).unwrap_or(&path);
            hasher.update(name.as_os_str().as_encoded_bytes());
            let mut file = File::open(&path)?;
            loop {
                let count = file.read(&mut buffer)?;
                let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
                    break;
                };
                hasher.update(read);
                bytes += count as u64;
            }
        }
        Ok(Self { bytes, checksum: hasher.finalize() })
    }
}

/// How large the files below `database` are together.
pub(super) fn size(database: &Path) -> io::Result<u64> {
    files(database)?.iter().map(|path| Ok(fs::metadata(path)?.len())).sum()
}

/// The same, where there may be no such folder.
pub(super) fn size_if_any(folder: &Path) -> io::Result<u64> {
    if folder.exists() { size(folder) } else { Ok(0) }
}

/// The files below `folder`, in an order that does not change.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_breaks_the_seal() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("blobs")).unwrap();
        fs::write(dir.path().join("db"), vec![7; 3 << 20]).unwrap();
        let seal = Seal::of(dir.path()).unwrap();
        assert_eq!(Seal::of(dir.path()).unwrap(), seal);
        let mut changed = vec![7; 3 << 20];
        changed[2 << 20] = 6;
        fs::write(dir.path().join("db"), &changed).unwrap();
        assert_ne!(Seal::of(dir.path()).unwrap(), seal, "a byte");
        fs::write(dir.path().join("db"), vec![7; (3 << 20) - 1]).unwrap();
        assert_ne!(Seal::of(dir.path()).unwrap(), seal, "the length");
        fs::write(dir.path().join("db"), vec![7; 3 << 20]).unwrap();
        fs::write(dir.path().join("blobs/1"), b"").unwrap();
        assert_ne!(Seal::of(dir.path()).unwrap(), seal, "another file");
    }
}
