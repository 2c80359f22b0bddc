//! The streams of a deployment: made once, on purpose, and looked at before every use.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, Republish, StorageType};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::connect::Connection;
use super::copies;
use super::migrate;
use super::names::Names;
use super::refusal::OpenError;
use crate::config;

/// The version of streams, subjects and what lies in them.
const SCHEMA: &str = "1";

/// What a stream's description in key and value says it belongs to.
const SCHEMA_KEY: &str = "imserver.schema";
const PARTITIONS_KEY: &str = "imserver.partitions";

/// The schema of streams into which a store is still being moved: nothing that serves may
/// take them for whole, and no other version either.
const MOVING: &str = "moving";

/// What was moved into a stream, where anything was.
pub(super) const MOVED_KEY: &str = "imserver.moved";

/// Where the ids of its messages jump.
pub(super) const JUMPS_KEY: &str = "imserver.jumps";

/// The oldest server with all that is needed: several writes in one go, with their names.
const SERVER: [u16; 2] = [2, 12];

/// How far the clocks of this machine and the servers may be apart: resend windows and the
/// order between partitions go by them.
const CLOCKS: Duration = Duration::from_secs(5);

/// Bytes beside content and timestamp in one message, at most: the chain above all.
const OVERHEAD: usize = 4096;

/// The largest read state: as many islands as an inbox can have unread messages.
const READ_STATE: usize = 512 * 1024;

/// The shortest window in which the servers know a write again, whatever is configured:
/// a write must survive the failover in which it is made again.
const WINDOW: Duration = Duration::from_secs(2 * 60);

/// How long servers are waited for that are choosing a leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries.
pub(super) const AGAIN: Duration = Duration::from_millis(200);

/// How JetStream says: not now.
pub(super) const BUSY: usize = 503;

/// "JetStream not enabled for account", which does not pass.
const NO_ACCOUNT: u64 = 10039;

/// "No suitable peers": also while those that have just started find each other.
const NO_PEERS: u64 = 10005;

/// What was done to the streams of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// The streams that were made.
    pub made: Vec<String>,
    /// Those that more servers keep now.
    pub raised: Vec<String>,
}

/// Looks at the servers and the streams, and makes those where `config` asks for it. Gives the
/// names as what was moved in asks for them.
pub(super) async fn prepare(
    connection: &Connection,
    names: &Names,
    config: &config::Store,
) -> Result<Names, OpenError> {
    let mut created = Created::default();
    let (names, few) = look(connection, names, config, &mut created).await?;
    few.map_or(Ok(names), Err)
}

/// The same, and has each stream kept by as many servers as `config` says.
pub(super) async fn complete(
    connection: &Connection,
    names: &Names,
    config: &config::Store,
    created: &mut Created,
) -> Result<(), OpenError> {
    let (names, few) = look(connection, names, config, created).await?;
    if few.is_some() {
        let streams = streams(&names, config);
        copies::raise(&connection.context, &streams, &mut created.raised).await?;
    }
    Ok(())
}

/// Looks at the servers and the streams, and makes those where that was asked for: the names,
/// and what is to be said where a stream is kept by too few servers.
async fn look(
    connection: &Connection,
    names: &Names,
    config: &config::Store,
    created: &mut Created,
) -> Result<(Names, Option<OpenError>), OpenError> {
    server(connection, config)?;
    let mut few = None;
    let mut missing = Vec::new();
    let mut found = 0;
    let mut names = names.clone();
    let added = added(&names);
    for wanted in streams(&names, config) {
        match stream(&connection.context, &wanted.name).await? {
            None => missing.push(wanted),
            Some(info) => {
                check_but_copies(&info, &wanted)?;
                few = few.or(copies::check(&info, &wanted).err());
                if wanted.name == names.messages(0) {
                    names = migrate::names(&names, &info.config.metadata)?;
                }
                found += 1;
            }
        }
    }
    clock(&connection.context, &names.revocations()).await?;
    if missing.is_empty() {
        return Ok((names, few));
    }
    let prefix = names.prefix();
    let first = missing.first().map_or("", |wanted| wanted.name.as_str());
    if !config.jetstream.create {
        if found > 0 && missing.iter().all(|wanted| added.contains(&wanted.name)) {
            let names: Vec<&str> = missing.iter().map(|wanted| wanted.name.as_str()).collect();
            return Err(OpenError::Streams(format!(
                "these streams are from before this version, which keeps more in streams than \
                 the one before: {} must be made. `imserver cluster create` does it, and \
                 nothing else",
                names.join(" and ")
            )));
        }
        let what = match found {
            0 => format!("there are no streams of imserver whose names begin with `{prefix}-`"),
            _ => format!("the stream {first} is not there, though others of imserver are"),
        };
        return Err(OpenError::Streams(format!(
            "{what}. If this is the right place and nothing was ever stored in it, `imserver cluster \
             create` makes them, once; otherwise look at store.jetstream.servers, credentials \
             and prefix"
        )));
    }
    for wanted in missing {
        let name = wanted.name.clone();
        make(&connection.context, wanted).await?;
        created.made.push(name);
    }
    // Where there was no stream before, nobody has said what time it is.
    clock(&connection.context, &names.revocations()).await?;
    Ok((names, few))
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
        None => Err(OpenError::Streams(format!(
            "the stream {name} is not there: `imserver cluster create` makes it; or look at \
             store.jetstream.servers, credentials and prefix"
        ))),
    }
}

/// Makes a stream. Asking again for the same one changes nothing.
pub(super) async fn make(context: &Context, wanted: Config) -> Result<(), OpenError> {
    let end = Instant::now() + PATIENCE;
    let (name, replicas) = (wanted.name.clone(), wanted.num_replicas);
    loop {
        let error = match context.create_stream(wanted.clone()).await {
            Ok(_) => {
                info!(stream = name, replicas, "stream made");
                return Ok(());
            }
            Err(error) => error,
        };
        let passes = match error.kind() {
            CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::JetStreamUnavailable => true,
            CreateStreamErrorKind::JetStream(cause) => {
                cause.code() == BUSY || cause.error_code().0 == NO_PEERS
            }
            _ => false,
        };
        if !passes || Instant::now() > end {
            return Err(OpenError::Cluster(format!("the stream {name} cannot be made: {error}")));
        }
        sleep(AGAIN).await;
    }
}

/// What can be seen of the server that we are connected to.
pub(super) fn server(connection: &Connection, config: &config::Store) -> Result<(), OpenError> {
    let server = connection.client.server_info();
    let mut version = server.version.split(['.', '-']).map(|part| part.parse::<u16>());
    let version = [0; 2].map(|_: u16| version.next().and_then(Result::ok).unwrap_or_default());
    if version < SERVER {
        return Err(OpenError::Cluster(format!(
            "the server {} is nats-server {}, and 2.12 is needed (2.15 recommended): update it",
            server.server_name, server.version
        )));
    }
    let needed = READ_STATE.max(crate::config::CONTENT_BYTES_MAX + OVERHEAD);
    if server.max_payload < needed {
        return Err(OpenError::Cluster(format!(
            "the server {} takes messages of {} bytes at the most (max_payload), and {needed} \
             are needed: raise it on every server",
            server.server_name, server.max_payload
        )));
    }
    if !config.jetstream.synced {
        return Err(OpenError::Cluster(
            "nobody but you can say whether the servers write to the disk before they \
             acknowledge: put `sync_interval: always` into the `jetstream` block of every \
             nats-server and then store.jetstream.synced = true here. Without it a power cut \
             takes back what was acknowledged"
                .to_owned(),
        ));
    }
    Ok(())
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

/// Marks a stream as one into which a store is being moved, or as whole.
pub(super) fn mark(stream: &mut Config, moving: bool) {
    let schema = if moving { MOVING } else { SCHEMA };
    stream.metadata.insert(SCHEMA_KEY.to_owned(), schema.to_owned());
}

/// Whether a store is still being moved into a stream.
pub(super) fn is_moving(found: &Config) -> bool {
    found.metadata.get(SCHEMA_KEY).is_some_and(|schema| schema == MOVING)
}

/// Whether a stream is the one that was made for this.
pub(super) fn check(found: &Info, wanted: &Config) -> Result<(), OpenError> {
    check_but_copies(found, wanted)?;
    copies::check(found, wanted)
}

fn check_but_copies(found: &Info, wanted: &Config) -> Result<(), OpenError> {
    let name = &wanted.name;
    let has = |key: &str| found.config.metadata.get(key).map_or("none", String::as_str);
    let refuse = |why: String| Err(OpenError::Streams(format!("the stream {name} {why}")));
    let schema = has(SCHEMA_KEY);
    if schema == MOVING && !is_moving(wanted) {
        return refuse(
            "is still being moved into: a move into these streams was begun and has not come to \
             its end. Run `imserver migrate` again, which goes on where it was, until it says \
             that all pairs agree; or give it up with `imserver migrate --abandon`"
                .to_owned(),
        );
    }
    if wanted.metadata.get(SCHEMA_KEY).map(String::as_str) != Some(schema) {
        return refuse(format!(
            "is none of this version of imserver: its {SCHEMA_KEY} is {schema}, not {SCHEMA}. \
             Choose another store.jetstream.prefix, or the version that made it"
        ));
    }
    let partitions = has(PARTITIONS_KEY);
    if Some(partitions) != wanted.metadata.get(PARTITIONS_KEY).map(String::as_str) {
        return refuse(format!(
            "was made for store.jetstream.partitions = {partitions}, which can never change: \
             write that"
        ));
    }
    let is = &found.config;
    let differs = [
        ("subjects", is.subjects != wanted.subjects),
        (
            "republish",
            is.republish.as_ref().map(|to| (&to.source, &to.destination))
                != wanted.republish.as_ref().map(|to| (&to.source, &to.destination)),
        ),
        // The servers say -1 where there is no bound.
        (
            "max_msgs_per_subject",
            is.max_messages_per_subject.max(0) != wanted.max_messages_per_subject,
        ),
        ("allow_direct", !is.allow_direct),
        ("allow_atomic", wanted.allow_atomic_publish && !is.allow_atomic_publish),
        ("allow_msg_ttl", wanted.allow_message_ttl && !is.allow_message_ttl),
        ("deny_purge", wanted.deny_purge && !is.deny_purge),
        ("storage", is.storage != StorageType::File),
        ("max_age", !is.max_age.is_zero()),
        ("max_msgs", is.max_messages > 0),
        ("max_bytes", is.max_bytes > 0),
        ("discard", is.discard != wanted.discard),
        ("retention", is.retention != wanted.retention),
        ("duplicate_window", is.duplicate_window < wanted.duplicate_window),
    ];
    if let Some((what, _)) = differs.iter().find(|(_, differs)| *differs) {
        return refuse(format!(
            "has another {what} than imserver needs (see docs/cluster.md): set it right with \
             `nats stream edit {name}`"
        ));
    }
    Ok(())
}

/// Compares the clock of a stream's leader with ours.
pub(super) async fn clock(context: &Context, name: &str) -> Result<(), OpenError> {
    #[derive(Deserialize)]
    struct Info {
        ts: Option<String>,
    }
    let subject = format!("STREAM.INFO.{name}");
    let Ok(Info { ts: Some(there) }) = context.request(subject, &json!({})).await else {
        return Ok(());
    };
    let Ok(there) = humantime::parse_rfc3339(&there) else { return Ok(()) };
    let here = SystemTime::now();
    let apart = here.duration_since(there).unwrap_or_else(|error| error.duration());
    if apart <= CLOCKS {
        return Ok(());
    }
    Err(OpenError::Cluster(format!(
        "the clock of this machine and that of the NATS servers are {} apart: set them by NTP",
        humantime::format_duration(Duration::from_secs(apart.as_secs()))
    )))
}

/// The streams that deployments of earlier versions do not have.
fn added(names: &Names) -> [String; 2] {
    [names.tickets(), names.audit()]
}

/// How the streams of a deployment are made.
pub(super) fn streams(names: &Names, config: &config::Store) -> Vec<Config> {
    let mut streams = Vec::new();
    for part in 0..names.partitions() {
        let window = config.dedup_window.max(config.resend_window).max(WINDOW);
        let messages = vec![names.all_messages(part)];
        streams.push(Config {
            duplicate_window: window,
            deny_delete: true,
            allow_atomic_publish: true,
            ..made(names, config, names.messages(part), messages)
        });
        streams.push(Config {
            max_messages_per_subject: 1,
            allow_atomic_publish: true,
            ..made(names, config, names.reads(part), vec![names.all_reads(part)])
        });
    }
    let known = vec![names.all_profiles(), names.all_erasures()];
    streams.push(Config {
        max_messages_per_subject: 1,
        ..made(names, config, names.profiles(), known)
    });
    streams.push(Config {
        max_messages_per_subject: 1,
        allow_message_ttl: true,
        ..made(names, config, names.revocations(), vec![names.all_revocations()])
    });
    streams.push(Config {
        max_messages_per_subject: 1,
        allow_message_ttl: true,
        // Who needs to know asks.
        republish: None,
        ..made(
            names,
            config,
            names.tickets(),
            vec![names.all_spent_tickets(), names.all_ticket_keys()],
        )
    });
    streams.push(Config {
        // What was written down stays so, whoever asks.
        deny_delete: true,
        deny_purge: true,
        republish: None,
        ..made(names, config, names.audit(), vec![names.all_audit()])
    });
    streams
}

fn made(names: &Names, config: &config::Store, name: String, subjects: Vec<String>) -> Config {
    let metadata = [
        (SCHEMA_KEY.to_owned(), SCHEMA.to_owned()),
        (PARTITIONS_KEY.to_owned(), names.partitions().to_string()),
    ];
    // The first of its subjects: what else lies in a stream is for nobody's ears.
    let source = subjects.first().cloned().unwrap_or_default();
    let republish = Republish { source, destination: names.live(&name), headers_only: false };
    Config {
        description: Some("imserver".to_owned()),
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: usize::from(config.jetstream.replicas),
        allow_direct: true,
        republish: Some(republish),
        metadata: metadata.into(),
        name,
        subjects,
        ..Config::default()
    }
}
