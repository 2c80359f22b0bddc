//! Why the store cannot be opened, and what to do.

use std::fmt::Display;
use std::path::Path;

use crate::store::StoreError;

/// Why the store on JetStream cannot be opened. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file that the configuration names cannot be used.
    #[error("store.jetstream.{setting}: {why}")]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// Which file it is, what is wrong with it, and what would be right.
        why: String,
    },
    /// A setting does not say what must be said.
    #[error("{0}")]
    Setting(String),
    /// TLS cannot be set up.
    #[error("TLS to the NATS servers cannot be set up: {0}")]
    Tls(String),
    /// The servers cannot be reached.
    #[error("no NATS server can be used ({servers}): {why}")]
    Connect {
        /// Those that were tried.
        servers: String,
        /// What came of it.
        why: String,
    },
    /// The servers are not set up as this store needs them.
    #[error("{0}")]
    Cluster(String),
    /// The streams are not those of this deployment.
    #[error("{0}")]
    Streams(String),
    /// A stream did not answer.
    #[error("the streams cannot be read: {0}")]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether the configuration, or a file that it names, is at fault, and no server.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Setting(_))
    }

    pub(super) fn file(setting: &'static str, path: &Path, why: impl Display) -> Self {
        Self::File { setting, why: format!("{} cannot be used: {why}", path.display()) }
    }
}
