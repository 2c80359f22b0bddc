//! The server: wires the rooms together, starts them in order, stops them in order.

mod accept;
mod admin;
mod admission;
mod handshake;
mod page;
mod refusal;
mod reload;
mod routes;
mod socket;
mod stream;
mod tls;
mod upgrade;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::registry::Registry;
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};
use warp::filters::BoxedFilter;

use self::accept::Listener;
use self::admin::Status;
use self::admission::Admission;
use self::reload::Reload;
use self::routes::Answer;
use self::tls::Certificate;
use self::upgrade::Upgrades;
use crate::auth::{CurrentKeys, KeySet, Verifier};
use crate::config::Config;
use crate::hub::Hub;
use crate::metrics::{ServerMetrics, SessionMetrics, StoreMetrics};
use crate::session::Context;
use crate::store::sled::OpenError;
use crate::store::{self, Store};

/// Connections that wait in the system's queue while all places are taken.
const BACKLOG: u32 = 4096;

/// What the system buffers of a connection on its way out. Together with a page
/// of the log this is all that a reader who has stopped taking costs.
const SEND_BUFFER: u32 = 128 * 1024;

/// Administrators are few.
const ADMIN_CONNECTIONS: usize = 64;

/// Clients of a stopping server return within so long, each at its own moment.
const RETRY_SPREAD: Duration = Duration::from_secs(5);

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
    /// rustls refuses the set-up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The data cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// Why a server that was told to stop did not do so cleanly.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store could not be closed cleanly; everything acknowledged is safe, and the next start \
     checks it"
)]
pub struct StopError;

/// A server that has its addresses and waits to be run.
#[derive(Debug)]
pub struct Server {
    config: Config,
    keys: KeySet,
    certificate: Option<CertifiedKey>,
    public: TcpSocket,
    admin: TcpSocket,
}

impl Server {
    /// Takes the addresses, so that a second server is noticed before anything else.
    ///
    /// Without a `certificate` it speaks no TLS.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn bind(
        config: Config,
        keys: KeySet,
        certificate: Option<CertifiedKey>,
    ) -> Result<Self, StartError> {
        let public = take("server.listen", config.server.listen)?;
        let admin = take("server.admin_listen", config.server.admin_listen)?;
        Ok(Self {
            config,
            keys,
            certificate,
            public,
            admin,
        })
    }

    /// Opens the store and serves until `stop`, then drains.
    ///
    /// `ready` is told the public address once clients can connect.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run(
        self,
        stop: CancellationToken,
        ready: impl FnOnce(SocketAddr) + Send,
    ) -> Result<(), RunError> {
        let mut registry = Registry::with_prefix("imserver");
        let store_metrics = StoreMetrics::register(&mut registry);
        let session_metrics = SessionMetrics::register(&mut registry);
        let metrics = ServerMetrics::register(&mut registry);
        let certificate = self.certificate.map(Certificate::new);
        let tls = certificate
            .clone()
            .map(tls::acceptor)
            .transpose()
            .map_err(StartError::Tls)?;
        if tls.is_none() {
            warn!(
                "TLS is off: whoever is on this host can read everything; \
                 a proxy must terminate TLS before this address"
            );
        }
        let keys = CurrentKeys::new(self.keys);
        let limits = Arc::new(self.config.limits.clone());
        let listener =
            |tcp, routes: BoxedFilter<(Answer,)>, tls: &Option<TlsAcceptor>, connections| {
                Listener {
                    tcp,
                    tls: tls.clone(),
                    routes,
                    handshake_timeout: limits.handshake_timeout,
                    write_timeout: limits.write_timeout,
                    connections,
                    metrics: metrics.clone(),
                }
            };

        // Health first: opening a large store takes its time, and somebody asks.
        let status = Arc::new(Status {
            registry,
            store: OnceLock::new(),
            shutdown: stop.clone(),
        });
        let admin_tasks = Tasks::default();
        let admin = listen("server.admin_listen", self.admin)?;
        let admin = listener(
            admin,
            admin::routes(Arc::clone(&status)),
            &tls,
            ADMIN_CONNECTIONS,
        );
        admin_tasks.spawn(admin);

        let (store_config, store_limits) = (self.config.store.clone(), Arc::clone(&limits));
        let opening = move || store::sled::open(&store_config, &store_limits, store_metrics);
        let (store, tail) = tokio::task::spawn_blocking(opening)
            .await
            .map_err(|_| RunError::Crashed)?
            .map_err(StartError::Store)?;
        let store: Arc<dyn Store> = Arc::new(store);
        let _ = status.store.set(Arc::clone(&store));

        let hub = Hub::new(limits.connections_per_user);
        let sessions = TaskTracker::new();
        let background = TaskTracker::new();
        background.spawn(Arc::clone(&hub).follow(tail));
        let reload = Reload {
            tls: self.config.tls.clone(),
            certificate,
            auth: self.config.auth.clone(),
            keys: keys.clone(),
            metrics: metrics.clone(),
        };
        let serving = CancellationToken::new();
        let done = serving.clone();
        background.spawn(async move { done.run_until_cancelled_owned(reload.run()).await });
        let upgrades = Arc::new(Upgrades {
            verifier: Verifier::new(&keys, &self.config.auth),
            origins: self.config.server.origins.clone(),
            trusted_proxies: self.config.server.trusted_proxies.clone(),
            admission: Admission::new(&limits),
            hub,
            context: Context {
                store: Arc::clone(&store),
                limits: Arc::clone(&limits),
                metrics: session_metrics,
                shutdown: stop.clone(),
                retry_spread: RETRY_SPREAD,
            },
            metrics: metrics.clone(),
            shutdown: stop.clone(),
            sessions: sessions.clone(),
        });
        let routes = routes::public(upgrades, self.config.server.chat_page);
        let public = listen("server.listen", self.public)?;
        let address = public.local_addr().unwrap_or(self.config.server.listen);
        let public = listener(public, routes, &tls, limits.connections);
        sessions.spawn(public.run(stop.clone(), sessions.clone()));
        info!(%address, admin = %self.config.server.admin_listen, "serving");
        ready(address);

        stop.cancelled().await;
        info!(
            connections = metrics.connections.get(),
            "stopping: answering what is under way"
        );
        sessions.close();
        if tokio::time::timeout(self.config.server.drain_timeout, sessions.wait())
            .await
            .is_err()
        {
            warn!(
                left = sessions.len(),
                "drain_timeout is over; the remaining ones are cut off"
            );
        }
        serving.cancel();
        let closed = store.close().await;
        background.close();
        background.wait().await;
        admin_tasks.stop().await;
        closed.map_err(|_| RunError::Stop(StopError))
    }
}

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

/// A listener's tasks, with their own reason to stop.
#[derive(Debug, Default)]
struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    fn spawn(&self, listener: Listener) {
        self.tracker
            .spawn(listener.run(self.stop.clone(), self.tracker.clone()));
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        // A scraper that holds its connection open has no say in our end.
        if tokio::time::timeout(Duration::from_secs(1), self.tracker.wait())
            .await
            .is_err()
        {
            error!("a connection of the admin listener was cut off");
        }
    }
}

/// Takes an address without listening yet: clients shall not queue up while the
/// store is opened.
fn take(key: &'static str, address: SocketAddr) -> Result<TcpSocket, StartError> {
    let bound = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        // Inherited by every connection.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bound().map_err(|source| StartError::Listen {
        key,
        address,
        source,
    })
}

fn listen(key: &'static str, socket: TcpSocket) -> Result<TcpListener, StartError> {
    let address = socket.local_addr();
    socket.listen(BACKLOG).map_err(|source| StartError::Listen {
        key,
        address: address.unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0))),
        source,
    })
}
