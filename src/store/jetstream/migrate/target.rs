//! The streams that a store is moved into: made for it, and marked until all of it is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, Info};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::super::blueprint::{self, JUMPS_KEY, MOVED_KEY};
use super::super::clocks;
use super::super::connect::{self, Connection};
use super::super::deployment;
use super::super::jumps::Jumps;
use super::super::log::Log;
use super::super::making;
use super::super::names::{Moved, Names};
use super::super::owner;
use super::super::reads::Reads;
use super::super::refusal::OpenError;
use super::super::replies::Replies;
use super::super::servers;
use super::MigrateError;
use super::plan::{Origin, Plan};
use super::seats;
use crate::config;
use crate::metrics::StoreMetrics;
use crate::store::StoreError;

/// How long one write may take before it is looked where the stream stands.
const ACK: Duration = Duration::from_secs(5);

/// Writes that are on their way at once over all streams, and those that were given up.
const IN_FLIGHT: usize = 32_768;

/// How long a stream's settings may take to be changed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(500);

/// Where it goes.
pub(super) struct Target {
    connection: Connection,
    names: Names,
    /// Sorts the answers of several messages for as long as they are wanted.
    _sorting: AbortOnDropHandle<()>,
    reads: Reads,
    /// For many writes at once.
    context: Context,
}

/// The streams that are wanted, and what is there of each.
type Streams = Vec<(Config, Option<Info>)>;

impl Target {
    /// Connects, and looks at the servers.
    pub(super) async fn connect(config: &config::Store) -> Result<Self, MigrateError> {
        let names = Names::new(&config.jetstream.prefix, config.jetstream.partitions);
        let metrics = StoreMetrics::unseen().cluster;
        let connection = connect::connect(&config.jetstream, metrics).await?;
        servers::check(&connection, config)?;
        servers::look(&config.jetstream, &mut Vec::new()).await?;
        let client = connection.client.clone();
        let replies = Replies::new(&client).await.map_err(|_| StoreError::Unavailable)?;
        let (replies, sorting): (Arc<Replies>, _) = replies;
        #[expect(clippy::disallowed_methods, reason = "it ends with the target")]
        let sorting = AbortOnDropHandle::new(tokio::spawn(sorting));
        let reads = Reads::new(client.clone(), connection.context.clone(), replies);
        let context = ContextBuilder::new()
            .timeout(ACK)
            .ack_timeout(ACK)
            .max_ack_inflight(IN_FLIGHT)
            .build(client);
        Ok(Self { connection, names, _sorting: sorting, reads, context })
    }

    pub(super) fn log(&self) -> Log {
        let context = self.connection.context.clone();
        Log {
            names: self.names.clone(),
            reads: self.reads.clone(),
            context,
            outcomes: Arc::default(),
        }
    }

    /// For many writes at once.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// None of them is another deployment's.
    async fn streams(&self, config: &config::Store) -> Result<Streams, OpenError> {
        let mut streams = Vec::new();
        for wanted in blueprint::streams(&self.names, config) {
            let found = deployment::stream(&self.connection.context, &wanted.name).await?;
            found.as_ref().map_or(Ok(()), |found| owner::check(&found.config, &wanted))?;
            streams.push((wanted, found));
        }
        Ok(streams)
    }

    /// Refuses streams that are in use, before the folder is read.
    pub(super) async fn may_be_moved_into(
        &self,
        config: &config::Store,
    ) -> Result<(), MigrateError> {
        let streams = self.streams(config).await?;
        let found: Vec<&Config> =
            streams.iter().filter_map(|(_, found)| found.as_ref()).map(|it| &it.config).collect();
        let is_moved = |stream: &Config| stream.metadata.contains_key(MOVED_KEY);
        let prefix = &config.jetstream.prefix;
        let messages = found.iter().find(|stream| stream.name == self.names.messages(0));
        if messages.is_some_and(|stream| is_moved(stream))
            && !found.iter().any(|stream| blueprint::is_moving(stream))
        {
            return Err(MigrateError::Occupied(format!(
                "the move into the streams of the prefix {prefix:?} has come to its end already: \
                 start the nodes. `imserver migrate --verify` compares both sides again"
            )));
        }
        match found.iter().find(|stream| !is_moved(stream)) {
            None => Ok(()),
            Some(own) => Err(MigrateError::Occupied(format!(
                "the stream {} is there already, and it was not made by a move: what is in it \
                 would be mixed with what is in the folder. Choose another \
                 store.jetstream.prefix, or remove the streams of {prefix:?} (`nats stream rm`) \
                 if nothing in them is wanted",
                own.name
            ))),
        }
    }

    /// Makes the streams that are not there yet, and looks at those that are.
    pub(super) async fn prepare(
        self,
        config: &config::Store,
        plan: &Plan,
    ) -> Result<Self, MigrateError> {
        let origin = plan.origin();
        let written = serde_json::to_string(&origin).unwrap_or_default();
        let jumps = self.jumps(plan);
        let written_jumps = jumps.write();
        let (last_id, lapsed) = (plan.last_id, plan.lapsed);
        let names = self.names.with(Moved { jumps, last_id, lapsed });
        let first = seats::first(&names, plan);
        let streams = self.streams(config).await?;
        let there = streams.iter().find(|(_, found)| found.is_some());
        let there = there.map(|(wanted, _)| wanted.name.as_str());
        let clocks = clocks::compare(&self.connection, there).await?;
        let missing = streams.iter().filter(|(_, found)| found.is_none());
        let missing: Vec<Config> = missing.map(|(wanted, _)| wanted.clone()).collect();
        making::may_be_made(&self.connection.context, &missing).await?;
        for (mut wanted, found) in streams {
            wanted.metadata.insert(MOVED_KEY.to_owned(), written.clone());
            if self.names.is_messages(&wanted.name) {
                wanted.first_sequence = Some(first).filter(|first| *first > 1);
                wanted.metadata.insert(JUMPS_KEY.to_owned(), written_jumps.clone());
            }
            blueprint::mark(&mut wanted, true);
            let Some(found) = found else {
                making::make(&self.connection.context, wanted).await?;
                continue;
            };
            // The last move may have been cut short while it marked them as whole.
            blueprint::mark(&mut wanted, blueprint::is_moving(&found.config));
            blueprint::check(&found, &wanted)?;
            if found.config.metadata.get(MOVED_KEY) != Some(&written) {
                let begun = found.config.metadata.get(MOVED_KEY).map_or("", String::as_str);
                return Err(MigrateError::Occupied(format!(
                    "the move into the stream {} was begun with another folder, or this one has \
                     changed since: then it was {begun}, now it is {written}. Name the other \
                     folder with --from, or give that move up with `imserver migrate --abandon`",
                    wanted.name
                )));
            }
        }
        clocks.or_by(&self.connection, &self.names.revocations()).await?;
        Ok(Self { names, ..self })
    }

    fn jumps(&self, plan: &Plan) -> Jumps {
        match self.names.partitions() {
            1 => plan.jumps.clone(),
            _ => Jumps::default(),
        }
    }

    /// Looks at streams that something was moved into, or is.
    pub(super) async fn find(self, config: &config::Store) -> Result<Self, MigrateError> {
        let mut names = self.names.clone();
        for (mut wanted, found) in self.streams(config).await? {
            let moved = found.as_ref().filter(|it| it.config.metadata.contains_key(MOVED_KEY));
            if moved.is_none() && names.is_messages(&wanted.name) {
                return Err(MigrateError::Occupied(format!(
                    "nothing was moved into the stream {}: `imserver migrate` does that",
                    wanted.name
                )));
            }
            let Some(found) = found else { continue };
            blueprint::mark(&mut wanted, blueprint::is_moving(&found.config));
            blueprint::check(&found, &wanted)?;
            if wanted.name == names.messages(0) {
                names = self::names(&names, &found.config.metadata)?;
            }
        }
        Ok(Self { names, ..self })
    }

    /// Marks the streams as whole: nodes may serve them.
    pub(super) async fn open(&self, config: &config::Store) -> Result<(), MigrateError> {
        for (wanted, found) in self.streams(config).await? {
            let moving = found.filter(|found| blueprint::is_moving(&found.config));
            let Some(mut stream) = moving.map(|found| found.config) else { continue };
            blueprint::mark(&mut stream, false);
            let end = Instant::now() + PATIENCE;
            while let Err(error) = self.connection.context.update_stream(&stream).await {
                if Instant::now() > end {
                    return Err(OpenError::Cluster(format!(
                        "the stream {} cannot be marked as whole: {error}",
                        wanted.name
                    ))
                    .into());
                }
                sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    /// Removes the streams, all of which must be those of a move.
    pub(super) async fn abandon(&self, config: &config::Store) -> Result<usize, MigrateError> {
        let streams = self.streams(config).await?;
        let found: Vec<&Config> =
            streams.iter().filter_map(|(_, found)| found.as_ref()).map(|it| &it.config).collect();
        let prefix = &config.jetstream.prefix;
        if !found.iter().any(|stream| blueprint::is_moving(stream)) {
            return Err(MigrateError::Occupied(format!(
                "no move into the streams of the prefix {prefix:?} is under way: nothing was \
                 removed"
            )));
        }
        if let Some(other) = found.iter().find(|it| !it.metadata.contains_key(MOVED_KEY)) {
            return Err(MigrateError::Occupied(format!(
                "the stream {} was not made by a move: nothing was removed",
                other.name
            )));
        }
        for stream in &found {
            self.connection.context.delete_stream(&stream.name).await.map_err(|error| {
                OpenError::Cluster(format!("the stream {} cannot be removed: {error}", stream.name))
            })?;
        }
        Ok(found.len())
    }
}

/// The names of a deployment, as the metadata of its first stream of messages ask for them.
///
/// # Errors
/// [`OpenError::Streams`] where they cannot be read.
pub(in super::super) fn names(
    names: &Names,
    metadata: &HashMap<String, String>,
) -> Result<Names, OpenError> {
    let garbled = |key: &str| {
        OpenError::Streams(format!(
            "the metadata {key} of the stream {} cannot be read: it was changed by hand, or by \
             another version of imserver",
            names.messages(0)
        ))
    };
    let Some(moved) = metadata.get(MOVED_KEY) else { return Ok(names.clone()) };
    let origin: Origin = serde_json::from_str(moved).map_err(|_| garbled(MOVED_KEY))?;
    let jumps = metadata.get(JUMPS_KEY).map_or("", String::as_str);
    let jumps = Jumps::read(jumps).ok_or_else(|| garbled(JUMPS_KEY))?;
    let Origin { last_id, lapsed, .. } = origin;
    Ok(names.with(Moved { jumps, last_id, lapsed }))
}
