//! Files that hold a private key: who may read them, and how one comes into being.
//!
//! The check is made on the opened file, not on its name, so that nothing can be
//! exchanged between the check and the reading.

use nix::fcntl::{Flock, FlockArg, OFlag};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest file that is read: a key with a long chain is a tenth of it.
const SIZE_MAX: u64 = 1 << 20;

/// Why a secret file is not used, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It is not there.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// It cannot be opened or read.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is a directory, a device or the like.
    #[error("{} is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// Others than its owner may read or write it.
    #[error(
        "{0} has mode {mode:04o}, so that others than its owner can get at it: run `chmod 600 {0}`",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "{} belongs to user {owner}, but imserver runs as user {us}: run `chown {us} {}`",
        path.display(),
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Anybody may replace it.
    #[error(
        "anybody can replace {}, because {} is writable for all: run `chmod o-w {}`",
        path.display(),
        folder.display(),
        folder.display()
    )]
    Replaceable {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// It is far too large.
    #[error("{} is too large for a key", .0.display())]
    TooLarge(PathBuf),
}

/// Reads a secret that nobody but its owner can get at: mode 0600 or stricter,
/// ours (root may read anybody's), or root's with mode 0640 or stricter, in a folder where
/// not everybody may write.
///
/// A symbolic link is followed, since renewal tools work with them; what counts
/// is the file behind it.
///
/// # Errors
/// Show the sentence and do not use the file.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let unreadable = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => SecretFileError::Missing(path.to_owned()),
        _ => SecretFileError::Unreadable { path: path.to_owned(), cause },
    };
    // Without O_NONBLOCK, opening a named pipe would wait for its other end.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(unreadable)?;
    let what = file.metadata().map_err(unreadable)?;
    if !what.is_file() {
        return Err(SecretFileError::NotAFile(path.to_owned()));
    }
    private(path, what.mode(), what.uid(), nix::unistd::geteuid().as_raw())?;
    for path in [path.to_owned(), fs::canonicalize(path).map_err(unreadable)?] {
        let folder = folder_of(&path);
        let mode = fs::metadata(&folder).map_err(unreadable)?.mode();
        // With the sticky bit, as on /tmp, only owners can replace their files.
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(SecretFileError::Replaceable { path, folder });
        }
    }
    if what.len() > SIZE_MAX {
        return Err(SecretFileError::TooLarge(path.to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(what.len()).unwrap_or(0)));
    file.take(SIZE_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// The permissions that a secret of this owner must not give.
///
/// What belongs to root may be readable for a group: only its members and root can read it,
/// and we, who have opened it, are one of them. So service managers and orchestrators hand
/// out secrets.
pub fn forbidden_bits(owner: u32, us: u32) -> u32 {
    if owner == 0 && us != 0 { 0o037 } else { 0o077 }
}

/// Fails where others than `us` can get at a file of this mode and owner.
fn private(path: &Path, mode: u32, owner: u32, us: u32) -> Result<(), SecretFileError> {
    let path = path.to_owned();
    let handed_out = owner == 0 && us != 0;
    if mode & forbidden_bits(owner, us) != 0 {
        return Err(SecretFileError::Open { path, mode: mode & 0o7777 });
    }
    if owner != us && us != 0 && !(handed_out && mode & 0o040 != 0) {
        return Err(SecretFileError::Foreign { path, owner, us });
    }
    Ok(())
}

/// Makes a new file that only its owner may read, durably, with its folders.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is one: nothing is overwritten.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_with_mode(path, bytes, 0o600)
}

/// Makes a new file with `mode`, durably, with its folders; never overwrites one.
///
/// # Errors
/// As [`create`].
pub fn create_with_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = folder_of(path);
    create_folder(&folder)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file would pass for a whole one at the next start.
        let _ = fs::remove_file(path);
        return written;
    }
    File::open(folder)?.sync_all()
}

/// Makes a folder, and those above it, for us alone; leaves one that exists as it is.
///
/// # Errors
/// When the system refuses, or something else has this name.
pub fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The same, and takes the folder for this process, as a server does with the one that it has
/// open; nothing where another process has it. It is let go when what this gives is dropped.
///
/// # Errors
/// As [`create_folder`], or when it cannot be opened.
pub fn take_folder(path: &Path) -> io::Result<Option<Flock<File>>> {
    create_folder(path)?;
    Ok(Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock).ok())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_its_owner_can_get_at_a_new_secret_and_it_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/key");
        create(&path, b"first").unwrap();
        let again = create(&path, b"second").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path).unwrap().as_slice(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_secret_that_others_can_get_at_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, b"secret").unwrap();
        for mode in [0o640, 0o604, 0o644, 0o620, 0o666, 0o610] {
            set_mode(&path, mode);
            let shown = read(&path).unwrap_err().to_string();
            assert!(shown.contains(&format!("mode {mode:04o}")), "{shown}");
            assert!(shown.contains("chmod 600"), "{shown}");
        }
        for mode in [0o600, 0o400] {
            set_mode(&path, mode);
            assert_eq!(read(&path).unwrap().as_slice(), b"secret");
        }
        set_mode(folder.path(), 0o777);
        assert!(matches!(read(&path), Err(SecretFileError::Replaceable { .. })));
        set_mode(folder.path(), 0o1777);
        read(&path).unwrap();
    }

    #[test]
    fn what_root_hands_out_to_a_group_is_a_secret_and_nothing_else_is() {
        let path = Path::new("key");
        for mode in [0o640, 0o440] {
            private(path, mode, 0, 10001).unwrap();
            // Of root's own files and of anybody else's no group is told.
            assert!(matches!(private(path, mode, 0, 0), Err(SecretFileError::Open { .. })));
            assert!(matches!(private(path, mode, 10001, 10001), Err(SecretFileError::Open { .. })));
            assert!(matches!(private(path, mode, 7, 10001), Err(SecretFileError::Open { .. })));
        }
        for mode in [0o644, 0o660, 0o641] {
            assert!(matches!(private(path, mode, 0, 10001), Err(SecretFileError::Open { .. })));
        }
        assert!(matches!(private(path, 0o600, 0, 10001), Err(SecretFileError::Foreign { .. })));
        assert!(matches!(private(path, 0o600, 7, 10001), Err(SecretFileError::Foreign { .. })));
        private(path, 0o600, 7, 0).unwrap();
    }

    #[test]
    fn a_link_counts_as_what_is_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("key"), folder.path().join("link"));
        create(&path, b"secret").unwrap();
        std::os::unix::fs::symlink("key", &link).unwrap();
        assert_eq!(read(&link).unwrap().as_slice(), b"secret");
        set_mode(&path, 0o644);
        assert!(matches!(read(&link), Err(SecretFileError::Open { .. })));
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(SecretFileError::NotAFile(_))));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&pipe), Err(SecretFileError::NotAFile(_))));
        let none = folder.path().join("none");
        assert!(matches!(read(&none), Err(SecretFileError::Missing(_))));
    }
}
