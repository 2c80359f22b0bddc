//! The server: wires the rooms together, starts them in order, stops them in order.

mod accept;
mod admin;
mod admission;
mod api;
mod backend;
mod crowd;
mod descriptors;
mod door;
mod doorkeeper;
#[doc(hidden)]
pub mod echo;
mod framing;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod introductions;
mod outcome;
mod paced;
mod page;
mod provider;
mod proxy_header;
mod refusal;
mod reload;
mod routes;
mod socket;
mod stream;
mod supervisor;
mod tasks;
mod terms;
mod tls;
mod upgrade;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use prometheus_client::registry::Registry;
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use warp::filters::BoxedFilter;

use self::accept::Listener;
use self::admin::{Admin, Gate, Probes, Recent, Service};
use self::admission::Admission;
use self::api::Api;
use self::backend::Opened;
use self::door::Door;
use self::doorkeeper::Doorkeeper;
use self::introductions::Introductions;
pub use self::outcome::{RunError, StartError, StopError};
use self::provider::Provider;
use self::reload::Reload;
pub use self::reload::Source;
use self::routes::Answer;
pub use self::supervisor::{InheritError, Inherited};
use self::tasks::Tasks;
use self::terms::CurrentTerms;
use self::tls::Certificate;
use self::upgrade::Upgrades;
use crate::admin::Audit;
use crate::admin::audit::node_name;
use crate::auth::{AdminVerifier, CurrentKeys, KeySet, Revocations, Tickets, Verifier};
use crate::config::{Backend, Config};
use crate::hub::Hub;
use crate::metrics::{ProviderMetrics, ServerMetrics, SessionMetrics, StoreMetrics};
use crate::session::{Context, Retry};
use crate::telemetry::LogLevel;

/// Administrators are few.
const ADMIN_SOCKETS: usize = 64;

/// How long what serves nobody any more may take to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A server that has its addresses and waits to be run.
#[derive(Debug)]
pub struct Server {
    config: Config,
    source: Source,
    log: LogLevel,
    keys: KeySet,
    certificate: Option<CertifiedKey>,
    public: Door,
    admin: Door,
}

impl Server {
    /// Takes the addresses, so that a second server is noticed before anything else.
    ///
    /// Without a `certificate` it speaks no TLS. `source` is where `config` came from.
    /// Sockets that are `inherited` stand in for the addresses of the configuration.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn bind(
        config: Config,
        source: Source,
        log: LogLevel,
        keys: KeySet,
        certificate: Option<CertifiedKey>,
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        let Inherited { public, admin } = inherited;
        let server = &config.server;
        let encrypted = certificate.is_some();
        let public = Door::take("server.listen", server.listen, public, encrypted)?;
        let admin = Door::take("server.admin_listen", server.admin_listen, admin, encrypted)?;
        Ok(Self { config, source, log, keys, certificate, public, admin })
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
        let Self { config, source, log, keys, certificate, public, admin } = self;
        let mut registry = Registry::with_prefix("imserver");
        let store_metrics = StoreMetrics::register(&mut registry);
        let session_metrics = SessionMetrics::register(&mut registry);
        let metrics = ServerMetrics::register(&mut registry);
        let certificate = certificate.map(Certificate::new);
        if let Some(certificate) = &certificate {
            registry.register_collector(Box::new(Arc::clone(certificate)));
        }
        let room = descriptors::make_room(config.limits.connections);
        let terms = CurrentTerms::new(&config);
        let front = Front {
            tls: certificate.clone().map(tls::acceptor).transpose().map_err(StartError::Tls)?,
            terms: terms.clone(),
            metrics: metrics.clone(),
        };
        front.warn();

        // Before the store: a hangup while that is opened is no reason to end.
        let keys = CurrentKeys::new(keys);
        let provider_metrics = ProviderMetrics::register(&mut registry);
        let provider = config.auth.jwks_url.clone();
        let provider = provider.map(|url| Provider::new(url, keys.clone(), provider_metrics));
        let provider = provider.transpose().map_err(StartError::Provider)?;
        let revocations = Revocations::pending();
        let background = Tasks::default();
        let reload = Arc::new(Reload {
            source,
            started: config.clone(),
            terms: terms.clone(),
            log,
            certificate,
            keys: keys.clone(),
            metrics: metrics.clone(),
            reading: Mutex::default(),
        });
        reload.count_the_start();
        background.spawn_until_stopped(Arc::clone(&reload).run());
        background.spawn_until_stopped(supervisor::show_life());

        // Health first: opening a large store takes its time, and somebody asks.
        let store_ready = metrics.store_ready.clone();
        let (store, shutdown) = (OnceLock::new(), stop.clone());
        let probes = Arc::new(Probes { registry, store_ready, store, shutdown });
        let sessions = Tasks { stop: stop.clone(), tracker: TaskTracker::new() };
        let administration = Arc::new(Admin {
            gate: Gate::new(AdminVerifier::new(&keys, &revocations, &config.auth)),
            auth: config.auth.clone(),
            keys: keys.clone(),
            terms: terms.clone(),
            revocations: revocations.clone(),
            reload,
            audit: OnceLock::new(),
            metrics: metrics.clone(),
            calls: sessions.tracker.clone(),
            shutdown: stop.clone(),
            started: tokio::time::Instant::now(),
            service: OnceLock::new(),
        });
        if config.store.backend == Backend::Sled {
            // In a folder it needs no store.
            let _ = administration.audit.set(Audit::at(&config.store.path));
        }
        let admin = admin.open()?;
        let admin_address = admin.local_addr().unwrap_or(config.server.admin_listen);
        let admin_tasks = Tasks::default();
        let routes = admin::routes(Arc::clone(&probes), Arc::clone(&administration));
        admin_tasks.listen(front.listener(admin, routes, ADMIN_SOCKETS));

        let recent = Arc::new(Recent::new(store_metrics.clone(), session_metrics.clone()));
        let opening = backend::open(&config, store_metrics);
        let (opened, provider) = tokio::join!(opening, provider::first(provider, &keys, &stop));
        let Opened { store, tail, tickets, audit, neighbours } = opened?;
        let _ = administration.audit.set(audit);
        if let Some(provider) = provider {
            background.spawn_until_stopped(provider.run());
        }
        let known = store.revocations().await.map_err(StartError::Revocations)?;
        info!(revocations = known.len(), "revocations in force");
        revocations.load(known);
        let _ = probes.store.set(Arc::clone(&store));

        let hub = Hub::new();
        background.spawn_until_stopped(revocations.clone().keep_tidy());
        background.spawn(Arc::clone(&hub).follow(tail, revocations.clone()));
        let verifier = Verifier::new(&keys, &revocations, &config.auth);
        let doorkeeper = Arc::new(Doorkeeper {
            terms: terms.clone(),
            admission: Admission::new(room.connections),
            verifier: verifier.clone(),
            tickets: Tickets::new(&keys, &revocations, tickets).map_err(StartError::Tickets)?,
            metrics: metrics.clone(),
        });
        let context = Context {
            store: Arc::clone(&store),
            verifier,
            metrics: session_metrics,
            shutdown: stop.clone(),
            retry: Retry::default(),
        };
        let api = Arc::new(Api {
            doorkeeper: Arc::clone(&doorkeeper),
            rate: api::Rate::default(),
            context: context.clone(),
            metrics: metrics.clone(),
            calls: sessions.tracker.clone(),
        });
        let looking = Arc::clone(&recent);
        background.spawn_until_stopped(async move { looking.keep_looking().await });
        if let Some(neighbours) = &neighbours {
            let name = node_name(&config.store.jetstream);
            // They become part of what is asked here, and must not keep it.
            let asked = Arc::downgrade(&administration);
            neighbours.settle(name, move |question| asked.upgrade()?.answer_node(question));
        }
        let service =
            Service { context: context.clone(), hub: Arc::clone(&hub), neighbours, recent };
        let _ = administration.service.set(service);
        let upgrades = Arc::new(Upgrades {
            doorkeeper,
            hub,
            context: Arc::new(context),
            metrics: metrics.clone(),
            sessions: sessions.tracker.clone(),
        });
        let public = public.open()?;
        let address = public.local_addr().unwrap_or(config.server.listen);
        let routes = routes::public(upgrades, api, terms.clone());
        let introductions = Some(Introductions::new(metrics.clone()));
        sessions.listen(Listener { introductions, ..front.listener(public, routes, room.sockets) });
        info!(%address, admin = %admin_address, "serving");
        ready(address);
        supervisor::ready(address);

        stop.cancelled().await;
        supervisor::stopping();
        info!(connections = metrics.connections.get(), "stopping: answering what is under way");
        sessions.end(terms.get().drain_timeout).await;
        let closed = store.close().await;
        background.end(LAST_WORDS).await;
        admin_tasks.end(LAST_WORDS).await;
        closed.map_err(|_| RunError::Stop(StopError))
    }
}

/// What both listeners have in common.
struct Front {
    tls: Option<TlsAcceptor>,
    terms: CurrentTerms,
    metrics: ServerMetrics,
}

impl Front {
    fn warn(&self) {
        if self.tls.is_none() {
            warn!(
                "TLS is off: whoever is on this host can read everything; \
                 a proxy must terminate TLS before this address"
            );
        }
    }

    fn listener(
        &self,
        tcp: TcpListener,
        routes: BoxedFilter<(Answer,)>,
        sockets: usize,
    ) -> Listener {
        Listener {
            tcp,
            tls: self.tls.clone(),
            // Administrators, Prometheus and the looks of a balancer come by themselves.
            introductions: None,
            routes,
            terms: self.terms.clone(),
            sockets,
            metrics: self.metrics.clone(),
        }
    }
}
