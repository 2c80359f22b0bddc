//! The terms on which somebody comes in: the part of the configuration that can change
//! while the server runs.
//!
//! A request takes the terms once and keeps them to its end, a connection those of the
//! request that it began with: nobody meets half of a change, and no frame asks for them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tracing::info;

use crate::config::{self, Config, Networks};

/// What holds for whoever comes in now.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) origins: Vec<String>,
    pub(super) trusted_proxies: Networks,
    pub(super) proxy_protocol: Networks,
    pub(super) chat_page: bool,
    pub(super) drain_timeout: Duration,
    pub(super) limits: Arc<config::Limits>,
}

/// The terms in force, shared by all who keep to them.
#[derive(Clone, Debug)]
pub(super) struct CurrentTerms(Arc<ArcSwap<Terms>>);

impl CurrentTerms {
    pub(super) fn new(config: &Config) -> Self {
        let terms = Terms::of(config);
        if !terms.proxy_protocol.is_empty() {
            terms.say_who_introduces();
        }
        Self(Arc::new(ArcSwap::from_pointee(terms)))
    }

    /// Puts others in force, all at once.
    pub(super) fn replace(&self, config: &Config) {
        let terms = Arc::new(Terms::of(config));
        let before = self.0.swap(Arc::clone(&terms));
        if before.proxy_protocol != terms.proxy_protocol {
            terms.say_who_introduces();
        }
    }

    /// Those in force now.
    pub(super) fn get(&self) -> Arc<Terms> {
        self.0.load_full()
    }
}

impl Terms {
    fn of(config: &Config) -> Self {
        let Config { server, limits, .. } = config;
        Self {
            origins: server.origins.clone(),
            trusted_proxies: server.trusted_proxies.clone(),
            proxy_protocol: server.proxy_protocol.clone(),
            chat_page: server.chat_page,
            drain_timeout: server.drain_timeout,
            limits: Arc::new(limits.clone()),
        }
    }

    /// Until when somebody who comes now must have asked for something.
    pub(super) fn handshake_deadline(&self) -> Instant {
        Instant::now() + self.limits.handshake_timeout
    }

    /// Tells the log whom the server believes who its clients are.
    fn say_who_introduces(&self) {
        match &self.proxy_protocol {
            none if none.is_empty() => info!("no PROXY header is expected or believed any more"),
            proxies => info!(
                %proxies,
                "these must begin with a PROXY header, which is believed; nobody else may send one"
            ),
        }
    }
}

/// The settings that differ between `started` and `new` and are taken up by a restart alone.
pub(super) fn waiting(started: &Config, new: &Config) -> Vec<&'static str> {
    // Taken apart to the last field: a new setting does not compile before it is decided
    // here what a change of it does.
    let Config { server, tls, auth, store, limits, log } = started;
    let config::Server {
        listen,
        admin_listen,
        origins: _,
        drain_timeout: _,
        trusted_proxies: _,
        proxy_protocol: _,
        chat_page: _,
    } = server;
    let config::Tls { mode, cert, key } = tls;
    let config::Auth {
        keys,
        issuer,
        audience,
        admin_audience,
        jwks_url,
        require_jti,
        leeway,
        max_lifetime,
    } = auth;
    let config::Store {
        backend,
        jetstream,
        path,
        cache_bytes,
        volume_messages,
        retention,
        dedup_window,
        resend_window,
        // Made of others.
        deployment: _,
    } = store;
    let config::Limits {
        frame_bytes: _,
        content_bytes: _,
        messages_per_second: _,
        message_burst: _,
        // The file descriptors for them were reserved at the start.
        connections,
        connections_per_user: _,
        connections_per_address: _,
        // The store was opened with it.
        unread_per_user,
        violations: _,
        resend_after: _,
        handshake_timeout: _,
        write_timeout: _,
        ping_interval: _,
        pong_timeout: _,
    } = limits;
    let config::Log { format, level: _ } = log;
    [
        ("server.listen", *listen != new.server.listen),
        ("server.admin_listen", *admin_listen != new.server.admin_listen),
        ("tls.mode", *mode != new.tls.mode),
        ("tls.cert", *cert != new.tls.cert),
        ("tls.key", *key != new.tls.key),
        ("auth.keys", *keys != new.auth.keys),
        ("auth.issuer", *issuer != new.auth.issuer),
        ("auth.audience", *audience != new.auth.audience),
        ("auth.admin_audience", *admin_audience != new.auth.admin_audience),
        ("auth.jwks_url", *jwks_url != new.auth.jwks_url),
        ("auth.require_jti", *require_jti != new.auth.require_jti),
        ("auth.leeway", *leeway != new.auth.leeway),
        ("auth.max_lifetime", *max_lifetime != new.auth.max_lifetime),
        ("store.backend", *backend != new.store.backend),
        ("store.jetstream", *jetstream != new.store.jetstream),
        ("store.path", *path != new.store.path),
        ("store.cache_bytes", *cache_bytes != new.store.cache_bytes),
        ("store.volume_messages", *volume_messages != new.store.volume_messages),
        ("store.retention", *retention != new.store.retention),
        ("store.dedup_window", *dedup_window != new.store.dedup_window),
        ("store.resend_window", *resend_window != new.store.resend_window),
        ("limits.connections", *connections != new.limits.connections),
        ("limits.unread_per_user", *unread_per_user != new.limits.unread_per_user),
        ("log.format", *format != new.log.format),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_restart_takes_up_is_named_and_nothing_else() {
        let started = Config::default();
        assert!(waiting(&started, &started).is_empty());
        let mut new = started.clone();
        new.server.origins.clear();
        new.limits.frame_bytes = 1000;
        new.log.level = "debug".to_owned();
        assert!(waiting(&started, &new).is_empty());
        new.limits.connections = 7;
        new.server.listen.set_port(1);
        assert_eq!(waiting(&started, &new), ["server.listen", "limits.connections"]);
    }
}
