//! Where it all happens: a folder with a certificate, a key and a configuration of its own.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_rustls::TlsConnector;

use super::TortureError;
use super::ledger::{EVERYBODY, user};
use crate::auth::{self, Alg, KeySet, Request};
use crate::certificate;
use crate::config::{self, Config};
use crate::secret_file;

/// Free ports, no limits that would stop the load, and windows for resends that are longer
/// than any restart.
const CONFIG: &str = "\
# Made by `imserver torture`; the whole folder can be deleted.
[server]
listen = \"127.0.0.1:0\"
admin_listen = \"127.0.0.1:0\"
[store]
# So few that many are written, and some are cut short.
volume_messages = 64
dedup_window = \"1h\"
resend_window = \"1h\"
[limits]
connections = 200
connections_per_address = 0
messages_per_second = 0
unread_per_user = 1000000000
[log]
format = \"json\"
";

/// How long the tokens of the load are good.
const TOKENS_LIVE: Duration = Duration::from_secs(29 * 24 * 60 * 60);

/// A set-up for a server under test.
pub struct Place {
    program: PathBuf,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    tokens: BTreeMap<u64, String>,
    tls: TlsConnector,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Place {
    /// Makes the set-up for `program` in `folder`, which may exist and must be empty but for
    /// a place for the data.
    ///
    /// # Errors
    /// [`TortureError::Place`].
    pub fn make(program: &Path, folder: &Path) -> Result<Self, TortureError> {
        let config = folder.join("config.toml");
        secret_file::create_folder(folder).map_err(|e| cannot(folder, e))?;
        secret_file::create(&config, CONFIG.as_bytes()).map_err(|e| cannot(&config, e))?;
        // Without the variables of somebody's own server, which name its keys and its data.
        let settings = Config::parse(CONFIG, &config, iter::empty(), Vec::new())
            .map_err(|e| cannot(&config, e))?;
        let names = ["localhost".to_owned()];
        let (cert, key) = (&settings.tls.cert, &settings.tls.key);
        let made = certificate::make_dev(&names).map_err(|e| cannot(cert, e))?;
        secret_file::create(key, made.key.as_pem()).map_err(|e| cannot(key, e))?;
        secret_file::create(cert, made.cert.as_bytes()).map_err(|e| cannot(cert, e))?;
        let keys = &settings.auth.keys;
        let key = auth::generate(Alg::EdDsa).map_err(|e| cannot(keys, e))?;
        KeySet::edit(keys, |set| set.add(key)).map_err(|e| cannot(keys, e))?;
        let set = KeySet::load(keys).map_err(|e| cannot(keys, e))?;
        let mut tokens = BTreeMap::new();
        for id in EVERYBODY {
            let request = Request {
                user: user(id)?,
                name: None,
                picture: None,
                ttl: TOKENS_LIVE,
                admin: false,
            };
            let issued = auth::issue(&set, &settings.auth, &request, SystemTime::now());
            tokens.insert(id, issued.map_err(|e| cannot(keys, e))?.token);
        }
        let tls = connector(&settings.tls.cert)?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Ok(Self { program, folder, environment: Vec::new(), tokens, tls })
    }

    /// Sets a variable of the server's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command that starts the server.
    pub(super) fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.arg("serve").arg("--config").arg(self.folder.join("config.toml"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(config::PREFIX) {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn token(&self, user: u64) -> &str {
        self.tokens.get(&user).map_or("", String::as_str)
    }

    pub(super) fn tls(&self) -> &TlsConnector {
        &self.tls
    }
}

/// Speaks TLS and believes the one certificate of this place.
fn connector(cert: &Path) -> Result<TlsConnector, TortureError> {
    let text = fs::read(cert).map_err(|e| cannot(cert, e))?;
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_slice_iter(&text) {
        let one = one.map_err(|e| cannot(cert, e))?;
        roots.add(one).map_err(|e| cannot(cert, e))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| cannot(cert, e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn cannot(path: &Path, cause: impl Display) -> TortureError {
    TortureError::Place { path: path.to_owned(), cause: cause.to_string() }
}
