//! The service manager that may have started this process: sockets that it opened for us,
//! and what it is told. Its protocol is systemd's: `sd_listen_fds(3)`, `sd_notify(3)`.
//!
//! Without one, all of this does nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::{debug, warn};

use crate::ticks::every;

/// Where the names of the sockets are.
const NAMES: &str = "LISTEN_FDNAMES";

/// The names that a socket can have (`FileDescriptorName=` of its unit).
const PUBLIC: &str = "public";
const ADMIN: &str = "admin";

/// Why the sockets of the service manager are not used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// A socket has a name that says nothing to us.
    #[error(
        "the service manager passes a socket named {0:?}; write FileDescriptorName=public for \
         the one of server.listen, and FileDescriptorName=admin for the one of \
         server.admin_listen"
    )]
    Name(String),
    /// Two sockets have one name.
    #[error("the service manager passes two sockets named {0:?}; one address is listened on")]
    Twice(String),
    /// It is no TCP socket.
    #[error("the socket {name:?} of the service manager cannot be used: {cause}")]
    Kind {
        /// Its name.
        name: String,
        /// What it is.
        cause: io::Error,
    },
}

/// Listeners that the service manager opened, so that clients can knock while we start and
/// ports below 1024 need no permission of ours.
#[derive(Debug, Default)]
pub struct Inherited {
    pub(super) public: Option<TcpListener>,
    pub(super) admin: Option<TcpListener>,
}

impl Inherited {
    /// Takes what the service manager passes. Call it once, before there are threads: the
    /// variables that say so are removed from the environment.
    ///
    /// # Errors
    /// Nothing that was passed is left unused without a word.
    pub fn take() -> Result<Self, InheritError> {
        let mut passed = ListenFd::from_env();
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut names = names.split(':');
        let mut inherited = Self::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let place = match name {
                PUBLIC => &mut inherited.public,
                ADMIN => &mut inherited.admin,
                other => return Err(InheritError::Name(other.to_owned())),
            };
            let taken = passed.take_tcp_listener(index).and_then(|listener| {
                let listener = listener.ok_or(io::ErrorKind::NotFound)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            let name = name.to_owned();
            match taken {
                Err(cause) => return Err(InheritError::Kind { name, cause }),
                Ok(_) if place.is_some() => return Err(InheritError::Twice(name)),
                Ok(listener) => *place = Some(listener),
            }
        }
        Ok(inherited)
    }
}

/// Tells that clients can connect.
pub(super) fn ready(address: SocketAddr) {
    let serving = format!("serving on {address}");
    tell(&[NotifyState::Ready, NotifyState::Status(&serving)]);
}

/// Tells that the end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("answering what is under way")]);
}

/// Shows the service manager, as often as it wants to see it (`WatchdogSec=`), that this
/// process still does one thing after the other; for ever.
pub(super) async fn show_life() {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|time| *time > Duration::ZERO) else {
        return;
    };
    debug!(?patience, "watched by the service manager");
    let mut beat = every(patience / 2);
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        warn!(%error, "the service manager does not hear");
    }
}
