//! The store on NATS JetStream: several nodes, and every message on several servers.
//!
//! Durable means that a majority of a stream's servers has it on disk, which takes
//! `sync_interval: always` on each of them. What a node keeps in memory can be had again
//! from the streams; nodes know nothing of each other but what the streams tell.
//! `docs/adr/0016-jetstream.md` has the design.

mod amend;
mod answer;
mod apart;
mod audit;
mod batch;
mod blueprint;
mod catch_up;
mod claims;
mod clock;
mod clocks;
mod codec;
mod connect;
mod conversations;
mod copies;
mod deployment;
mod distance;
mod erase;
mod export;
mod extent;
mod follow;
mod followed;
mod group;
mod history;
mod in_order;
mod inbox;
mod jumps;
mod lanes;
mod lately;
mod line;
mod log;
mod look;
mod making;
mod marking;
mod marks;
pub mod migrate;
mod names;
mod neighbours;
mod news;
mod old_ids;
mod outcomes;
mod owner;
mod pace;
mod packets;
mod permissions;
mod profiles;
mod raw;
mod read_state;
mod reads;
mod recall;
mod record;
mod refusal;
mod replies;
mod rests;
mod retention;
mod revoked;
mod servers;
mod shared;
mod survey;
mod tally;
mod telling;
mod tickets;
mod timeline;
mod together;
mod trail;
mod tries;
mod typing;
mod upkeep;
mod users;
mod windows;
mod writes;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::info;

pub use self::audit::{AuditStream, Filed, Topic};
pub use self::deployment::Created;
use self::follow::Follower;
use self::followed::Share;
use self::line::Lines;
use self::log::Log;
use self::names::Names;
pub use self::neighbours::{Heard, Neighbours};
use self::outcomes::Outcomes;
use self::reads::Reads;
pub use self::refusal::OpenError;
use self::replies::Replies;
pub use self::servers::check_config;
pub use self::servers::{SeenServer, ServerFacts};
use self::shared::Shared;
pub use self::survey::{Replica, Surveyed, check, create, survey};
use self::typing::Typing;
use super::rules::Rules;
use super::{
    AppendError, Appended, Backup, ClaimedProfile, Conversations, Cursor, Draft, Erased, Export,
    Health, History, HistoryCursor, Page, Receipt, Seen, Span, Store, StoreError, Stretch, Tail,
};
use crate::auth::Revocation;
use crate::config;
use crate::ids::{ConnectionId, Sender, UserId};
use crate::message::Profile;
use crate::metrics::StoreMetrics;

/// How long the news of one node takes to reach all at the most, as the contract has it.
const SPREAD: Duration = Duration::from_secs(1);

/// Batches that wait to be taken from the tail.
const TAIL: usize = 64;

/// Opens the store that `config` names, and gives it with the tail of what all nodes store
/// from now on.
///
/// # Errors
/// Says what is in the way and what to do. Nothing was changed, unless it says so: all is looked
/// at before streams are made where `store.jetstream.create` asks for it.
pub async fn open(
    config: &config::Store,
    limits: &config::Limits,
    metrics: StoreMetrics,
) -> Result<(JetStream, Tail), OpenError> {
    let names = Names::new(&config.jetstream.prefix, config.jetstream.partitions);
    let connection = connect::connect(&config.jetstream, metrics.cluster.clone()).await?;
    servers::look(&config.jetstream, &mut Vec::new()).await?;
    let names = deployment::prepare(&connection, &names, config).await?;
    clock::agrees();
    let (client, context) = (connection.client.clone(), connection.context.clone());
    let unavailable = |_| StoreError::Unavailable;
    let (replies, sorting) = Replies::new(&client).await.map_err(unavailable)?;
    let reads = Reads::new(client.clone(), context.clone(), replies);
    let outcomes = Arc::new(Outcomes::new(connection.denied.clone()));
    let log = Log { names, reads, context, outcomes };
    let rules = Rules::of(config, limits);
    let shared = Arc::new(Shared::new(client, connection.why_not.clone(), log, rules, metrics));

    let (around, finish, over) =
        (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let until_over = |work| {
        let over = over.clone();
        async move { over.run_until_cancelled_owned(work).await }
    };
    around.spawn(until_over(Box::pin(sorting) as BoxFuture<'static, ()>));
    let (announce, tail) = mpsc::channel(TAIL);
    let (typing, telling) = Typing::new(&shared, announce.clone()).await?;
    around.spawn(until_over(Box::pin(telling)));
    let (neighbours, living) = Neighbours::new(&shared).await?;
    around.spawn(until_over(Box::pin(living)));
    let followers = [
        Follower::new(&shared, Share::Revocations, announce.clone()).await?,
        Follower::new(&shared, Share::Others, announce).await?,
    ];
    recall::recall(&shared, &around, &over).await;
    let following = TaskTracker::new();
    for follower in followers {
        let (looking, seen) = follower.look(connection.made.clone());
        around.spawn(until_over(Box::pin(looking)));
        following.spawn(follower.run(seen, finish.clone()));
    }
    around.spawn(until_over(Box::pin(look::look_at_others(Arc::clone(&shared)))));
    let upkeep = upkeep::run(shared.log.clone(), config.retention, shared.metrics.clone());
    around.spawn(until_over(Box::pin(upkeep)));
    around.spawn(until_over(Box::pin(outcomes::run(shared.log.clone()))));
    info!(
        servers = config.jetstream.servers.join(", "),
        prefix = config.jetstream.prefix,
        deployment = config.deployment,
        partitions = config.jetstream.partitions,
        "store opened"
    );
    let lines = Mutex::new(Some(Lines::new(&shared)));
    let ends = [finish.clone().drop_guard(), over.clone().drop_guard()];
    let inner =
        Inner { shared, lines, typing, neighbours, finish, following, over, around, _ends: ends };
    Ok((JetStream(Arc::new(inner)), tail))
}

/// A handle on the open store.
#[derive(Clone)]
pub struct JetStream(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// Gone once the store is closed.
    lines: Mutex<Option<Lines>>,
    typing: Typing,
    neighbours: Arc<Neighbours>,
    /// Tells the followers to come to their end.
    finish: CancellationToken,
    following: TaskTracker,
    /// Ends all that runs.
    over: CancellationToken,
    /// All that runs around the writing.
    around: TaskTracker,
    /// For a store that is dropped without being closed.
    _ends: [DropGuard; 2],
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream").field("health", &self.0.shared.health()).finish_non_exhaustive()
    }
}

impl JetStream {
    /// The other nodes.
    pub fn neighbours(&self) -> Arc<Neighbours> {
        Arc::clone(&self.0.neighbours)
    }

    /// Reads while the store is open.
    fn read<'a, T: Send + 'a>(
        &'a self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            self.0.shared.open()?;
            work.await
        })
    }

    /// Changes something, which the close waits for.
    fn change<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Arc<Shared>) -> F + Send + 'static,
    ) -> Receipt<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.0.shared);
        Box::pin(async move {
            let _under_way = shared.tasks.token();
            shared.open().map_err(unavailable)?;
            work(shared).await.map_err(unavailable)
        })
    }
}

fn unavailable(error: StoreError) -> AppendError {
    if let StoreError::Damaged(what) = error {
        tracing::error!(what, "the store is damaged");
    }
    AppendError::Unavailable
}

impl Store for JetStream {
    fn append(&self, draft: Draft) -> BoxFuture<'_, Result<Receipt<Appended>, AppendError>> {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let part = self.0.shared.log.names.part(draft.to);
        let line = lines.as_ref().and_then(|lines| lines.of(part));
        drop(lines);
        Box::pin(async move { line::line_up(line.ok_or(AppendError::Unavailable)?, draft).await })
    }

    fn read_inbox(&self, inbox: UserId, span: Span) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.read(self.0.shared.read_inbox(inbox, span))
    }

    fn inbox_head(&self, inbox: UserId) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        self.read(self.0.shared.inbox_head(inbox))
    }

    fn lapsed(&self) -> Cursor {
        Cursor(self.0.shared.log.names.lapsed())
    }

    fn mark_read(&self, reader: UserId, seen: Seen, origin: Option<ConnectionId>) -> Receipt<()> {
        self.change(move |shared| async move { shared.mark_read(reader, seen, origin).await })
    }

    fn history(
        &self,
        user: UserId,
        peer: Sender,
        stretch: Stretch,
        limit: usize,
    ) -> BoxFuture<'_, Result<Option<History>, StoreError>> {
        self.read(self.0.shared.log.history(user, peer, stretch, limit))
    }

    fn conversations(
        &self,
        user: UserId,
        after: Option<HistoryCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Conversations, StoreError>> {
        self.read(self.0.shared.log.conversations(user, after, limit))
    }

    fn typing(&self, from: UserId, to: UserId) {
        self.0.typing.tell(from, to);
    }

    fn profile(&self, user: UserId) -> BoxFuture<'_, Result<Arc<Profile>, StoreError>> {
        self.read(self.0.shared.profile(user.into()))
    }

    fn users(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<UserId>, StoreError>> {
        self.read(self.0.shared.log.users(after, limit))
    }

    fn set_profile(&self, user: UserId, claimed: ClaimedProfile) -> Receipt<()> {
        self.change(move |shared| async move { shared.set_profile(user, &claimed).await })
    }

    fn erase(&self, user: UserId) -> Receipt<Erased> {
        self.change(move |shared| async move {
            let erased = shared.log.erase(user).await?;
            shared.metrics.removed.inc_by(erased.messages);
            // What this node hears of it comes later.
            shared.profiles.forget();
            Ok(erased)
        })
    }

    fn revoke(&self, revocation: Revocation) -> Receipt<()> {
        self.change(move |shared| async move { shared.revoke(&revocation).await })
    }

    fn spreads_within(&self) -> Duration {
        SPREAD
    }

    fn enable(&self, user: UserId) -> Receipt<()> {
        self.change(move |shared| async move { shared.enable(user).await })
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        self.read(self.0.shared.log.revocations())
    }

    /// The streams are backed up where they lie: `nats account backup`.
    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>> {
        Box::pin(std::future::ready(Err(StoreError::Unavailable)))
    }

    fn export(&self, whose: Option<UserId>) -> BoxFuture<'_, Result<Export, StoreError>> {
        self.read(async move {
            let (export, giving) = self.0.shared.log.export(whose).await?;
            let over = self.0.over.clone();
            self.0.around.spawn(over.run_until_cancelled_owned(giving));
            Ok(export)
        })
    }

    fn health(&self) -> Health {
        self.0.shared.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            let inner = &self.0;
            let lines = inner.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
            lines.map(drop).ok_or(StoreError::Unavailable)?;
            inner.neighbours.leave().await;
            inner.shared.closing.cancel();
            // What is in line is written first.
            inner.shared.tasks.close();
            inner.shared.tasks.wait().await;
            inner.finish.cancel();
            inner.following.close();
            inner.following.wait().await;
            inner.over.cancel();
            inner.around.close();
            inner.around.wait().await;
            info!("store closed");
            Ok(())
        })
    }
}
