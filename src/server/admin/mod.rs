//! The administrators' listener, never the public one: how the service is for whoever asks,
//! and what an administrator does for the bearer of an administrator's token.
//!
//! Every act is in the audit log before it is done, and an answer says that it was done
//! only then. One file a subject: its calls stand there, its addresses in `route.rs`.

mod answer;
mod audit;
mod connections;
mod data;
mod erase;
mod everywhere;
pub(super) mod fuzzing;
mod gate;
mod nodes;
mod notifications;
mod probes;
mod recent;
mod reload;
mod revocations;
mod route;
mod status;
mod tokens;
mod users;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};
use warp::Filter;
use warp::filters::BoxedFilter;

pub(super) use self::audit::places as audit_places;
use self::everywhere::Everywhere;
pub(super) use self::gate::Gate;
pub(super) use self::probes::Probes;
pub(super) use self::recent::Recent;
use self::route::Place;
use super::api::{Body, Query};
use super::handshake;
use super::page;
use super::refusal::Refusal;
use super::reload::Reload;
use super::routes::{self, Answer, Request, nothing};
use super::terms::CurrentTerms;
use crate::admin::{Act, Audit, Who};
use crate::auth::{CurrentKeys, Revocations};
use crate::config;
use crate::hub::Hub;
use crate::metrics::ServerMetrics;
use crate::session::Context;
use crate::store::jetstream::Neighbours;

/// How long a body may be: 50,000 user ids and the longest content fit.
const BODY_BYTES: usize = 1 << 20;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What administrators' calls are made from.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) gate: Gate,
    pub(super) auth: config::Auth,
    pub(super) keys: CurrentKeys,
    pub(super) terms: CurrentTerms,
    pub(super) revocations: Revocations,
    pub(super) reload: Arc<Reload>,
    /// The audit log, once it can be written to.
    pub(super) audit: OnceLock<Audit>,
    pub(super) metrics: ServerMetrics,
    /// Where calls are worked on: a stopping server waits for them.
    pub(super) calls: TaskTracker,
    /// Places for those who are sent the audit log.
    pub(super) audit_readers: Arc<Semaphore>,
    pub(super) shutdown: CancellationToken,
    pub(super) started: Instant,
    /// Set once the store is open.
    pub(super) service: OnceLock<Service>,
}

/// What administrators act on.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) context: Context,
    pub(super) hub: Arc<Hub>,
    /// The other nodes, where there can be any.
    pub(super) neighbours: Option<Arc<Neighbours>>,
    pub(super) recent: Arc<Recent>,
}

impl Service {
    /// What this node is called, where there can be others.
    fn node(&self) -> Option<String> {
        self.neighbours.as_ref().map(|neighbours| neighbours.name().to_owned())
    }

    /// This node and all others.
    fn everywhere(&self) -> Everywhere<'_> {
        Everywhere { hub: &self.hub, neighbours: self.neighbours.as_deref() }
    }
}

/// A call of somebody who was let in.
struct Call<'a> {
    who: Who,
    query: Query<'a>,
    request: &'a Request,
    body: &'a mut Body,
}

/// All that there is on this listener.
pub(super) fn routes(probes: Arc<Probes>, admin: Arc<Admin>) -> BoxedFilter<(Answer,)> {
    let calls = routes::call(
        || (BODY_BYTES, BODY_TIME),
        move |request, body| Arc::clone(&admin).answer(request, body),
    );
    let calls = warp::path("admin").and(calls);
    let page = page::admin();
    probes::routes(probes).or(calls).unify().or(page).unify().or(nothing()).unify().boxed()
}

impl Admin {
    /// Answers a call, and sees it through once it has begun: an act that is in the audit
    /// log is not left half done because its client went.
    async fn answer(self: Arc<Self>, request: Request, body: Body) -> Answer {
        let calls = self.calls.clone();
        let work = calls.spawn(async move { self.work(request, body).await });
        work.await.unwrap_or_else(|_| Refusal::Unavailable("the call failed here").response())
    }

    async fn work(self: Arc<Self>, request: Request, mut body: Body) -> Answer {
        let place = Place::find(&request.path);
        let name = place.as_ref().map_or("none", |place| place.name());
        let answer = match self.serve(place, &request, &mut body).await {
            Ok(answer) => answer,
            Err(refusal) => {
                body.discard().await;
                refusal.response()
            }
        };
        self.metrics.administered(name, answer.status().as_u16());
        answer
    }

    /// Lets the caller in, then does what is asked. Whoever is not let in learns nothing
    /// of what there is.
    async fn serve(
        self: &Arc<Self>,
        place: Option<Place>,
        request: &Request,
        body: &mut Body,
    ) -> Result<Answer, Refusal> {
        let who = self.gate.admit(request)?;
        let place = place.ok_or(Refusal::NotFound)?;
        if self.shutdown.is_cancelled() {
            return Err(Refusal::Unavailable("the server is stopping"));
        }
        let query = Query::parse(request.query.as_deref())?;
        let call = Call { who, query, request, body };
        match (place, &request.method) {
            (Place::Audit, &Method::GET) => self.audit(call).await,
            (Place::Connections, &Method::GET) => self.connections(call).await,
            (Place::Connections, &Method::DELETE) => self.close_all(call).await,
            (Place::Connection(id), &Method::DELETE) => self.close(call, id).await,
            (Place::Nodes, &Method::GET) => self.nodes(call).await,
            (Place::Notifications, &Method::POST) => self.notify(call).await,
            (Place::Backup, &Method::GET) => self.backup(call).await,
            (Place::Export, &Method::GET) => self.export(call, None).await,
            (Place::UserExport(user), &Method::GET) => self.export(call, Some(user)).await,
            (Place::Reload, &Method::POST) => self.reload(call).await,
            (Place::Revocations, &Method::GET) => self.revocations(call).await,
            (Place::Revocations, &Method::POST) => self.revoke(call).await,
            (Place::Status, &Method::GET) => self.status(call),
            (Place::Tokens, &Method::GET) => self.issued(call).await,
            (Place::Tokens, &Method::POST) => self.issue(call).await,
            (Place::User(user), &Method::DELETE) => self.erase(call, user).await,
            (Place::Disable(user), &Method::POST) => self.disable(call, user).await,
            (Place::Enable(user), &Method::POST) => self.enable(call, user).await,
            (place, _) => Err(Refusal::Method(place.allow())),
        }
    }

    /// The answer to another node's question; nothing where it is none of ours.
    pub(super) fn answer_node(&self, question: &RawValue) -> Option<Box<RawValue>> {
        let of_connections = || everywhere::answer(&self.service.get()?.hub, question);
        self.told(question).or_else(of_connections)
    }

    /// What administrators act on.
    fn service(&self) -> Result<&Service, Refusal> {
        self.service.get().ok_or(Refusal::Unavailable("the store is being opened"))
    }

    /// The audit log.
    fn log(&self) -> Result<Audit, Refusal> {
        self.audit.get().cloned().ok_or(Refusal::Unavailable("the store is being opened"))
    }

    /// Writes an act down, which must happen before it is done.
    ///
    /// # Errors
    /// It could not be written down, and must not be done.
    async fn note(&self, who: &Who, act: &Act) -> Result<(), Refusal> {
        let (audit, who, act) = (self.log()?, who.clone(), act.clone());
        let name = act.name().to_owned();
        let writing = move || audit.append(&who, &act);
        match tokio::task::spawn_blocking(writing).await {
            Ok(Ok(line)) => {
                info!(act = name, who = line.who, line = line.number, "administrative act");
                Ok(())
            }
            Ok(Err(cause)) => {
                error!(act = name, error = %cause, "not written down, so it is not done");
                Err(Refusal::Unavailable(
                    "the audit log cannot be written, so nothing was done; the server's log \
                     says why",
                ))
            }
            Err(_) => Err(Refusal::Unavailable("the call failed here")),
        }
    }
}

impl Call<'_> {
    /// The body, which is JSON of this form and nothing else.
    async fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        read(&self.body.json(&self.request.headers).await?)
    }

    /// Fails where a body came along that nobody asked for.
    fn without_body(&self) -> Result<(), Refusal> {
        if handshake::has_body(&self.request.headers) {
            return Err(Refusal::Malformed("this call has no body"));
        }
        Ok(())
    }
}

/// Reads a body.
fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    // The library would take a list too, of the members in their order.
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::Malformed("the body must be a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| Refusal::bad_request(error.to_string()))
}
