//! An address taken before it is listened on, or a socket that listens already.

use std::net::{self, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tracing::warn;

use super::StartError;

/// Connections that wait in the system's queue while all places are taken.
const BACKLOG: u32 = 4096;

/// What the system buffers of a connection on its way out. Together with a page
/// of the log this is all that a reader who has stopped taking costs.
const SEND_BUFFER: u32 = 128 * 1024;

/// Where clients will knock, with the setting that says so.
#[derive(Debug)]
pub(super) struct Door {
    key: &'static str,
    address: SocketAddr,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    /// Ours: it listens when it is opened. Clients shall not queue up while the store is.
    Taken(TcpSocket),
    /// The service manager's: clients may queue up already.
    Inherited(net::TcpListener),
}

impl Door {
    /// Takes `address`, or the socket that the service manager has in its place.
    ///
    /// # Errors
    /// [`StartError::Listen`], and [`StartError::Exposed`] for a socket that leads outside
    /// though nothing is `encrypted`.
    pub(super) fn take(
        key: &'static str,
        address: SocketAddr,
        inherited: Option<net::TcpListener>,
        encrypted: bool,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { key, address, source };
        let Some(listener) = inherited else {
            let socket = Socket::Taken(bound(address).map_err(failed)?);
            return Ok(Self { key, address, socket });
        };
        let actual = listener.local_addr().map_err(failed)?;
        if !encrypted && !actual.ip().is_loopback() {
            return Err(StartError::Exposed { key, address: actual });
        }
        if actual != address {
            warn!(%actual, configured = %address, "the service manager's socket stands in for {key}");
        }
        // Inherited by every connection.
        SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER as usize).map_err(failed)?;
        Ok(Self { key, address: actual, socket: Socket::Inherited(listener) })
    }

    /// Lets clients knock.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub(super) fn open(self) -> Result<TcpListener, StartError> {
        let Self { key, address, socket } = self;
        let opened = match socket {
            Socket::Taken(socket) => socket.listen(BACKLOG),
            Socket::Inherited(listener) => TcpListener::from_std(listener),
        };
        opened.map_err(|source| StartError::Listen { key, address, source })
    }
}

fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    // Inherited by every connection.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    Ok(socket)
}
