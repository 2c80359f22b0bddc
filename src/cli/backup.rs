//! `imserver backup`, `restore` and `verify`: a copy of everything, and the proof that it is one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use http::Method;
use nix::fcntl::Flock;
use tempfile::TempDir;

use super::cert::exists;
use super::offline::{self, Offline};
use super::progress::Progress;
use super::remote::Remote;
use super::{Failure, count, print};
use crate::admin::{Act, Audit, Who};
use crate::config::Config;
use crate::secret_file;
use crate::store;
use crate::store::sled::{BackupError, Checker, FillError, Findings, OpenError};

/// The name of a backup in its folder.
const FILE: &str = "imserver.backup";

/// Where a restore is tried, beside a backup.
const TRIAL: &str = ".imserver-verify";

/// The priority of a backup.
const NICE: i32 = 19;

/// How much is written before it is brought to the disk. Left to the end, all of it would
/// go at once, and every other file on that disk would wait for it, the server's too.
const SYNC_EVERY: usize = 1 << 20;

/// What `backup` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Copies everything from the running server while it serves, or from the data directory of a
stopped one, into DIR/imserver.backup. It is read back and checked before this says done.
A folder holds one backup; an existing one is never overwritten:
  imserver backup /backups/$(date +%F)

Prove it from time to time with `imserver verify DIR`, which makes a store of it and reads
that from end to end. Whoever can read a backup can read all messages: keep it safe.")]
pub(super) struct BackupArgs {
    /// The folder to write it to; made where there is none
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// What `restore` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only into a `store.path` that is empty or absent, of a server that does not run. New message
ids begin far behind those of the backup, so that none that was given later is given again.")]
pub(super) struct RestoreArgs {
    /// The folder of a backup, or its file
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// What `verify` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads every message, index and flag and checks that they fit together, both ways, and prints
a digest over what they say: equal for a store, its backup and what was restored of it.
The data are not touched; a copy is made beside them for the time it takes.")]
pub(super) struct VerifyArgs {
    /// A folder with a backup, its file, or a data directory [default: store.path]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn backup(
    args: &BackupArgs,
    config: &Config,
    token: Option<&Path>,
) -> Result<(), Failure> {
    let instead = "`nats account backup` copies the streams, and `imserver export` writes all that \
                   is in them as JSON lines";
    offline::folder_alone(config, "backup", instead)?;
    // A server on the same machine goes first. Where the system refuses it, it is slower.
    let _ = rustix::process::nice(NICE);
    let path = args.dir.join(FILE);
    let part = Partial::begin(&args.dir, &path)?;
    match Remote::connect(config, token)? {
        Some(server) => part.fill(|take| server.stream(Method::GET, "/admin/backup", None, take)),
        None => {
            // Opened first, since it can be refused; nothing is done by that.
            let store = Offline::open(config)?;
            note(config, &Act::new("backup"))?;
            part.fill(|take| store.backup(take)).and_then(|()| store.close())
        }
    }?;
    let (header, summary) = part.keep(&path)?;
    print(format!(
        "{}: {} up to id {}, as of {}; written and checked",
        path.display(),
        count(summary.messages, "message"),
        summary.last_id,
        offline::time(header.made),
    ))?;
    print(format!("sha256 of its contents: {}", summary.sha256))
}

pub(super) fn restore(args: &RestoreArgs, config: &Config) -> Result<(), Failure> {
    let instead = "`nats account restore` brings streams back; restore a backup with backend = \
                   \"sled\", and `imserver migrate` moves it into streams";
    offline::folder_alone(config, "restore", instead)?;
    let path = file_of(&args.dir)?;
    let (file, size) = open(&path)?;
    let progress = Progress::bytes("restoring", size);
    let restored =
        store::sled::restore(progress.reading(file), &config.store.path, offline::CACHE_BYTES);
    progress.end();
    let found = restored.map_err(|error| failure(&path, error))?;
    note(config, &Act::new("restore").with("messages", found.messages))?;
    let place = config.store.path.display();
    print(format!("{place}: restored from {} and verified", path.display()))?;
    print(summary(&found))
}

pub(super) fn verify(args: &VerifyArgs, config: &Config) -> Result<(), Failure> {
    let dir = args.dir.as_deref().unwrap_or(&config.store.path);
    if dir.is_file() || dir.join(FILE).exists() {
        return verify_backup(&file_of(dir)?);
    }
    if args.dir.is_none() {
        let instead = "`imserver cluster status` says how the streams are; name a folder or a \
                       backup to verify that";
        offline::folder_alone(config, "verify", instead)?;
    }
    store::sled::must_exist(dir).map_err(|error| match &args.dir {
        Some(dir) => Failure::usage(format!(
            "{}: neither a backup nor the data of a server; name a folder with one of them",
            dir.display()
        )),
        None => Failure::usage(error),
    })?;
    let found = store::sled::verify(dir, offline::CACHE_BYTES).map_err(|error| match error {
        OpenError::InUse { path } => Failure::failed(format!(
            "{} is in use: stop the server to verify it, or verify a backup of it instead, \
             which checks the same: `imserver backup DIR`, then `imserver verify DIR`",
            path.display()
        )),
        other => Failure::failed(other),
    })?;
    print(format!("{}: every row is whole, and all fit together", dir.display()))?;
    print(summary(&found))
}

/// Makes a store of the backup, for as long as it takes to read it.
fn verify_backup(path: &Path) -> Result<(), Failure> {
    let (file, size) = open(path)?;
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let (trial, _mine) = trial(folder)
        .map_err(|error| Failure::failed(format!("there is no place to try a restore: {error}")))?;
    let progress = Progress::bytes("trying a restore", size);
    let tried = store::sled::restore(
        progress.reading(file),
        &trial.path().join("data"),
        offline::CACHE_BYTES,
    );
    progress.end();
    let found = tried.map_err(|error| failure(path, error))?;
    print(format!("{}: it is whole, and a store was made of it and read", path.display()))?;
    print(summary(&found))
}

/// A place to try a restore in, beside the backup or where the system has room for such things,
/// and the hold on it.
fn trial(folder: &Path) -> io::Result<(TempDir, Option<Flock<File>>)> {
    let place = folder.join(TRIAL);
    // What one that was cut short has left: all messages. One that is at work holds it.
    if place.exists()
        && let Ok(Some(_mine)) = secret_file::take_folder(&place)
    {
        let _ = fs::remove_dir_all(&place);
    }
    let beside = tempfile::Builder::new().prefix(TRIAL).rand_bytes(0).tempdir_in(folder);
    let trial = beside.or_else(|_| tempfile::Builder::new().prefix("imserver-").tempdir())?;
    let mine = secret_file::take_folder(trial.path())?;
    Ok((trial, mine))
}

pub(super) fn summary(found: &Findings) -> String {
    format!("{}; digest {}", count(found.messages, "message"), found.digest)
}

/// Writes down an act of this command, which no server did.
pub(super) fn note(config: &Config, act: &Act) -> Result<(), Failure> {
    Audit::of(&config.store)?.append(&Who::shell(), act)?;
    Ok(())
}

/// The backup that a folder or a file is.
fn file_of(dir: &Path) -> Result<PathBuf, Failure> {
    let path = if dir.is_dir() { dir.join(FILE) } else { dir.to_owned() };
    match exists(&path)? {
        true => Ok(path),
        false => Err(Failure::usage(format!("there is no backup: {} is missing", path.display()))),
    }
}

fn open(path: &Path) -> Result<(File, u64), Failure> {
    let opened = File::open(path).and_then(|file| file.metadata().map(|found| (file, found.len())));
    opened.map_err(|error| Failure::failed(format!("{} cannot be read: {error}", path.display())))
}

fn failure(path: &Path, error: BackupError) -> Failure {
    match error {
        BackupError::Fill(error @ FillError::Occupied { .. }) => Failure::usage(error),
        // The directory's own trouble is no fault of the backup.
        BackupError::Fill(error @ FillError::Directory(_)) => Failure::failed(error),
        other => Failure::failed(format!("{}: {other}", path.display())),
    }
}

/// A backup while it is written; removed unless it is kept.
struct Partial {
    path: PathBuf,
    file: Option<File>,
    /// Only one at a time is written to a folder.
    _folder: Flock<File>,
}

impl Partial {
    /// Begins one that is to become `whole`, which must not be there.
    fn begin(dir: &Path, whole: &Path) -> Result<Self, Failure> {
        let folder = secret_file::take_folder(dir).map_err(|error| {
            Failure::failed(format!("{} cannot be made: {error}", dir.display()))
        })?;
        let folder = folder.ok_or_else(|| {
            Failure::failed(format!(
                "{} is in use: another backup is being written to it, or it is the data directory \
                 of a server; name another folder",
                dir.display()
            ))
        })?;
        if whole.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!(
                "there is a backup already, {}, and none is overwritten: name another folder",
                whole.display()
            )));
        }
        let path = dir.join(format!("{FILE}.partial"));
        // What a killed one left is written over.
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { path, file: Some(file), _folder: folder })
    }

    /// Writes what comes, and looks at it as it comes.
    fn fill(
        &self,
        from: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut file = file;
        let mut checker = Checker::default();
        let mut unsynced = 0;
        let progress = Progress::messages("copying");
        from(&mut |piece| {
            checker.feed(piece).map_err(|flaw| {
                Failure::failed(format!("what the server sends is no whole backup: {flaw}"))
            })?;
            let (done, all) = checker.progress();
            progress.at(done, all);
            file.write_all(piece).map_err(|error| cannot_write(&self.path, &error))?;
            unsynced += piece.len();
            if unsynced >= SYNC_EVERY {
                unsynced = 0;
                file.sync_data().map_err(|error| cannot_write(&self.path, &error))?;
            }
            Ok(())
        })?;
        progress.end();
        checker.finish().map_err(|_| {
            Failure::failed("the server broke the backup off; its log says why. Nothing was kept")
        })?;
        file.sync_all().map_err(|error| cannot_write(&self.path, &error))
    }

    /// Reads it back, and gives it its name.
    fn keep(mut self, path: &Path) -> Result<(store::sled::Header, store::sled::Summary), Failure> {
        let (file, size) = open(&self.path)?;
        let progress = Progress::bytes("checking", size);
        let checked = store::sled::check(progress.reading(file));
        progress.end();
        let checked = checked.map_err(|error| {
            Failure::failed(format!("{} was not written as it was sent: {error}", path.display()))
        })?;
        fs::rename(&self.path, path).map_err(|error| cannot_write(path, &error))?;
        let folder = path.parent().map(File::open);
        let synced = folder.map_or(Ok(()), |folder| folder.and_then(|folder| folder.sync_all()));
        synced.map_err(|error| cannot_write(path, &error))?;
        self.file = None;
        Ok(checked)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}
