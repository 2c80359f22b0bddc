//! Whom a proxy brings: the clients' listener hears from the proxies that are configured for
//! whom they connect, and from nobody else.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::proxy_header::{self, Fault};
use super::terms::Terms;
use crate::metrics::ServerMetrics;

/// Warnings a minute: each connection has its line in the debug log, and those who look into
/// the log of a proxy that is set up wrongly, with all its clients, need one of them.
const WARNINGS: NonZeroU32 = NonZeroU32::MIN;

/// The hearing of introductions, one connection at a time.
#[derive(Debug)]
pub(super) struct Introductions {
    metrics: ServerMetrics,
    warnings: DefaultDirectRateLimiter,
}

impl Introductions {
    pub(super) fn new(metrics: ServerMetrics) -> Self {
        Self { metrics, warnings: RateLimiter::direct(Quota::per_minute(WARNINGS)) }
    }

    /// Whether `peer` is a proxy that must say for whom it connects.
    ///
    /// That is decided by the address alone. Whoever looked at the first bytes instead would
    /// let everybody choose (section 2 of the specification).
    pub(super) fn expected_from(peer: SocketAddr, terms: &Terms) -> bool {
        terms.proxy_protocol.contain(peer.ip())
    }

    /// Hears for whom `peer` connects: the client's address, or its own for a connection of
    /// its own; nothing where it did not say, and the connection is to be closed.
    pub(super) async fn hear(
        &self,
        tcp: &mut TcpStream,
        peer: SocketAddr,
        deadline: Instant,
    ) -> Option<SocketAddr> {
        let read = timeout_at(deadline, proxy_header::read(tcp)).await;
        match read.unwrap_or(Err(Fault::Late)) {
            Ok(said) => Some(said.unwrap_or(peer)),
            Err(fault) => {
                self.refuse(peer, &fault);
                None
            }
        }
    }

    /// Refuses a header from somebody who is not listed: it is no TLS, so that the connection
    /// has come to its end, with all that come by this proxy.
    pub(super) fn uninvited(&self, peer: SocketAddr) {
        self.refuse(peer, &Fault::Uninvited);
    }

    fn refuse(&self, peer: SocketAddr, fault: &Fault) {
        let Some(reason) = fault.reason() else {
            debug!(%peer, %fault, "a proxy brought nobody");
            return;
        };
        self.metrics.refused(reason);
        if self.warnings.check().is_ok() {
            warn!(%peer, %fault, "refused for its PROXY header");
        } else {
            debug!(%peer, %fault, "refused for its PROXY header");
        }
    }
}
