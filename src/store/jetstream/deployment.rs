//! The streams of a deployment: made once, on purpose, and looked at before every use.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, Info};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::amend::amend;
use super::blueprint::{added, check, check_amendable, check_for_good, streams};
use super::clocks;
use super::connect::Connection;
use super::copies;
use super::making::{make, may_be_made};
use super::migrate;
use super::names::Names;
use super::owner;
use super::permissions;
use super::refusal::OpenError;
use super::servers;
use super::windows;
use crate::config;

/// How long servers are waited for that are choosing a leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries.
pub(super) const AGAIN: Duration = Duration::from_millis(200);

/// How JetStream says: not now.
pub(super) const BUSY: usize = 503;

/// "JetStream not enabled for account", which does not pass.
const NO_ACCOUNT: u64 = 10039;

/// What was done to the streams of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// The streams that were made.
    pub made: Vec<String>,
    /// Those that more servers keep now.
    pub raised: Vec<String>,
    /// Those that know a write again for longer now, and for how long.
    pub lengthened: Vec<(String, Duration)>,
    /// Those of which the nodes alone tell each other now, and the servers did before.
    pub quieted: Vec<String>,
    /// Those that say now whose they are.
    pub claimed: Vec<String>,
    /// Whether there are some that do not.
    pub is_open: bool,
}

/// The streams of a deployment, as they were found.
struct Looked {
    names: Names,
    /// What is to be said where a stream is kept by too few servers, or knows a write again for too
    /// short a time.
    less: Option<OpenError>,
    /// Those that do not say whose they are: how they are, and how they would be made.
    open: Vec<(Info, Config)>,
}

/// Looks at the servers and the streams, and makes those where `config` asks for it. Gives the
/// names as what was moved in asks for them.
pub(super) async fn prepare(
    connection: &Connection,
    names: &Names,
    config: &config::Store,
) -> Result<Names, OpenError> {
    let mut created = Created::default();
    let looking = look(connection, names, config, false, &mut created);
    let looked = permissions::heeding(connection, names.prefix(), looking).await?;
    looked.less.map_or(Ok(looked.names), Err)
}

/// The same, and has each stream kept by as many servers as `config` says, know a write again for as
/// long, and told of as this version does it. Where `claim` says so, those that do not say whose they are do it from then
/// on.
pub(super) async fn complete(
    connection: &Connection,
    names: &Names,
    config: &config::Store,
    claim: bool,
    created: &mut Created,
) -> Result<(), OpenError> {
    let looking = look(connection, names, config, claim, created);
    let looked = permissions::heeding(connection, names.prefix(), looking).await?;
    let Looked { names, less, open } = looked;
    created.is_open = !claim && !open.is_empty();
    for (found, wanted) in open.iter().filter(|_| claim) {
        owner::claim(&connection.context, found, wanted).await?;
        created.claimed.push(wanted.name.clone());
    }
    if less.is_some() {
        let streams = streams(&names, config);
        windows::lengthen(&connection.context, &streams, &mut created.lengthened).await?;
        copies::raise(&connection.context, &streams, &mut created.raised).await?;
    }
    for wanted in streams(&names, config).iter().filter(|wanted| wanted.republish.is_none()) {
        quiet(&connection.context, &wanted.name, &mut created.quieted).await?;
    }
    Ok(())
}

/// Has a stream of an earlier version no longer told of by the servers.
async fn quiet(context: &Context, name: &str, quieted: &mut Vec<String>) -> Result<(), OpenError> {
    let found = stream(context, name).await?;
    if found.is_none_or(|found| found.config.republish.is_none()) {
        return Ok(());
    }
    amend(context, name, &("republish", Value::Null)).await.map_err(|why| {
        OpenError::Cluster(format!("the stream {name} cannot be made to republish nothing: {why}"))
    })?;
    info!(stream = name, "stream told of by the nodes alone");
    quieted.push(name.to_owned());
    Ok(())
}

/// Looks at the servers and the streams, and makes those where that was asked for. What is
/// made leaves open whose it is where others do, unless these are claimed.
async fn look(
    connection: &Connection,
    names: &Names,
    config: &config::Store,
    claim: bool,
    created: &mut Created,
) -> Result<Looked, OpenError> {
    servers::check(connection, config)?;
    let mut less = None;
    let (mut missing, mut open) = (Vec::new(), Vec::new());
    let mut found: Vec<String> = Vec::new();
    let mut names = names.clone();
    let added = added(&names);
    let mut used = None;
    for wanted in streams(&names, config) {
        match stream(&connection.context, &wanted.name).await? {
            None => missing.push(wanted),
            Some(info) => {
                check_for_good(&info, &wanted)?;
                less = less.or(check_amendable(&info, &wanted).err());
                if wanted.name == names.messages(0) {
                    names = migrate::names(&names, &info.config.metadata)?;
                }
                found.push(wanted.name.clone());
                if info.state.last_sequence > 0 && !added.contains(&wanted.name) {
                    used = Some(wanted.name.clone());
                }
                if owner::is_open(&info.config) {
                    open.push((info, wanted));
                }
            }
        }
    }
    let is_missing = |name: &str| missing.iter().any(|wanted| wanted.name == name);
    permissions::look(connection, &names, &streams(&names, config), is_missing).await?;
    let clocks = clocks::compare(connection, found.last().map(String::as_str)).await?;
    if missing.is_empty() {
        return Ok(Looked { names, less, open });
    }
    let prefix = names.prefix();
    let first = missing.first().map_or("", |wanted| wanted.name.as_str());
    let lost = missing.iter().find(|wanted| !added.contains(&wanted.name));
    if let (Some(lost), Some(used)) = (lost, used) {
        return Err(OpenError::Streams(format!(
            "the stream {} is not there, and was: something was stored in {used}. Made anew it would be \
             empty, and give ids once more that clients know. Restore it from a backup \
             (docs/runbook.md); to begin with nothing, remove all streams of {prefix:?} first",
            lost.name
        )));
    }
    if !config.jetstream.create {
        if !found.is_empty() && missing.iter().all(|wanted| added.contains(&wanted.name)) {
            let names: Vec<&str> = missing.iter().map(|wanted| wanted.name.as_str()).collect();
            return Err(OpenError::Streams(format!(
                "these streams are from before this version, which keeps more in streams than \
                 the one before: {} must be made. `imserver cluster create` does it, and \
                 nothing else",
                names.join(" and ")
            )));
        }
        let what = match found.len() {
            0 => format!("there are no streams of imserver whose names begin with `{prefix}-`"),
            _ => format!("the stream {first} is not there, though others of imserver are"),
        };
        return Err(OpenError::Streams(format!(
            "{what}. If this is the right place and nothing was ever stored in it, `imserver cluster \
             create` makes them, once; otherwise look at store.jetstream.servers, credentials \
             and prefix"
        )));
    }
    may_be_made(&connection.context, &missing).await?;
    for mut wanted in missing {
        let name = wanted.name.clone();
        if !open.is_empty() && !claim {
            owner::leave_open(&mut wanted);
        }
        make(&connection.context, wanted).await?;
        created.made.push(name);
    }
    clocks.or_by(connection, &names.revocations()).await?;
    Ok(Looked { names, less, open })
}

/// Looks at one stream, for who needs no other.
pub(super) async fn find(
    context: &Context,
    names: &Names,
    config: &config::Store,
    name: &str,
) -> Result<(), OpenError> {
    let found = stream(context, name).await?;
    let wanted = streams(names, config).into_iter().find(|wanted| wanted.name == name);
    match found.zip(wanted) {
        Some((found, wanted)) => check(&found, &wanted),
        None => Err(is_missing(name)),
    }
}

/// Why a stream is not there, which others may be.
pub(super) fn is_missing(name: &str) -> OpenError {
    OpenError::Streams(format!(
        "the stream {name} is not there: `imserver cluster create` makes it; or look at \
         store.jetstream.servers, credentials and prefix"
    ))
}

/// A stream, where there is one.
pub(super) async fn stream(context: &Context, name: &str) -> Result<Option<Info>, OpenError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let error = match context.get_stream(name).await {
            Ok(stream) => return Ok(Some(stream.cached_info().clone())),
            Err(error) => error,
        };
        let passes = match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.code() == 404 => return Ok(None),
            GetStreamErrorKind::JetStream(cause) if cause.error_code().0 == NO_ACCOUNT => false,
            GetStreamErrorKind::JetStream(cause) => cause.code() == BUSY,
            GetStreamErrorKind::Request => true,
            _ => false,
        };
        if !passes || Instant::now() > end {
            return Err(OpenError::Cluster(format!(
                "the servers cannot say whether there is a stream {name}: {error}. JetStream \
                 must be on, on a majority of them, and the user allowed to use it"
            )));
        }
        sleep(AGAIN).await;
    }
}
