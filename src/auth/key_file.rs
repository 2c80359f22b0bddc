//! The file that a key set lies in: whom it may belong to, who may read it, and
//! how it is replaced without ever being half there.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::keys::{KeySet, SetFault};
use crate::config::Auth;
use crate::secret_file;

/// Hundreds of the largest keys; what is bigger is another file.
const FILE_MAX: u64 = 1 << 20;

/// Why there is no key set to be had from a file, or none to be put there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// There is no such file.
    #[error(
        "{}: there is no key set yet; make one with `imserver key generate --alg EdDSA`",
        .0.display()
    )]
    Missing(PathBuf),
    /// There is no such file, and another place that keys come from.
    #[error(
        "{}: there is no key set yet; where the keys of auth.jwks_url are to be the only ones, \
         write {{\"keys\":[]}} there, or make one with `imserver key generate --alg EdDSA`",
        .0.display()
    )]
    MissingBeside(PathBuf),
    /// There is no key in it.
    #[error(
        "{}: there is no key in this set; add one with `imserver key generate --alg EdDSA`",
        .0.display()
    )]
    Empty(PathBuf),
    /// The file is not kept as it should be.
    #[error("{}: {fault}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What to change about it.
        fault: FileFault,
    },
    /// The set in it cannot be used.
    #[error("{}: {fault}", path.display())]
    Set {
        /// Which file.
        path: PathBuf,
        /// What to change in it. Boxed, as it is large and rare.
        fault: Box<SetFault>,
    },
    /// The system refused to read or write it.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What could not be done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// What about a key file would let others read or change the keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it all")]
#[non_exhaustive]
pub enum FileFault {
    #[error("this is a symbolic link, which can be turned elsewhere; name the file itself")]
    Link,
    #[error("this is not a regular file; name the file that holds the key set")]
    NotAFile,
    #[error("this is larger than {FILE_MAX} bytes; is it another file?")]
    TooLarge,
    #[error(
        "this belongs to user {owner}, who could change it, but we run as user {we}; change one \
         of the two, for example with `chown {we} {path}`"
    )]
    Owner { owner: u32, we: u32, path: Shown },
    #[error("its mode {mode:04o} lets other users change the keys; run `chmod {right} {path}`")]
    Writable { mode: u32, right: &'static str, path: Shown },
    #[error("its mode {mode:04o} lets other users read the secrets in it; run `chmod 600 {path}`")]
    Readable { mode: u32, path: Shown },
    #[error(
        "every user may replace files in {path} (mode {mode:04o}); run `chmod 755 {path}` or move \
         the keys elsewhere"
    )]
    OpenDirectory { mode: u32, path: Shown },
}

/// A path as a shell takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(PathBuf);

impl KeySet {
    /// Reads the set in a file and checks that the file is kept as its contents
    /// deserve: not a link, ours or root's, changed by nobody else, and with
    /// secrets in it read by nobody else.
    ///
    /// # Errors
    /// Every one is a sentence for the operator; no key of the file should be
    /// used.
    pub fn load(path: &Path) -> Result<Self, KeySetError> {
        let set = read(path)?;
        if set.is_empty() {
            return Err(KeySetError::Empty(path.to_owned()));
        }
        Ok(set)
    }

    /// Reads the set that the configuration names. It may be empty where an identity provider
    /// has keys too.
    ///
    /// # Errors
    /// As [`KeySet::load`].
    pub fn configured(auth: &Auth) -> Result<Self, KeySetError> {
        if auth.jwks_url.is_none() {
            return Self::load(&auth.keys);
        }
        read(&auth.keys).map_err(|error| match error {
            KeySetError::Missing(path) => KeySetError::MissingBeside(path),
            other => other,
        })
    }

    /// Changes the set in a file, which is made where there is none.
    ///
    /// Nobody else who comes this way changes it meanwhile, and whoever reads
    /// it sees the old set or the new one, also after a power cut.
    ///
    /// # Errors
    /// The file is then as it was.
    pub fn edit<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, SetFault>,
    ) -> Result<T, KeySetError> {
        let directory = directory_of(path);
        let failed = |action| move |source| io_error(path, action, source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed("its directory cannot be made"))?;
        let directory = File::open(directory).map_err(failed("its directory cannot be opened"))?;
        let directory = Flock::lock(directory, FlockArg::LockExclusive)
            .map_err(|(_, errno)| io_error(path, "its directory cannot be locked", errno.into()))?;
        let mut set = match read(path) {
            Err(KeySetError::Missing(_)) => Self::default(),
            other => other?,
        };
        let result = change(&mut set).map_err(|fault| set_error(path, fault))?;
        save(&set, path, &directory).map_err(failed("the key set cannot be saved"))?;
        Ok(result)
    }
}

fn read(path: &Path) -> Result<KeySet, KeySetError> {
    let fault = |fault| KeySetError::File { path: path.to_owned(), fault };
    // Not blocking, or a pipe of that name would stop us here for ever.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = file.map_err(|source| match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => KeySetError::Missing(path.to_owned()),
        Some(Errno::ELOOP) => fault(FileFault::Link),
        _ => io_error(path, "the key set cannot be opened", source),
    })?;
    // Of the open file, so that it cannot be another one a moment later.
    let cannot_read = |source| io_error(path, "the key set cannot be read", source);
    let metadata = file.metadata().map_err(cannot_read)?;
    let directory = directory_of(path);
    let around = directory.metadata().map_err(cannot_read)?;
    check_owner(path, &metadata).map_err(fault)?;
    check_directory(directory, &around).map_err(fault)?;

    let size = usize::try_from(metadata.len()).unwrap_or_default();
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(size + 1));
    (&file).take(FILE_MAX).read_to_end(&mut text).map_err(cannot_read)?;
    let set = KeySet::parse(&text).map_err(|fault| set_error(path, fault))?;
    check_mode(path, &metadata, set.holds_secrets()).map_err(fault)?;
    Ok(set)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), FileFault> {
    if !metadata.is_file() {
        return Err(FileFault::NotAFile);
    }
    if metadata.len() > FILE_MAX {
        return Err(FileFault::TooLarge);
    }
    let (owner, we) = (metadata.uid(), geteuid().as_raw());
    if owner != we && owner != 0 {
        return Err(FileFault::Owner { owner, we, path: Shown(path.to_owned()) });
    }
    Ok(())
}

fn check_directory(directory: &Path, metadata: &Metadata) -> Result<(), FileFault> {
    let mode = metadata.mode() & 0o7777;
    // In a sticky directory (as /tmp is) nobody can replace another's file.
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(FileFault::OpenDirectory { mode, path: Shown(directory.to_owned()) });
    }
    Ok(())
}

fn check_mode(path: &Path, metadata: &Metadata, secret: bool) -> Result<(), FileFault> {
    let mode = metadata.mode() & 0o7777;
    let path = || Shown(path.to_owned());
    // Who can add a key to the set can sign for anybody.
    if mode & 0o022 != 0 {
        let right = if secret { "600" } else { "644" };
        return Err(FileFault::Writable { mode, right, path: path() });
    }
    let forbidden = secret_file::forbidden_bits(metadata.uid(), geteuid().as_raw());
    if secret && mode & forbidden != 0 {
        return Err(FileFault::Readable { mode, path: path() });
    }
    Ok(())
}

fn save(set: &KeySet, path: &Path, directory: &File) -> io::Result<()> {
    let text = set.to_text()?;
    // Made anew (O_EXCL) with mode 0600, and gone again if we fail.
    let mut file = NamedTempFile::with_prefix_in(".keys-", directory_of(path))?;
    file.write_all(&text)?;
    // Public keys stay readable for whoever could read them: a server may run as another user.
    if !set.holds_secrets()
        && let Ok(before) = fs::metadata(path)
    {
        let mode = before.mode() & 0o644;
        match fchown(file.as_file(), None, Some(before.gid())) {
            // The group is one that we cannot give it to: that matters where nobody else can read.
            Err(error) if mode & 0o044 == 0o040 => return Err(error),
            _ => file.as_file().set_permissions(Permissions::from_mode(mode))?,
        }
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The name is on the disk only once its directory is.
    directory.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn set_error(path: &Path, fault: SetFault) -> KeySetError {
    KeySetError::Set { path: path.to_owned(), fault: Box::new(fault) }
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> KeySetError {
    KeySetError::Io { path: path.to_owned(), action, source }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.display().to_string();
        let plain = |c: char| c.is_alphanumeric() || "/._-+,:@".contains(c);
        if path.chars().all(plain) {
            f.write_str(&path)
        } else {
            write!(f, "'{}'", path.replace('\'', r"'\''"))
        }
    }
}

#[cfg(test)]
mod tests;
