//! Why a server does not start, and why a run of it ends otherwise than it should.

use std::io;
use std::net::SocketAddr;

use crate::auth::GenerateError;
use crate::https::HttpsError;
use crate::store::StoreError;
use crate::store::jetstream;
use crate::store::sled;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The setting that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket of the service manager would send tokens in the clear.
    #[error(
        "tls.mode = \"off\" would send tokens and messages in the clear over {address}, the \
         socket that the service manager passes for {key}; give it a loopback address"
    )]
    Exposed {
        /// The setting that it stands in for.
        key: &'static str,
        /// Its address.
        address: SocketAddr,
    },
    /// rustls refuses the set-up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The provider's keys cannot be fetched, now or ever.
    #[error("the keys of auth.jwks_url cannot be fetched: {0}")]
    Provider(HttpsError),
    /// There is no key for tickets.
    #[error("tickets cannot be signed: {0}")]
    Tickets(GenerateError),
    /// The data cannot be opened.
    #[error(transparent)]
    Store(#[from] sled::OpenError),
    /// The servers that keep the messages cannot be used.
    #[error(transparent)]
    JetStream(#[from] jetstream::OpenError),
    /// Nobody can say whose tokens were taken back.
    #[error("the revocations cannot be read: {0}")]
    Revocations(StoreError),
}

/// Why a server that was told to stop did not do so cleanly.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store could not be closed cleanly; everything acknowledged is safe, and the next start \
     checks it"
)]
pub struct StopError;

/// Why a run ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It never began.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It did not end cleanly.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// A part of it failed that must not.
    #[error("a part of the server failed at the start; the log says which")]
    Crashed,
}
