//! `imserver audit`: what administrators did, whether the log of it is whole, and its way back
//! into a folder.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cert::exists;
use super::{Failure, count, print};
use crate::admin::audit::{Audit, Copied, CopyError, Fault, Hash, Verified};
use crate::config::{Backend, Config};

/// What `audit` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The log is audit.jsonl in store.path or, where nodes share the NATS servers of
store.jetstream, a stream there: one JSON line an act, each with the hash of the one before
it. Note down the newest hash from time to time, elsewhere: with --expect it proves
that nothing up to there was cut off since.

Where a log of one machine went on in a stream, --folder reads the file that was left.

Examples:
  imserver audit verify
  imserver audit verify --expect 3f0c…
  imserver audit list --act token.issue --since 1h
  imserver audit export /var/lib/imserver   before `imserver import`, to go on there")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Read the audit.jsonl in this folder, whatever store.backend is
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check every line of the log and print its newest hash
    Verify {
        /// A newest hash that was printed earlier and must still be there
        #[arg(long, value_name = "HASH")]
        expect: Option<Hash>,
    },
    /// Print the log, one JSON line an act
    List {
        /// Only acts of this name, such as token.issue
        #[arg(long, value_name = "NAME")]
        act: Option<String>,
        /// Only from then on: an RFC 3339 time, or how long ago, such as 1h or 7d
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<SystemTime>,
    },
    /// Write the log into a folder as audit.jsonl, byte for byte as it was written
    #[command(after_help = "\
Its way back from the streams of several nodes to one machine: `imserver import` takes a folder in
which only an audit log lies, and the server goes on behind its last line. Every line is checked;
of a broken log nothing is written. Cut short, it leaves no log, and is to be run again.")]
    Export {
        /// The folder, made where there is none; an audit.jsonl in it is never written over
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

pub(super) fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let folder = match (&args.folder, config.store.backend) {
        (Some(folder), _) => Some(folder),
        (None, Backend::Sled) => Some(&config.store.path),
        (None, Backend::JetStream) => None,
    };
    let path = folder.map(|folder| folder.join(crate::admin::audit::FILE));
    // One that cannot be looked at is not one of nothing.
    if let Some(path) = path
        && !exists(&path)?
    {
        return match args.command {
            Command::Verify { expect: Some(_) } => Err(Failure::failed(format!(
                "there is no {}, so the hash is in no log",
                path.display()
            ))),
            Command::Export { .. } => {
                Err(Failure::failed(format!("nothing was written: there is no {}", path.display())))
            }
            // Who names a folder means one that has a log.
            _ if args.folder.is_some() => Err(Failure::usage(format!(
                "there is no {}: --folder names the folder that an audit log lies in",
                path.display()
            ))),
            Command::List { .. } => Ok(()),
            Command::Verify { .. } => {
                print(format!("nothing was done yet: there is no {}", path.display()))
            }
        };
    }
    let audit = folder.map_or_else(|| Audit::of(&config.store), |folder| Audit::open(folder))?;
    match &args.command {
        Command::Verify { expect } => verify(&audit, *expect),
        Command::List { act, since } => list(&audit, act.as_deref(), *since),
        // The folder that moved into streams may still be there.
        Command::Export { dir } => export(&audit, folder.unwrap_or(&config.store.path), dir),
    }
}

fn since(text: &str) -> Result<SystemTime, String> {
    let wrong = "write a time such as 2026-01-31T08:00:00Z, or how long ago, such as 1h or 7d";
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text).map_err(|_| wrong)?;
    SystemTime::now().checked_sub(ago).ok_or_else(|| wrong.to_owned())
}

fn verify(audit: &Audit, noted: Option<Hash>) -> Result<(), Failure> {
    let place = audit.place();
    let Verified { lines, newest, has_noted, torn, fault } = audit.verify(noted)?;
    let good = count(lines, "line");
    match fault {
        None => {}
        Some((number, why @ Fault::Torn)) => {
            print(format!("line {number}: {why}; the next act sets it aside"))?;
        }
        Some((number, why)) => {
            return Err(Failure::failed(format!(
                "{place}: line {number} is broken: {why}; {good} before it, all good"
            )));
        }
    }
    if torn > 0 {
        let files = count(torn, "file");
        print(format!("in {files} beside it is what power cuts left of lines, as it says"))?;
    }
    if noted.is_some() && !has_noted {
        return Err(Failure::failed(format!(
            "{place}: no line has the hash that --expect names: the log was cut off or begun anew \
             since that was printed; {good} in it, all good"
        )));
    }
    print(format!("{place}: {good}, all good"))?;
    newest.map_or(Ok(()), |newest| print(format!("newest hash: {newest}")))
}

fn list(audit: &Audit, act: Option<&str>, since: Option<SystemTime>) -> Result<(), Failure> {
    for line in audit.lines()? {
        let line = match line {
            Ok(line) => line,
            Err((_, Fault::Torn)) => return Ok(()),
            Err((number, why)) => {
                let place = audit.place();
                return Err(Failure::failed(format!("{place}: line {number} is broken: {why}")));
            }
        };
        let wanted = act.is_none_or(|act| line.act == act);
        let at = humantime::parse_rfc3339(&line.at).ok();
        let recent = since.is_none_or(|since| at.is_none_or(|at| at >= since));
        if wanted && recent {
            print(&line.text)?;
        }
    }
    Ok(())
}

fn export(audit: &Audit, beside: &Path, dir: &Path) -> Result<(), Failure> {
    let copied = audit.copy(beside, dir).map_err(|error| match error {
        CopyError::Occupied(_) => Failure::usage(error),
        CopyError::Log(error) => error.into(),
        other => Failure::failed(other),
    })?;
    let Copied { path, lines, newest, without } = copied;
    for rest in without {
        print(format!(
            "a line names {rest}, which keeps what a power cut left: copy that into {} from the \
             folder that moved into the streams, or `imserver audit verify` misses it",
            dir.display()
        ))?;
    }
    let newest = newest.map(|newest| format!("; newest hash: {newest}")).unwrap_or_default();
    print(format!("{}: {}, all good{newest}", path.display(), count(lines, "line")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_or_how_long_ago_it_was() {
        assert_eq!(since("1970-01-01T00:00:10Z").unwrap(), SystemTime::UNIX_EPOCH + ten());
        assert!(since("10s").unwrap() <= SystemTime::now() - ten());
        for bad in ["", "yesterday", "-1h", "10", "1000000000000y"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    fn ten() -> std::time::Duration {
        std::time::Duration::from_secs(10)
    }
}
