//! `imserver init`: what a server needs before its first start.

use super::cert::exists;
use super::{ConfigFile, Failure, print, wiring};
use crate::config::{self, Config};
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
    for path in [&config.tls.cert, &config.tls.key] {
        let found = if exists(path)? { "exists " } else { "missing" };
        print(format!("{found} {}", path.display()))?;
    }
    print(next_steps(file, &config))
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

fn next_steps(file: &ConfigFile, config: &Config) -> String {
    let option = file.option();
    format!(
        "
Next:
  1. Put your certificate at {cert} and its private key at {key}
     (chmod 600); for a trial, `imserver{option} cert dev` makes a pair
  2. In {file} set server.origins to the addresses of your web pages
  3. imserver{option} config check
  4. imserver{option} serve
  5. imserver{option} token issue --sub 1 --name 小明",
        cert = config.tls.cert.display(),
        key = config.tls.key.display(),
        file = file.path().display(),
    )
}
