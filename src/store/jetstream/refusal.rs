//! Why the store cannot be opened, and what to do.

use std::io;
use std::path::PathBuf;

use crate::store::StoreError;

/// Why the store on JetStream cannot be opened. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file that the configuration names cannot be used.
    #[error("{path}: {why}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        why: String,
    },
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
    pub(super) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::File { path: path.to_owned(), why: error.to_string() }
    }
}
