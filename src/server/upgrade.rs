//! From an HTTP request to a session: everything is checked before the answer 101,
//! so that a refusal is a plain answer and never a WebSocket that closes at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span};

use super::admission::Place;
use super::doorkeeper::Doorkeeper;
use super::handshake::{self, Handshake, V2};
use super::refusal::{Refusal, mark};
use super::routes::Request;
use super::socket::WebSocket;
use super::terms::Terms;
use super::worded::Worded;
use crate::hub::{About, Hub, Wants};
use crate::metrics::ServerMetrics;
use crate::protocol::Dialect;
use crate::session::{Context, Ended, Opening, Session};
use crate::store::Health;

/// How long the answer 101 may take to reach the peer.
const SWITCH: Duration = Duration::from_secs(10);

/// Everything an upgrade needs.
#[derive(Debug)]
pub(super) struct Upgrades {
    pub(super) doorkeeper: Arc<Doorkeeper>,
    pub(super) hub: Arc<Hub>,
    pub(super) context: Arc<Context>,
    pub(super) metrics: ServerMetrics,
    pub(super) sessions: TaskTracker,
}

/// Who comes in, with all the places they take.
struct Admitted {
    opening: Opening,
    place: Place,
}

impl Upgrades {
    /// Answers the request, whose connection `switch` gives: 101 and a session, or the refusal.
    pub(super) async fn answer<B: From<String>>(
        self: Arc<Self>,
        request: Request,
        switch: Option<OnUpgrade>,
    ) -> Response<B> {
        match self.accept(&request, switch).await {
            Ok(response) => response.map(|()| B::from(String::new())),
            Err(refusal) => {
                if refusal == Refusal::Origin {
                    self.doorkeeper.strangers.came(&request.headers);
                }
                if !refusal.is_counted() {
                    self.metrics.refused(refusal.code());
                }
                refusal.response()
            }
        }
    }

    async fn accept(
        self: &Arc<Self>,
        request: &Request,
        switch: Option<OnUpgrade>,
    ) -> Result<Response<()>, Refusal> {
        let Request { method, path, query, headers, arrival } = request;
        let terms = self.doorkeeper.terms.get();
        let handshake = handshake::check(method, path, query.as_deref(), headers, &terms.origins)?;
        let switch = switch.ok_or(Refusal::UpgradeRequired)?;
        let address = Doorkeeper::address(arrival, headers, &terms);
        let admitted = self.admit(&handshake, address, &terms).await?;
        let response = switching(&handshake)?;
        let (upgrades, socket_place) = (Arc::clone(self), arrival.place());
        let Admitted { opening, place } = admitted;
        // Boxed, as is all that happens once: a task has room for the largest thing it waits
        // for, to its end, and twice for what is moved within it.
        let beginning = Box::pin(Arc::clone(self).begin(opening, switch));
        self.sessions.spawn(async move {
            if let Some(session) = beginning.await {
                upgrades.converse(session).await;
            }
            // Neither must be given back while the upgraded connection lives.
            drop((place, socket_place));
        });
        Ok(response)
    }

    /// Lets somebody in whose token is good, while there is room.
    async fn admit(
        &self,
        handshake: &Handshake<'_>,
        address: IpAddr,
        terms: &Terms,
    ) -> Result<Admitted, Refusal> {
        let limits = &terms.limits;
        if self.context.shutdown.is_cancelled() {
            return Err(Refusal::Unavailable("the server is stopping"));
        }
        if self.context.store.health() != Health::Ready {
            return Err(Refusal::Unavailable("messages cannot be stored now"));
        }
        let comer = self.doorkeeper.look(handshake.token, address, limits).await?;
        let place = self.doorkeeper.admission.enter(address, limits)?;
        let too_many = Refusal::TooMany("this user has all their connections");
        if self.hub.connections_of(comer.user()) >= limits.connections_per_user {
            return Err(too_many);
        }
        // A ticket last of all: who is sent away for want of room comes back with it.
        let identity = self.doorkeeper.let_in(comer, address, limits).await?;
        let wants = match handshake.dialect {
            Dialect::Document => Wants::Inbox,
            Dialect::V2 => Wants::Everything,
        };
        let about = About { token: Arc::new(identity.token()), address, since: SystemTime::now() };
        let subscription =
            self.hub.subscribe(about, wants, limits.connections_per_user).ok_or(too_many)?;
        let (dialect, after) = (handshake.dialect, handshake.after);
        let limits = Arc::clone(limits);
        let opening = Opening { identity, subscription, dialect, after, limits };
        Ok(Admitted { opening, place })
    }

    /// The session of who was admitted, once the 101 is out; nothing when they are gone.
    async fn begin(
        self: Arc<Self>,
        opening: Opening,
        switch: OnUpgrade,
    ) -> Option<Box<Session<WebSocket>>> {
        let upgraded = tokio::time::timeout(SWITCH, switch).await.ok()?.ok()?;
        let parts = upgraded.downcast::<TokioIo<Worded>>().ok()?;
        let stream = parts.io.into_inner().into_stream();
        let socket = WebSocket::new(stream, parts.read_buf, &opening.limits).await;
        Some(Box::new(Session::new(opening, socket, Arc::clone(&self.context))))
    }

    /// The connection's life from there to its end.
    async fn converse(&self, session: Box<Session<WebSocket>>) {
        // Not for every level: nothing above `debug` is said in it, and it would be entered with
        // every frame and kept for every connection.
        let span = debug_span!("connection", user = %session.user());
        self.metrics.connections.inc();
        let (socket, ended) = session.run().instrument(span.clone()).await;
        self.metrics.connections.dec();
        if let Ended::Close(close) = ended {
            self.context.metrics.close(close.name());
        }
        span.in_scope(|| debug!(?ended, "connection ended"));
        Box::pin(socket.finish(ended)).await;
    }
}

/// The answer 101.
pub(super) fn switching(handshake: &Handshake<'_>) -> Result<Response<()>, Refusal> {
    let accept = HeaderValue::try_from(derive_accept_key(handshake.key.as_bytes()))
        .map_err(|_| Refusal::Malformed("`Sec-WebSocket-Key` must be 16 bytes in base64"))?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    mark(headers);
    if handshake.dialect == Dialect::V2 {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(V2));
    }
    Ok(response)
}
