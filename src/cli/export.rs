//! `imserver export` and `import`: everything as JSON lines, out and in again.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use http::Method;
use serde::Deserialize;
use tempfile::TempPath;

use super::backup::note;
use super::offline::{self, Offline};
use super::progress::Progress;
use super::remote::Remote;
use super::token::user;
use super::{Failure, count, print};
use crate::admin::Act;
use crate::config::{Backend, Config};
use crate::ids::UserId;
use crate::store;
use crate::store::sled::{FillError, ImportError};

/// What `export` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One JSON object a line: what follows, then profiles, what is gone, revocations and messages by
id, and at the end their number and a digest over them. docs/backup.md describes each.

Examples:
  imserver export > everything.jsonl
  imserver export --sub 1 user-1.jsonl      what user 1 and others wrote to each other")]
pub(super) struct ExportArgs {
    /// Only the data of this user
    #[arg(long, value_name = "ID", value_parser = user)]
    sub: Option<UserId>,
    /// The file to write, which must not exist; - is standard output
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// What `import` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Takes an export of everything into a `store.path` that is empty or absent, of a server that
does not run. Message ids are those of the lines. All lines are taken, or nothing is. An audit
log may lie there already (`imserver audit export DIR`): it goes on behind its last line.")]
pub(super) struct ImportArgs {
    /// The file to read; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn export(
    args: &ExportArgs,
    config: &Config,
    token: Option<&Path>,
) -> Result<(), Failure> {
    if args.file == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        lines(args.sub, config, token, &mut out, &args.file)?;
        tell_of_new_ids(args.sub, config);
        return Ok(());
    }
    let unfinished = Unfinished::begin(&args.file)?;
    let mut out = BufWriter::new(&unfinished.file);
    let end = lines(args.sub, config, token, &mut out, &args.file)?;
    drop(out);
    unfinished.keep()?;
    print(format!("{}: {end}", args.file.display()))?;
    tell_of_new_ids(args.sub, config);
    Ok(())
}

/// A file that is being written, under another name than it is to have: half of an export would
/// pass for all of it. Removed unless it is kept; where the command is killed it stays, and its
/// name says what it is.
struct Unfinished<'a> {
    whole: &'a Path,
    part: TempPath,
    file: File,
}

impl<'a> Unfinished<'a> {
    fn begin(whole: &'a Path) -> Result<Self, Failure> {
        if whole.symlink_metadata().is_ok() {
            return Err(exists(whole));
        }
        let mut part = whole.as_os_str().to_owned();
        part.push(".partial");
        let file = File::options().write(true).create_new(true).mode(0o600).open(&part);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(format!(
                "{} exists: an export is being written there, or one was cut short and is not \
                 whole; then remove it, and try again",
                Path::new(&part).display()
            )),
            _ => cannot_write(whole, &error),
        })?;
        let part = TempPath::try_from_path(part).map_err(|error| cannot_write(whole, &error))?;
        Ok(Self { whole, part, file })
    }

    /// Gives it its name, on the disk.
    fn keep(self) -> Result<(), Failure> {
        let Self { whole, part, file } = self;
        file.sync_all().map_err(|error| cannot_write(whole, &error))?;
        part.persist_noclobber(whole).map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => exists(whole),
            _ => cannot_write(whole, &refused.error),
        })?;
        let folder = whole.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).map_err(|error| cannot_write(whole, &error))
    }
}

fn exists(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} exists, and nothing is overwritten: name another file",
        path.display()
    ))
}

/// Says, beside the lines, that ids are others than clients know.
fn tell_of_new_ids(whose: Option<UserId>, config: &Config) {
    let partitions = config.store.jetstream.partitions;
    if whose.is_some() || config.store.backend == Backend::Sled || partitions <= 1 {
        return;
    }
    let _ = writeln!(
        io::stderr().lock(),
        "note: ids of {partitions} partitions do not tell which message came first, so all messages \
         have new ids in these lines, in the order of their conversations and above every id of \
         before. Clients load their conversations anew where this is imported, and what they mark \
         as read by an old id stays unread (docs/cluster.md, Moving out again)"
    );
}

/// The last line of an export, as far as it is shown.
#[derive(Deserialize)]
struct End {
    messages: u64,
    digest: String,
}

impl End {
    /// Nothing where the line is another one, or not whole.
    fn read(tail: &[u8]) -> Option<Self> {
        let line = tail.strip_suffix(b"\n")?.rsplit(|&byte| byte == b'\n').next()?;
        line.starts_with(b"{\"kind\":\"end\"").then(|| serde_json::from_slice(line).ok())?
    }
}

/// The last bytes of what comes in pieces, which end wherever the network has them end.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// The last line of an export is much shorter.
    const LENGTH: usize = 1024;

    fn add(&mut self, piece: &[u8]) {
        let more = piece.len().saturating_sub(Self::LENGTH);
        self.0.extend_from_slice(piece.get(more..).unwrap_or_default());
        self.0.drain(..self.0.len().saturating_sub(Self::LENGTH));
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; digest {}", count(self.messages, "message"), self.digest)
    }
}

/// Writes the lines, and sees that they have an end, which it gives.
fn lines(
    whose: Option<UserId>,
    config: &Config,
    token: Option<&Path>,
    out: &mut dyn Write,
    name: &Path,
) -> Result<End, Failure> {
    let mut tail = Tail::default();
    let mut take = |piece: &[u8]| {
        tail.add(piece);
        out.write_all(piece).map_err(|error| cannot_write(name, &error))
    };
    match Remote::connect(config, token)? {
        Some(server) => {
            let target = match whose {
                Some(user) => format!("/admin/users/{user}/export"),
                None => "/admin/export".to_owned(),
            };
            server.stream(Method::GET, &target, None, take)?;
        }
        None => {
            // Once it is open, which can be refused; nothing is done by that.
            let begin = || note(config, &act(whose));
            match config.store.backend {
                Backend::Sled => {
                    let store = Offline::open(config)?;
                    begin()?;
                    store.export(whose, &mut take)?;
                    store.close()?;
                }
                Backend::JetStream => offline::export_streams(config, whose, begin, &mut take)?,
            }
        }
    }
    out.flush().map_err(|error| cannot_write(name, &error))?;
    End::read(&tail.0).ok_or_else(|| Failure::failed("the export was broken off before its end"))
}

fn act(whose: Option<UserId>) -> Act {
    match whose {
        Some(user) => Act::new("user.export").with("user", user.get()),
        None => Act::new("export"),
    }
}

pub(super) fn import(args: &ImportArgs, config: &Config) -> Result<(), Failure> {
    let instead = "import with backend = \"sled\", and `imserver migrate` moves it into streams";
    offline::folder_alone(config, "import", instead)?;
    let path = &config.store.path;
    let imported = if args.file == Path::new("-") {
        store::sled::import(io::stdin().lock(), path, offline::CACHE_BYTES)
    } else {
        let (lines, size) = open(&args.file)?;
        let progress = Progress::bytes("importing", size);
        let lines = BufReader::new(progress.reading(lines));
        let imported = store::sled::import(lines, path, offline::CACHE_BYTES);
        progress.end();
        imported
    };
    let found = imported.map_err(|error| match error {
        ImportError::Fill(error @ FillError::Occupied { .. }) => Failure::usage(error),
        ImportError::Line { .. } => Failure::failed(format!("{}, {error}", args.file.display())),
        other => Failure::failed(other),
    })?;
    note(config, &Act::new("import").with("messages", found.messages))?;
    print(format!("{}: imported and verified", path.display()))?;
    print(super::backup::summary(&found))
}

fn open(path: &Path) -> Result<(File, u64), Failure> {
    let opened = File::open(path).and_then(|file| file.metadata().map(|found| (file, found.len())));
    opened.map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let name = path.display().to_string();
    let name = if name == "-" { "standard output" } else { &name };
    Failure::failed(format!("{name} cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_has_its_end_wherever_its_pieces_end() {
        let end = "{\"kind\":\"end\",\"messages\":1,\"digest\":\"0f\"}\n";
        let text = format!("{}\n{end}", "x".repeat(3000));
        for at in 0..=text.len() {
            let mut tail = Tail::default();
            let (one, other) = text.as_bytes().split_at(at);
            tail.add(one);
            assert!(at == text.len() || End::read(&tail.0).is_none(), "whole after {at} bytes");
            tail.add(other);
            let found = End::read(&tail.0).map(|end| end.to_string());
            assert_eq!(
                found.as_deref(),
                Some("1 message; digest 0f"),
                "two pieces, {at} bytes first"
            );
        }
    }
}
