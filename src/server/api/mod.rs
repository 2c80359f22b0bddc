//! The HTTPS API: the calls of one user, each checked before it is done.
//!
//! It keeps nothing of its own. Reads come from the store, writes go the way that a
//! frame's go, and whoever is connected learns of them as of any other.

mod answer;
mod body;
mod cors;
mod cursor;
pub(super) mod fuzzing;
mod query;
mod rate;
mod read;
mod route;
mod write;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio_util::task::TaskTracker;

pub(super) use self::body::Body;
use self::cors::Page;
pub(super) use self::query::Query;
pub(super) use self::rate::Rate;
use self::route::{Call, Route};
pub(super) use self::write::now;
use super::doorkeeper::Doorkeeper;
use super::handshake::{self, Token};
use super::refusal::Refusal;
use super::routes::{Answer, Request};
use super::terms::Terms;
use crate::auth::Identity;
use crate::metrics::ServerMetrics;
use crate::protocol::failure::FailureCode;
use crate::session::{self, Context};

/// Where the calls are.
pub(super) const PATH: &str = "/teaching/api/";

/// Everything that a call needs.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) doorkeeper: Arc<Doorkeeper>,
    pub(super) rate: Rate,
    pub(super) context: Context,
    pub(super) metrics: ServerMetrics,
    /// Where calls are worked on: a stopping server waits for them.
    pub(super) calls: TaskTracker,
}

impl Api {
    /// How long a body may be, and how long it may take.
    pub(super) fn body_limits(&self) -> (usize, Duration) {
        let limits = &self.doorkeeper.terms.get().limits;
        (limits.frame_bytes, limits.handshake_timeout)
    }

    /// Answers a call, and sees it through once it has begun: a client that goes before the
    /// answer does not leave a write half waited for.
    pub(super) async fn answer(self: Arc<Self>, request: Request, body: Body) -> Answer {
        let calls = self.calls.clone();
        let work = calls.spawn(async move { self.work(request, body).await });
        work.await.unwrap_or_else(|_| Refusal::Unavailable("the call failed here").response())
    }

    async fn work(&self, request: Request, mut body: Body) -> Answer {
        let route = Route::find(&request.path);
        let name = route.as_ref().map_or("none", |route| route.call.name());
        let terms = self.doorkeeper.terms.get();
        let page = Page::check(&request.headers, &terms.origins);
        let outcome = match &page {
            Ok(page) => self.serve(route, page, &terms, &request, &mut body).await,
            Err(refusal) => Err(refusal.clone()),
        };
        let mut answer = match outcome {
            Ok(answer) => answer,
            Err(refusal) => {
                if refusal == Refusal::Origin {
                    self.doorkeeper.strangers.came(&request.headers);
                }
                self.count(&refusal);
                body.discard().await;
                refusal.response()
            }
        };
        if let Ok(page) = page {
            page.mark(answer.headers_mut());
        }
        self.metrics.called(name, answer.status().as_u16());
        answer
    }

    async fn serve(
        &self,
        route: Option<Route<'_>>,
        page: &Page<'_>,
        terms: &Terms,
        request: &Request,
        body: &mut Body,
    ) -> Result<Answer, Refusal> {
        let route = route.ok_or(Refusal::NotFound)?;
        if request.method == Method::OPTIONS {
            return Ok(page.preflight(&route));
        }
        if request.method != route.method {
            return Err(Refusal::Method(route.allow()));
        }
        if self.context.shutdown.is_cancelled() {
            return Err(Refusal::Unavailable("the server is stopping"));
        }
        let identity = self.identify(request, terms).await?;
        if !self.rate.allow(identity.user(), &terms.limits) {
            let code = FailureCode::RateLimited;
            return Err(Refusal::Failed(code, session::explain(code).into()));
        }
        if !route.call.has_body() && handshake::has_body(&request.headers) {
            return Err(Refusal::Malformed("this call has no body"));
        }
        let query = request.query.as_deref();
        match route.call {
            Call::Me => self.me(&identity).await,
            Call::Conversations => self.conversations(&identity, query).await,
            Call::Messages(peer) => self.messages(&identity, peer, query).await,
            Call::Send => {
                let text = self.body_of(&identity, request, body, terms).await?;
                self.send(&identity, &text, &terms.limits).await
            }
            Call::MarkRead => {
                let text = self.body_of(&identity, request, body, terms).await?;
                self.mark_read(&identity, &text).await
            }
            Call::Ticket => self.ticket(&identity).await,
        }
    }

    /// Who asks: by a token in `Authorization` and by nothing else.
    async fn identify(&self, request: &Request, terms: &Terms) -> Result<Identity, Refusal> {
        let Request { headers, arrival, .. } = request;
        let token = handshake::bearer(headers)?.map(Token::InHeader);
        let address = Doorkeeper::address(arrival, headers, terms);
        self.doorkeeper.verify(token, address, &terms.limits).await
    }

    /// The body of a call. It may take its time, in which the token can be taken back: what
    /// came in after that is not stored.
    async fn body_of(
        &self,
        identity: &Identity,
        request: &Request,
        body: &mut Body,
        terms: &Terms,
    ) -> Result<String, Refusal> {
        let text = body.json(&request.headers).await?;
        let address = Doorkeeper::address(&request.arrival, &request.headers, terms);
        self.doorkeeper.still_believes(identity, address, &terms.limits)?;
        Ok(text)
    }

    /// What a frame could fail with too is counted with the frames'.
    fn count(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Failed(code, _) => self.context.metrics.failure(code.as_str()),
            _ if refusal.is_counted() => {}
            _ => self.metrics.refused(refusal.code()),
        }
    }
}
