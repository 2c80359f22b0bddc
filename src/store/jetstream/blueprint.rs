//! What the streams of a deployment look like: how they are made, and whether one is as it
//! was made.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, Republish, StorageType,
};

use super::copies;
use super::names::Names;
use super::owner;
use super::refusal::OpenError;
use super::windows;
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

/// The shortest window in which the servers know a write again, whatever is configured:
/// a write must survive the failover in which it is made again.
const WINDOW: Duration = Duration::from_secs(2 * 60);

/// The streams that deployments of earlier versions do not have.
pub(super) fn added(names: &Names) -> [String; 2] {
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
            // Nodes tell each other, of many at once.
            republish: None,
            ..made(names, config, names.messages(part), messages)
        });
        streams.push(Config {
            max_messages_per_subject: 1,
            allow_atomic_publish: true,
            republish: None,
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
    let mut made = Config {
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
    };
    owner::mark(&mut made, &config.deployment);
    made
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
    check_for_good(found, wanted)?;
    check_amendable(found, wanted)
}

/// Whether a stream is as it should be in what `imserver cluster create` changes.
pub(super) fn check_amendable(found: &Info, wanted: &Config) -> Result<(), OpenError> {
    copies::check(found, wanted)?;
    windows::check(found, wanted)
}

/// Whether it is in all else.
pub(super) fn check_for_good(found: &Info, wanted: &Config) -> Result<(), OpenError> {
    let name = &wanted.name;
    let has = |key: &str| found.config.metadata.get(key).map_or("none", String::as_str);
    let refuse = |why: String| Err(OpenError::Streams(format!("the stream {name} {why}")));
    owner::check(&found.config, wanted)?;
    let schema = has(SCHEMA_KEY);
    if schema == MOVING && !is_moving(wanted) {
        return refuse(
            "is still being moved into: a move into these streams was begun and has not come to \
             its end. Run `imserver migrate` again, which goes on where it was, until it says \
             that all pairs agree; or give it up with `imserver migrate --abandon`"
                .to_owned(),
        );
    }
    if !found.config.metadata.contains_key(SCHEMA_KEY) {
        return refuse(
            "is there already, and imserver has not made it: who else uses this account may need \
             it. Choose another store.jetstream.prefix, or give imserver an account of its own"
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
    let for_ever = [
        ("storage", is.storage != StorageType::File),
        // Takes in nothing.
        ("sealed", is.sealed),
        ("mirror", is.mirror.is_some()),
        // Counts instead of keeping.
        ("allow_msg_counter", is.allow_message_counter),
        // Is acknowledged before it is on the disk.
        ("persist_mode", is.persist_mode == Some(PersistenceMode::Async)),
        // What is erased or has gone by age could not be removed.
        ("deny_purge", is.deny_purge && !wanted.deny_purge),
    ];
    if let Some((what, _)) = for_ever.iter().find(|(_, differs)| *differs) {
        return refuse(format!(
            "has another {what} than imserver needs, and nobody can change that any more. \
             Restore a backup of how it was before (docs/runbook.md), or begin with another \
             store.jetstream.prefix"
        ));
    }
    let differs = [
        ("subjects", is.subjects != wanted.subjects),
        // Where nodes tell each other, what a stream of an earlier version says is heard twice.
        (
            "republish",
            wanted.republish.is_some()
                && is.republish.as_ref().map(|to| (&to.source, &to.destination))
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
        ("max_age", !is.max_age.is_zero()),
        ("max_msgs", is.max_messages > 0),
        ("max_bytes", is.max_bytes > 0),
        ("discard", is.discard != wanted.discard),
        ("retention", is.retention != wanted.retention),
        // Refuses what it should take.
        ("max_msg_size", is.max_message_size > 0),
        ("discard_new_per_subject", is.discard_new_per_subject),
        // Never says that it has.
        ("no_ack", is.no_ack),
        // Takes in what no node wrote, or under another name.
        ("sources", is.sources.as_ref().is_some_and(|sources| !sources.is_empty())),
        ("subject_transform", is.subject_transform.is_some()),
        ("subject_delete_marker_ttl", is.subject_delete_marker_ttl.is_some_and(|it| !it.is_zero())),
        ("deny_delete", wanted.deny_delete && !is.deny_delete),
    ];
    if let Some((what, _)) = differs.iter().find(|(_, differs)| *differs) {
        return refuse(format!(
            "has another {what} than imserver needs (see docs/cluster.md): set it right with \
             `nats stream edit {name}`"
        ));
    }
    Ok(())
}
