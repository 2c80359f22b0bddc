//! `imserver cert dev`: a certificate to develop with.

use super::{ConfigFile, Failure, print};
use crate::certificate;
use crate::config::Tls;
use crate::secret_file;
use std::fs;
use std::io;
use std::path::Path;

/// What `cert dev` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Made for localhost, 127.0.0.1, ::1 and this machine's name, at the paths tls.cert and
tls.key of the configuration. Browsers warn about it, because nobody vouches for it.

Example:
  imserver cert dev --name chat.test --name 192.168.1.20")]
pub(super) struct Args {
    /// A further host name or address that it is for (can be repeated)
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
}

/// What became of the pair of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    /// Both were there.
    Existed,
    /// Both were made.
    Made,
    /// There was a key without a certificate; it has one now.
    Completed,
}

pub(super) fn run(args: &Args, file: &ConfigFile) -> Result<(), Failure> {
    let tls = file.load()?.tls;
    let (cert, key) = (tls.cert.display(), tls.key.display());
    print(match complete(&tls, &args.name)? {
        Pair::Existed => format!(
            "{cert} and {key} exist and were left as they are; to have new ones, move them away first"
        ),
        Pair::Made => format!("made {cert} and its key {key}, for development only"),
        Pair::Completed => {
            format!("made {cert} for the key {key}, which existed; for development only")
        }
    })
}

/// Makes what is missing of the development certificate and its key.
///
/// A certificate without its key is left alone: the key may only be mislaid, and
/// a new one would not fit.
pub(super) fn complete(tls: &Tls, names: &[String]) -> Result<Pair, Failure> {
    if let Some(bad) = names.iter().find(|name| !certificate::is_host(name)) {
        return Err(Failure::usage(format!(
            "--name {bad:?} is no host name or IP address; write it without scheme and port, \
             such as chat.test"
        )));
    }
    let names = all_names(names);
    let (cert, key) = (tls.cert.display(), tls.key.display());
    match (exists(&tls.cert)?, exists(&tls.key)?) {
        (true, true) => Ok(Pair::Existed),
        (true, false) => Err(Failure::usage(format!(
            "there is a certificate {cert} but not its key {key}; put the key there, or move \
             the certificate away to have a new pair made"
        ))),
        (false, true) => {
            let made = certificate::make_dev_for_key(&names, &tls.key).map_err(Failure::usage)?;
            write_cert(&tls.cert, &made)?;
            Ok(Pair::Completed)
        }
        (false, false) => {
            let made = certificate::make_dev(&names).map_err(Failure::usage)?;
            // The key first: cut off after it, the next run completes the pair.
            secret_file::create(&tls.key, made.key.as_pem())
                .map_err(|e| Failure::failed(format!("{key} cannot be made: {e}")))?;
            write_cert(&tls.cert, &made.cert)?;
            Ok(Pair::Made)
        }
    }
}

fn write_cert(path: &Path, pem: &str) -> Result<(), Failure> {
    secret_file::create_with_mode(path, pem.as_bytes(), 0o644)
        .map_err(|e| Failure::failed(format!("{} cannot be made: {e}", path.display())))
}

/// Whether there is something of this name, be it a link that leads nowhere.
pub(super) fn exists(path: &Path) -> Result<bool, Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Failure::failed(format!("{} cannot be looked at: {e}", path.display()))),
    }
}

fn all_names(more: &[String]) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let machine = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let machine = machine.filter(|name| certificate::is_host(name));
    for name in machine.iter().chain(more) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}
