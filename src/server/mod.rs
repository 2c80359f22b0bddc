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
mod foundation;
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
mod strangers;
mod stream;
mod supervisor;
mod tasks;
mod terms;
#[cfg(test)]
mod tests;
mod tls;
mod upgrade;
mod watched;
mod worded;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use self::accept::Listener;
use self::admin::{Recent, Service};
use self::backend::Opened;
pub use self::descriptors::raise_limit;
use self::door::Door;
use self::foundation::Foundation;
use self::introductions::Introductions;
pub use self::outcome::{RunError, StartError, StopError};
use self::provider::Provider;
pub use self::reload::Source;
pub use self::supervisor::{InheritError, Inherited};
use self::tasks::Tasks;
use self::terms::CurrentTerms;
use self::tls::Certificate;
use crate::admin::audit::node_name;
use crate::auth::{CurrentKeys, KeySet, Revocations};
use crate::config::Config;
use crate::hub::Hub;
use crate::metrics::{ProviderMetrics, ServerMetrics, SessionMetrics, StoreMetrics};
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
        // Before the store: it may need many.
        raise_limit();
        let sessions = Tasks { stop: stop.clone(), tracker: TaskTracker::new() };
        let foundation = Foundation {
            terms: CurrentTerms::new(&config),
            tls: certificate.clone().map(tls::acceptor).transpose().map_err(StartError::Tls)?,
            keys: CurrentKeys::new(keys),
            revocations: Revocations::pending(),
            metrics,
            session_metrics,
            calls: sessions.tracker.clone(),
            stop: stop.clone(),
            config,
        };
        foundation.warn();
        let Foundation { config, terms, keys, revocations, metrics, .. } = &foundation;

        // Before the store: a hangup while that is opened is no reason to end.
        let provider_metrics = ProviderMetrics::register(&mut registry);
        let provider = config.auth.jwks_url.clone();
        let provider = provider.map(|url| Provider::new(url, keys.clone(), provider_metrics));
        let provider = provider.transpose().map_err(StartError::Provider)?;
        let background = Tasks::default();
        let reload = foundation.reload(source, log, certificate);
        reload.count_the_start();
        background.spawn_until_stopped(Arc::clone(&reload).run());
        background.spawn_until_stopped(supervisor::show_life());

        // Health first: opening a large store takes its time, and somebody asks.
        let probes = foundation.probes(registry);
        let administration = foundation.administration(reload);
        let admin = admin.open()?;
        let admin_address = admin.local_addr().unwrap_or(config.server.admin_listen);
        let admin_tasks = Tasks::default();
        let routes = admin::routes(Arc::clone(&probes), Arc::clone(&administration));
        admin_tasks.listen(foundation.listener(admin, routes, ADMIN_SOCKETS));

        let recent =
            Arc::new(Recent::new(store_metrics.clone(), foundation.session_metrics.clone()));
        let opening = backend::open(config, store_metrics);
        let (opened, provider) = tokio::join!(opening, provider::first(provider, keys, &stop));
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
        let room = descriptors::make_room(config.limits.connections);
        let doorkeeper = foundation.doorkeeper(room.connections, tickets)?;
        let context = foundation.context(Arc::clone(&store), doorkeeper.verifier.clone());
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
        let public = public.open()?;
        let address = public.local_addr().unwrap_or(config.server.listen);
        let routes = foundation.public_routes(doorkeeper, hub, context);
        let introductions = Some(Introductions::new(metrics.clone()));
        let listener = foundation.listener(public, routes, room.sockets);
        sessions.listen(Listener { introductions, ..listener });
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
