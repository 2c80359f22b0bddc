//! `imserver init`: what a server needs before its first start.

use super::cert::exists;
use super::{ConfigFile, Failure, print, wiring};
use crate::config::{self, Config, Tls, TlsMode};
use crate::secret_file;
use std::io;
use std::path::Path;

/// Keeps keys out of version control, wherever `certs/` stands.
const GITIGNORE: &str = include_str!("../../certs/.gitignore");

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = write_config(file)?;
    let folder = folder_of(&config.auth.keys);
    // Beside the configuration there may be a whole project, which is not to be ignored.
    if folder != folder_of(file.path()) {
        make(&folder.join(".gitignore"), "keeps keys out of version control", |path| {
            secret_file::create_with_mode(path, GITIGNORE.as_bytes(), 0o644)
        })?;
    }
    if exists(&config.auth.keys)? {
        print(format!("exists  {}", config.auth.keys.display()))?;
    } else {
        wiring::make_key_set(&config.auth.keys)?;
        print(format!(
            "made    {}: a key that signs and checks tokens",
            config.auth.keys.display()
        ))?;
    }
    let certificate = match config.tls.mode {
        TlsMode::On => look_at_certificate(file, &config.tls)?,
        TlsMode::Off => None,
    };
    print(next_steps(file, certificate))
}

/// Writes the documented configuration, or reads the one that is there: where
/// its keys belong is for it to say.
fn write_config(file: &ConfigFile) -> Result<Config, Failure> {
    match Config::load(file.path()) {
        Err(config::Error::NotFound { .. }) => {
            make(file.path(), "every setting with its default", |path| {
                secret_file::create_with_mode(path, config::DOCUMENTED.as_bytes(), 0o644)
            })?;
            file.load()
        }
        Err(error) => Err(Failure::config(&error, file)),
        Ok(config) => {
            print(format!("exists  {}", file.path().display()))?;
            Ok(config)
        }
    }
}

/// Makes the file `path` unless it exists, and says which.
fn make(
    path: &Path,
    what: &str,
    write: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), Failure> {
    match write(path) {
        Ok(()) => print(format!("made    {}: {what}", path.display())),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            print(format!("exists  {}", path.display()))
        }
        Err(e) => Err(Failure::failed(format!("{} cannot be made: {e}", path.display()))),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Prints which of the certificate and its key are there, and gives what is to be done about
/// them: nothing where both are.
fn look_at_certificate(file: &ConfigFile, tls: &Tls) -> Result<Option<String>, Failure> {
    let [has_cert, has_key] = [exists(&tls.cert)?, exists(&tls.key)?];
    for (path, is_there) in [(&tls.cert, has_cert), (&tls.key, has_key)] {
        let found = if is_there { "exists " } else { "missing" };
        print(format!("{found} {}", path.display()))?;
    }
    let (cert, key, option) = (tls.cert.display(), tls.key.display(), file.option());
    Ok(match (has_cert, has_key) {
        (true, true) => None,
        (true, false) => {
            Some(format!("Put the private key of the certificate {cert} at {key} (chmod 600)"))
        }
        (false, true) => Some(format!(
            "Put the certificate of the private key {key} at {cert};
     for a trial, `imserver{option} cert dev` makes one for that key"
        )),
        (false, false) => Some(format!(
            "Put your certificate at {cert} and its private key at {key}
     (chmod 600); for a trial, `imserver{option} cert dev` makes a pair"
        )),
    })
}

/// What is left to be done, beginning with `first` where there is something.
fn next_steps(file: &ConfigFile, first: Option<String>) -> String {
    let (option, path) = (file.option(), file.path().display());
    let always = [
        format!("In {path} set server.origins to the addresses of your web pages"),
        format!("imserver{option} config check"),
        format!("imserver{option} serve"),
        format!("imserver{option} token issue --sub 1 --name 小明"),
    ];
    let steps = first.into_iter().chain(always).enumerate();
    let steps = steps.map(|(index, step)| format!("\n  {}. {step}", index + 1));
    format!("\nNext:{}", steps.collect::<String>())
}
