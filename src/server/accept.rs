//! The accept loop: TCP, a proxy's word for whom it is, TLS, one request head, each within its
//! time.
//!
//! Ours instead of warp's, which has no TLS, no header timeout, and loses sight of
//! upgraded connections. Nothing that a peer does ends the loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};
use warp::filters::BoxedFilter;

use super::crowd::{Counted, Crowd};
use super::introductions::Introductions;
use super::refusal::Refusal;
use super::routes::Answer;
use super::stream::Stream;
use super::terms::{CurrentTerms, Terms};
use super::watched::Watched;
use super::worded::Worded;
use crate::metrics::ServerMetrics;

/// Headers a request may have, and the bytes of its whole head: a token of 8 KiB fits.
const HEADERS: usize = 64;
const HEAD_BYTES: usize = 16 * 1024;

/// How long to wait when the system has no connection to give: out of descriptors, say.
const BREATHER: Duration = Duration::from_millis(100);

/// How long a question that was begun before the server stopped may take to be asked.
/// Time for what is on its way, and no more: one silent peer must not hold up the end.
const HALF_ASKED: Duration = Duration::from_secs(1);

/// Where a request came from, and its connection's places.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// The other end of the connection, or the client for whom a proxy says that it has made
    /// it. Everything that is counted or written down goes by this.
    pub(super) peer: SocketAddr,
    place: Arc<OwnedSemaphorePermit>,
    /// Counted with its address until it is upgraded.
    _counted: Option<Arc<Counted>>,
}

impl Arrival {
    /// The place that the connection keeps to its end, whatever becomes of it.
    pub(super) fn place(&self) -> Arc<OwnedSemaphorePermit> {
        Arc::clone(&self.place)
    }
}

/// A listener with what is served on it.
pub(super) struct Listener {
    pub(super) tcp: TcpListener,
    /// `None`: a proxy on this host has ended TLS.
    pub(super) tls: Option<TlsAcceptor>,
    /// `None`: nobody comes by a proxy here.
    pub(super) introductions: Option<Introductions>,
    pub(super) routes: BoxedFilter<(Answer,)>,
    pub(super) terms: CurrentTerms,
    /// TCP connections in all, handshakes included.
    pub(super) sockets: usize,
    pub(super) metrics: ServerMetrics,
}

impl Listener {
    /// Accepts until `shutdown`; every connection is a task of `tracker`.
    pub(super) async fn run(self, shutdown: CancellationToken, tracker: TaskTracker) {
        let places = Arc::new(Semaphore::new(self.sockets.min(Semaphore::MAX_PERMITS)));
        let crowd = Crowd::default();
        let listener = Arc::new(self);
        loop {
            // A place first: who cannot be served waits in the system's own queue.
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.tcp.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = accepted => accepted,
            };
            let Ok(place) = place else { return };
            match accepted {
                Ok((tcp, peer)) => {
                    let terms = listener.terms.get();
                    let (place, crowd) = (Arc::new(place), crowd.clone());
                    let (listener, shutdown) = (Arc::clone(&listener), shutdown.clone());
                    if listener.is_introduced(peer, &terms) {
                        // Not counted yet: its address stands for all whom it brings.
                        tracker.spawn(async move {
                            listener.introduce(tcp, peer, place, &crowd, &terms, shutdown).await;
                        });
                    } else if let Some(arrival) = listener.count(&crowd, peer, place, &terms) {
                        tracker.spawn(async move {
                            let deadline = terms.handshake_deadline();
                            listener.serve(tcp, arrival, &terms, deadline, shutdown).await;
                        });
                    }
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    sleep(BREATHER).await;
                }
            }
        }
    }

    /// Counts somebody who arrives with those of the same address that shake hands or ask:
    /// one address must not take all places by saying nothing. Those who are upgraded are
    /// counted apart, and those whom a proxy of ours brings by what it says of them. Nothing
    /// where there are `limits.connections_per_address` of them.
    fn count(
        &self,
        crowd: &Crowd,
        peer: SocketAddr,
        place: Arc<OwnedSemaphorePermit>,
        terms: &Terms,
    ) -> Option<Arrival> {
        let counted = match terms.limits.connections_per_address {
            0 => None,
            _ if terms.trusted_proxies.contain(peer.ip()) => None,
            max => match crowd.enter(peer.ip(), max) {
                Some(counted) => Some(Arc::new(counted)),
                None => {
                    self.metrics.refused("too_many_arrivals");
                    debug!(%peer, "too many of this address are arriving");
                    return None;
                }
            },
        };
        Some(Arrival { peer, place, _counted: counted })
    }

    /// Whether `peer` has to say for whom it connects.
    fn is_introduced(&self, peer: SocketAddr, terms: &Terms) -> bool {
        self.introductions.is_some() && Introductions::expected_from(peer, terms)
    }

    /// Serves whom a proxy brings, counted by the client's own address.
    async fn introduce(
        &self,
        mut tcp: TcpStream,
        proxy: SocketAddr,
        place: Arc<OwnedSemaphorePermit>,
        crowd: &Crowd,
        terms: &Terms,
        shutdown: CancellationToken,
    ) {
        let Some(introductions) = &self.introductions else { return };
        let deadline = terms.handshake_deadline();
        let hearing = introductions.hear(&mut tcp, proxy, deadline);
        let Some(Some(peer)) = shutdown.run_until_cancelled(hearing).await else { return };
        if let Some(arrival) = self.count(crowd, peer, place, terms) {
            self.serve(tcp, arrival, terms, deadline, shutdown).await;
        }
    }

    /// One connection, from its own first byte until it is closed or upgraded.
    async fn serve(
        &self,
        tcp: TcpStream,
        arrival: Arrival,
        terms: &Terms,
        deadline: Instant,
        shutdown: CancellationToken,
    ) {
        // Frames are small and wanted at once. Where it fails the peer is gone already.
        let _ = tcp.set_nodelay(true);
        let patience = terms.limits.write_timeout;
        let watched = match &self.tls {
            Some(_) => Watched::for_tls(tcp, patience),
            None => Watched::new(tcp, patience),
        };
        let stream = self.shake_hands(watched, &arrival, deadline, &shutdown).await;
        let Some(stream) = stream else { return };
        let left = deadline.saturating_duration_since(Instant::now());
        let peer = arrival.peer;
        let routes = TowerToHyperService::new(warp::service(self.routes.clone()));
        let asked = AtomicBool::new(false);
        let service = service_fn(|mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let checked = hygiene(request.version(), request.uri(), request.headers());
            let answering = checked.map(|()| {
                request.extensions_mut().insert(arrival.clone());
                routes.call(request)
            });
            async move {
                match answering {
                    Ok(answering) => answering.await,
                    Err(refusal) => Ok(refusal.response()),
                }
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(left.max(BREATHER))
            .max_headers(HEADERS)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(Worded::new(stream)), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                if asked.load(Ordering::Relaxed) {
                    connection.await
                } else {
                    match timeout(HALF_ASKED, connection).await {
                        Ok(served) => served,
                        Err(_) => return,
                    }
                }
            }
        };
        if let Err(error) = served {
            // Its text may hold parts of the request: its kind must do.
            debug!(%peer, timeout = error.is_timeout(), parse = error.is_parse(), "no request");
        }
    }

    /// Shakes hands where TLS ends here; nothing where that comes to nothing.
    async fn shake_hands(
        &self,
        watched: Watched,
        arrival: &Arrival,
        deadline: Instant,
        shutdown: &CancellationToken,
    ) -> Option<Stream> {
        let Some(tls) = &self.tls else { return Some(Stream::Plain(watched)) };
        let shaken = tokio::select! {
            shaken = timeout_at(deadline, tls.accept(watched).into_fallible()) => shaken,
            // Nothing was asked, so nobody waits for an answer.
            () = shutdown.cancelled() => return None,
        };
        match shaken {
            Ok(Ok(tls)) => return Some(Stream::tls(Box::new(tls))),
            Ok(Err((error, watched))) => {
                if let Some(introductions) = &self.introductions
                    && watched.began_with_proxy_header()
                {
                    introductions.uninvited(arrival.peer);
                }
                self.no_handshake(arrival, &error);
            }
            Err(_) => self.no_handshake(arrival, &"it took too long"),
        }
        None
    }

    fn no_handshake(&self, arrival: &Arrival, why: &dyn std::fmt::Display) {
        self.metrics.handshakes_failed.inc();
        debug!(peer = %arrival.peer, %why, "TLS handshake failed");
    }
}

/// What every request must be, so that a proxy before us and we see the same one.
fn hygiene(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
    if version != Version::HTTP_11 {
        return Err(Refusal::Malformed("HTTP/1.1 is spoken here"));
    }
    if uri.authority().is_some() || uri.scheme().is_some() {
        return Err(Refusal::Malformed("the request names a path, not a whole address"));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::Malformed("exactly one `Host` is needed"));
    };
    if !names_a_host(host) {
        return Err(Refusal::Malformed("`Host` is no host with or without a port"));
    }
    // Where both are given hyper goes by the coding, shows us no length, and ends the connection
    // behind its answer: nobody's second request is hidden in what one of the two counts as body.
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if lengths > 1 || lengths > 0 && headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::Malformed("the length of the body is given twice"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let plain = codings.next().is_none_or(|one| one.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !plain || codings.next().is_some() {
        return Err(Refusal::Malformed("a body comes by its length or in chunks, coded in no way"));
    }
    Ok(())
}

/// Whether it is what RFC 9110, section 7.2 has there, or empty, as it has where there is no host.
fn names_a_host(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let Ok(authority) = Authority::try_from(bytes) else {
        return bytes.is_empty();
    };
    let port = authority.as_str().strip_prefix(authority.host());
    port.is_some_and(|port| matches!(port, "" | ":") || authority.port_u16().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_host() {
        for good in ["", "x", "localhost:8443", "[::1]", "[::1]:443", "10.0.0.7:1", "a_b.c", "x:"] {
            assert!(names_a_host(&HeaderValue::from_static(good)), "{good:?}");
        }
        let bads =
            ["a b", "u@x", "x/y", "x:y", "x:99999", "[::1", "x\\y", "<x>", "x:1:2", "x?", "x#"];
        for bad in bads {
            assert!(!names_a_host(&HeaderValue::from_static(bad)), "{bad:?}");
        }
        assert!(!names_a_host(&HeaderValue::from_bytes(b"\xc3\xa9").unwrap()));
    }
}
