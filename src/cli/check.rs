//! `imserver config check`: would it start, and would clients be content?

use super::{ConfigFile, Failure, count, print, wiring};
use crate::certificate::{self, Validity};
use crate::config::{Backend, Config, Store, Tls, TlsMode};
use crate::store::jetstream;
use nix::unistd::{AccessFlags, access, geteuid};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// From when on a certificate that runs out is worth a word.
const RUNS_OUT_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    print(format!("ok  {}: every setting is valid", file.path().display()))?;
    let findings = [
        pair(&config.tls),
        wiring::describe_key_set(&config.auth)
            .map(|found| format!("{}: {found}", config.auth.keys.display()))
            .map_err(|e| e.to_string()),
        data_folder(&config.store),
    ];
    let mut faults = Vec::new();
    for finding in findings {
        match finding {
            Ok(found) => print(format!("ok  {found}"))?,
            Err(fault) => faults.push(format!("\n  {fault}")),
        }
    }
    if faults.is_empty() {
        return print(summary(&config));
    }
    let found = count(faults.len() as u64, "fault");
    Err(Failure::usage(format!("{found} found:{}", faults.concat())))
}

fn summary(config: &Config) -> String {
    let scheme = if config.tls.mode == TlsMode::On { "wss" } else { "ws" };
    let origins = match config.server.origins.as_slice() {
        [] => "no web pages may connect".to_owned(),
        origins => format!("web pages of {} may connect", origins.join(", ")),
    };
    let proxies = match &config.server.proxy_protocol {
        none if none.is_empty() => String::new(),
        proxies => format!(
            "\nConnections from {proxies} must begin with a PROXY header, which names the client."
        ),
    };
    format!("\nIt would serve {scheme}://{}; {origins}.{proxies}", config.server.listen)
}

fn pair(tls: &Tls) -> Result<String, String> {
    if tls.mode == TlsMode::Off {
        return Ok("tls.mode is \"off\": a proxy on this host must do the TLS".to_owned());
    }
    let key = certificate::load(tls).map_err(|e| e.to_string())?;
    let cert = tls.cert.display();
    let Some(Validity { from, until }) = certificate::validity(&key) else {
        return Err(format!("{cert}: it does not say from when until when it is valid"));
    };
    let now = SystemTime::now();
    let day = |time| humantime::format_rfc3339_seconds(time);
    if now < from {
        return Err(format!("{cert}: it is valid only from {}", day(from)));
    }
    let Ok(left) = until.duration_since(now) else {
        return Err(format!("{cert}: it ran out at {}; put a new one there", day(until)));
    };
    let soon = if left < RUNS_OUT_SOON { ", which is soon" } else { "" };
    Ok(format!("{cert}: fits its key {}; valid until {}{soon}", tls.key.display(), day(until)))
}

fn data_folder(store: &Store) -> Result<String, String> {
    let path = &store.path;
    let shown = path.display();
    let what = "the messages";
    if store.backend == Backend::JetStream {
        // Whether they can be used shows at the start.
        jetstream::check_config(&store.jetstream).map_err(|error| error.to_string())?;
        let servers = store.jetstream.servers.join(", ");
        return Ok(format!("{servers}: {what} and the audit log; they were not asked"));
    }
    let us = geteuid().as_raw();
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Err(format!("{shown}: is no folder")),
        Ok(found) if found.mode() & 0o077 != 0 => Err(format!(
            "{shown}: has mode {:04o}, so that others can get at {what}: run `chmod 700 {shown}`",
            found.mode() & 0o7777
        )),
        Ok(found) if found.uid() != us => Err(format!(
            "{shown}: belongs to user {}, and this runs as user {us}: run it as that user, or give \
             the folder away with `chown -R {us} {shown}`",
            found.uid()
        )),
        Ok(_) => writable(path)
            .map(|()| format!("{shown}: {what}, for their owner only"))
            .map_err(|e| format!("{shown}: cannot be written to: {e}")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).map(|folder| match folder {
                folder if folder == Path::new("") => Path::new("."),
                folder => folder,
            });
            let above = above.into_iter().find(|folder| folder.exists());
            let above = above.unwrap_or(Path::new("/"));
            writable(above)
                .map(|()| format!("{shown}: will be made at the first start"))
                .map_err(|e| format!("{shown}: cannot be made in {}: {e}", above.display()))
        }
        Err(e) => Err(format!("{shown}: cannot be looked at: {e}")),
    }
}

fn writable(folder: &Path) -> Result<(), nix::Error> {
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK)
}
