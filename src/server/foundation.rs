//! What the parts of the server stand on, and how each of them is made.

use std::sync::{Arc, Mutex, OnceLock};

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use warp::filters::BoxedFilter;

use super::StartError;
use super::accept::Listener;
use super::admin::{self, Admin, Gate, Probes};
use super::admission::Admission;
use super::api::{self, Api};
use super::doorkeeper::{self, Doorkeeper};
use super::reload::{Reload, Source};
use super::routes::{self, Answer};
use super::strangers::Strangers;
use super::terms::CurrentTerms;
use super::tls::Certificate;
use super::upgrade::Upgrades;
use crate::admin::Audit;
use crate::auth::{AdminVerifier, CurrentKeys, Revocations, TicketBook, Tickets, Verifier};
use crate::config::{Backend, Config};
use crate::hub::Hub;
use crate::metrics::{ServerMetrics, SessionMetrics};
use crate::session::{Context, Retry};
use crate::store::Store;
use crate::telemetry::LogLevel;

/// What is there before the store is, for all who need it.
pub(super) struct Foundation {
    /// What the server started with.
    pub(super) config: Config,
    pub(super) terms: CurrentTerms,
    /// `None`: a proxy on this host ends TLS.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) keys: CurrentKeys,
    pub(super) revocations: Revocations,
    pub(super) metrics: ServerMetrics,
    pub(super) session_metrics: SessionMetrics,
    /// Where sessions and calls are worked on: a stopping server waits for them.
    pub(super) calls: TaskTracker,
    /// Cancelled when the server stops.
    pub(super) stop: CancellationToken,
}

impl Foundation {
    /// Tells the log what is risky about the set-up.
    pub(super) fn warn(&self) {
        if self.tls.is_none() {
            warn!(
                "TLS is off: whoever is on this host can read everything; \
                 a proxy must terminate TLS before this address"
            );
        }
    }

    /// A listener of `sockets` connections at once, at the most.
    pub(super) fn listener(
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

    /// What reads configuration, certificate and keys again.
    pub(super) fn reload(
        &self,
        source: Source,
        log: LogLevel,
        certificate: Option<Arc<Certificate>>,
    ) -> Arc<Reload> {
        Arc::new(Reload {
            source,
            started: self.config.clone(),
            terms: self.terms.clone(),
            log,
            certificate,
            keys: self.keys.clone(),
            metrics: self.metrics.clone(),
            reading: Mutex::default(),
        })
    }

    /// What tells how the service is; the store is set once it is open.
    pub(super) fn probes(&self, registry: Registry) -> Arc<Probes> {
        let store_ready = self.metrics.store_ready.clone();
        let (store, shutdown) = (OnceLock::new(), self.stop.clone());
        Arc::new(Probes { registry, store_ready, store, shutdown })
    }

    /// What administrators' calls are made from; what they act on is set once it is there.
    pub(super) fn administration(&self, reload: Arc<Reload>) -> Arc<Admin> {
        let audit = OnceLock::new();
        if self.config.store.backend == Backend::Sled {
            // In a folder it needs no store.
            let _ = audit.set(Audit::at(&self.config.store.path));
        }
        let auth = &self.config.auth;
        Arc::new(Admin {
            gate: Gate::new(AdminVerifier::new(&self.keys, &self.revocations, auth)),
            auth: auth.clone(),
            keys: self.keys.clone(),
            terms: self.terms.clone(),
            revocations: self.revocations.clone(),
            reload,
            audit,
            metrics: self.metrics.clone(),
            calls: self.calls.clone(),
            audit_readers: admin::audit_places(),
            shutdown: self.stop.clone(),
            started: Instant::now(),
            service: OnceLock::new(),
        })
    }

    /// Who lets in so many connections at once, at the most.
    ///
    /// # Errors
    /// [`StartError::Tickets`].
    pub(super) fn doorkeeper(
        &self,
        connections: usize,
        tickets: Arc<dyn TicketBook>,
    ) -> Result<Arc<Doorkeeper>, StartError> {
        let Self { keys, revocations, .. } = self;
        Ok(Arc::new(Doorkeeper {
            terms: self.terms.clone(),
            admission: Admission::new(connections),
            verifier: Verifier::new(keys, revocations, &self.config.auth),
            tickets: Tickets::new(keys, revocations, tickets).map_err(StartError::Tickets)?,
            metrics: self.metrics.clone(),
            strangers: Strangers::default(),
            told: doorkeeper::nothing_told(),
        }))
    }

    /// What sessions and calls need.
    pub(super) fn context(&self, store: Arc<dyn Store>, verifier: Verifier) -> Context {
        Context {
            store,
            verifier,
            metrics: self.session_metrics.clone(),
            shutdown: self.stop.clone(),
            retry: Retry::default(),
            resend_window: self.config.store.resend_window,
        }
    }

    /// All that there is on the clients' listener.
    pub(super) fn public_routes(
        &self,
        doorkeeper: Arc<Doorkeeper>,
        hub: Arc<Hub>,
        context: Context,
    ) -> BoxedFilter<(Answer,)> {
        let api = Arc::new(Api {
            doorkeeper: Arc::clone(&doorkeeper),
            rate: api::Rate::default(),
            context: context.clone(),
            metrics: self.metrics.clone(),
            calls: self.calls.clone(),
        });
        let upgrades = Arc::new(Upgrades {
            doorkeeper,
            hub,
            context: Arc::new(context),
            metrics: self.metrics.clone(),
            sessions: self.calls.clone(),
        });
        routes::public(upgrades, api, self.terms.clone())
    }
}
