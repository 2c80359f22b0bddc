//! What `config.toml` says, read once at the start into types that cannot be wrong.
//!
//! Every module is given its own section, never the whole. `config.toml` at the
//! top of the repository documents each key with its default.

mod defaults;
mod fault;
mod https_address;
mod jetstream;
mod networks;
mod origin;
mod reader;
mod sections;
#[cfg(test)]
mod tests;
mod unknown;
mod values;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use fault::{Error, Fault, Place};
pub use networks::Networks;
pub use reader::{Override, PREFIX};

/// The `config.toml` at the top of the repository: every key with its default.
///
/// `imserver init` writes it out for production.
pub const DOCUMENTED: &str = include_str!("../../config.toml");

/// The largest `limits.content_bytes`: with all that is stored beside the
/// content, a record stays below the 64 KiB up to which the store keeps values
/// inside its log.
pub const CONTENT_BYTES_MAX: usize = 48 * 1024;

/// How long the original client waits for an answer before it sends the same
/// packet again. `limits.resend_after` must stay below it.
pub const CLIENT_RESENDS_AFTER: Duration = Duration::from_secs(6);

/// The whole configuration.
///
/// `Config::default()` is what an empty file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[tls]`
    pub tls: Tls,
    /// `[auth]`
    pub auth: Auth,
    /// `[store]`
    pub store: Store,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
}

impl Config {
    /// Reads `file`, with what the process environment overrides.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such file, and [`Error::Faults`]
    /// with everything that is wrong at once. The caller shows it and exits
    /// with 2.
    pub fn load(file: &Path) -> Result<Self, Error> {
        Self::load_with(file, Vec::new())
    }

    /// Reads `file`, with what the process environment and then `overrides` change.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(file: &Path, overrides: Vec<Override>) -> Result<Self, Error> {
        let text = fs::read(file).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Error::NotFound { file: file.to_owned() },
            _ => Error::Unreadable { file: file.to_owned(), cause },
        })?;
        let text = String::from_utf8(text).map_err(|e| {
            let good = e.utf8_error().valid_up_to();
            let line = reader::line_of(e.as_bytes(), good);
            Error::syntax(file, Some(line), "it is not UTF-8 text")
        })?;
        Self::parse(&text, file, std::env::vars_os(), overrides)
    }

    /// Reads the text of `file`; `environment` is where overrides are looked for.
    ///
    /// Relative paths are taken from the folder of `file`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(
        text: &str,
        file: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: Vec<Override>,
    ) -> Result<Self, Error> {
        reader::read(text, file, environment, overrides, sections::read)
    }
}

/// Where the server listens and whom it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The public listener.
    pub listen: SocketAddr,
    /// The administrators' listener: metrics and health.
    pub admin_listen: SocketAddr,
    /// The web origins whose pages may connect, compared byte for byte.
    pub origins: Vec<String>,
    /// How long a stopping server waits for what is in flight.
    pub drain_timeout: Duration,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
    /// Whose connections begin with a PROXY header, which is believed.
    pub proxy_protocol: Networks,
    /// Whether `/` serves the page to try the service with.
    pub chat_page: bool,
}

/// How the listeners are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `Off` is for a proxy on the same host that terminates TLS.
    pub mode: TlsMode,
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PKCS#8 PEM, mode 0600.
    pub key: PathBuf,
}

/// Whether the public listener speaks TLS itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// wss only.
    On,
    /// Plain WebSocket, on a loopback address only.
    Off,
}

/// Which tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The JWK Set.
    pub keys: PathBuf,
    /// The required `iss`.
    pub issuer: String,
    /// The required `aud` of a user's token.
    pub audience: String,
    /// The required `aud` of an administrator's token.
    pub admin_audience: String,
    /// Where an identity provider publishes its JWK Set, by https.
    pub jwks_url: Option<String>,
    /// Whether a token without `jti` is refused.
    pub require_jti: bool,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// The longest a token may live.
    pub max_lifetime: Duration,
}

/// Where messages lie, and for how long equal packets count as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// What keeps them.
    pub backend: Backend,
    /// The servers that keep them, with [`Backend::JetStream`].
    pub jetstream: JetStream,
    /// The directory of the database.
    pub path: PathBuf,
    /// How much of it sled keeps in memory, in bytes.
    pub cache_bytes: u64,
    /// Messages that a volume holds: about twice as many lie in the log, and in memory.
    pub volume_messages: u64,
    /// How long a message is kept that was read; zero: for ever.
    pub retention: Duration,
    /// For how long a `clientMsgId` is remembered.
    pub dedup_window: Duration,
    /// For how long an equal packet without one is taken for a resend.
    pub resend_window: Duration,
    /// Whose the streams are that are made: what [`JetStream::deployment`] says, else
    /// `auth.audience` and `auth.issuer`.
    pub deployment: String,
}

/// What keeps the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A database in `store.path`.
    Sled,
    /// NATS servers with JetStream.
    JetStream,
}

/// The NATS servers that keep the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JetStream {
    /// Their addresses: `tls://host:4222`.
    pub servers: Vec<String>,
    /// A file in PEM with the authorities that vouch for them; `None`: those that this
    /// machine knows.
    pub ca: Option<PathBuf>,
    /// A `.creds` file with a JWT and its key.
    pub credentials: Option<PathBuf>,
    /// The user, where there are no credentials.
    pub user: Option<String>,
    /// A file that holds the user's password.
    pub password_file: Option<PathBuf>,
    /// What this node is called in the audit log; `None`: what its host is called.
    pub node: Option<String>,
    /// What the deployment is called that all nodes are of, where it has a name of its own.
    pub deployment: Option<String>,
    /// What the names of all streams and subjects begin with.
    pub prefix: String,
    /// Over how many streams the inboxes are spread; never to be changed.
    pub partitions: u16,
    /// How many servers keep each message.
    pub replicas: u8,
    /// The operator's word that every server writes to its disk before it acknowledges.
    pub synced: bool,
    /// Whether streams may be made where there are none.
    pub create: bool,
}

/// What one client may ask of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest frame, in bytes.
    pub frame_bytes: usize,
    /// The largest content, in bytes.
    pub content_bytes: usize,
    /// Frames a second and connection; 0: no limit.
    pub messages_per_second: u32,
    /// Frames that a connection may send at once.
    pub message_burst: u32,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one user.
    pub connections_per_user: usize,
    /// Connections from one address; 0: no limit of any kind per address.
    pub connections_per_address: usize,
    /// Unread messages that one inbox holds.
    pub unread_per_user: u64,
    /// Failures of the client's making within a minute.
    pub violations: usize,
    /// How soon an equal packet on one connection is no resend but a second message.
    pub resend_after: Duration,
    /// TLS handshake and request head together.
    pub handshake_timeout: Duration,
    /// How long a write may make no progress.
    pub write_timeout: Duration,
    /// How often the server pings.
    pub ping_interval: Duration,
    /// How long it waits for the pong.
    pub pong_timeout: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// A tracing filter, such as `info` or `info,imserver::store=debug`.
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Pretty,
    /// One JSON object a line.
    Json,
}
