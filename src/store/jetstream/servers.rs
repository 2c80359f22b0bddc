//! What can be seen of the servers: a node is connected to one of them, and lives by what all
//! can do.

use std::time::Duration;

use async_nats::ServerInfo;
use futures_util::future::join_all;
use tokio::time::timeout;
use tracing::warn;

use super::connect::{self, Connection};
use super::refusal::OpenError;
use crate::config;

/// The oldest server with all that is needed: several writes in one go, with their names (2.12),
/// and without CVE-2026-27571, by which anybody who reaches it can take its memory.
const SERVER: [u16; 3] = [2, 12, 6];

/// Bytes beside content and timestamp in one message, at most: the chain above all.
const OVERHEAD: usize = 4096;

/// The largest read state: as many islands as an inbox can have unread messages.
const READ_STATE: usize = 512 * 1024;

/// How long one of them may take to let us in and say what it is. All are asked at once.
const LOOK: Duration = Duration::from_secs(3);

/// A server, as its address was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenServer {
    /// Its address in `store.jetstream.servers`.
    pub address: String,
    /// What is there, or why nobody could say.
    pub seen: Result<ServerFacts, String>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its name.
    pub name: String,
    /// Which nats-server it is.
    pub version: String,
    /// The largest message that it takes, in bytes.
    pub max_payload: usize,
}

/// Looks at each server by a short connection of its own.
pub(super) async fn see(config: &config::JetStream) -> Vec<SeenServer> {
    let looking = config.servers.iter().map(|address| async move {
        let facts = match timeout(LOOK, connect::glance(config, address)).await {
            Ok(Ok(info)) => Ok(info.into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("it does not answer within {} s", LOOK.as_secs())),
        };
        SeenServer { address: address.clone(), seen: facts }
    });
    join_all(looking).await
}

/// The same, and leaves what it found in `seen`.
///
/// # Errors
/// One of them can do too little. That one cannot be reached is only said.
pub(super) async fn look(
    config: &config::JetStream,
    seen: &mut Vec<SeenServer>,
) -> Result<(), OpenError> {
    *seen = see(config).await;
    for SeenServer { address, seen } in seen.iter() {
        match seen {
            Ok(facts) => facts.are_enough()?,
            Err(why) => warn!(server = address, why, "a NATS server was not looked at"),
        }
    }
    Ok(())
}

/// What can be seen of the server that we are connected to, and must be said of all.
pub(super) fn check(connection: &Connection, config: &config::Store) -> Result<(), OpenError> {
    ServerFacts::from(connection.client.server_info()).are_enough()?;
    is_synced(&config.jetstream)
}

/// Finds what a start would find wrong before it connects to anybody.
///
/// # Errors
/// [`OpenError::File`] names a file that cannot be used; [`OpenError::Setting`] says what only
/// the operator can know, and has not said.
pub fn check_config(config: &config::JetStream) -> Result<(), OpenError> {
    connect::options(config)?;
    is_synced(config)
}

fn is_synced(config: &config::JetStream) -> Result<(), OpenError> {
    if !config.synced {
        return Err(OpenError::Setting(
            "no client can see whether the servers write to the disk before they acknowledge: put \
             `sync_interval: always` into the `jetstream` block of every nats-server, see that \
             /varz of each says sync_always (docs/cluster.md), and then write \
             store.jetstream.synced = true here. Without it a power cut takes back what was \
             acknowledged"
                .to_owned(),
        ));
    }
    Ok(())
}

impl From<ServerInfo> for ServerFacts {
    fn from(info: ServerInfo) -> Self {
        Self { name: info.server_name, version: info.version, max_payload: info.max_payload }
    }
}

impl ServerFacts {
    fn are_enough(&self) -> Result<(), OpenError> {
        let Self { name, version, max_payload } = self;
        let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u16>());
        let numbers = [0; 3].map(|_: u16| numbers.next().and_then(Result::ok).unwrap_or_default());
        if numbers < SERVER {
            return Err(OpenError::Cluster(format!(
                "the server {name} is nats-server {version}, and 2.12.6 is needed (2.15 \
                 recommended): update it"
            )));
        }
        let needed = READ_STATE.max(crate::config::CONTENT_BYTES_MAX + OVERHEAD);
        if *max_payload < needed {
            return Err(OpenError::Cluster(format!(
                "the server {name} takes messages of {max_payload} bytes at the most \
                 (max_payload), and {needed} are needed: raise it on every server"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_new_enough_and_takes_enough() {
        for (version, max_payload, enough) in [
            ("2.12.6", 1 << 20, true),
            ("2.12.5", 1 << 20, false),
            ("2.15.1-beta.2", 512 << 10, true),
            ("3.0", 1 << 20, true),
            ("2.11.9", 1 << 20, false),
            ("", 1 << 20, false),
            ("2.15.1", 100 << 10, false),
        ] {
            let name = "nats-1".to_owned();
            let facts = ServerFacts { name, version: version.to_owned(), max_payload };
            assert_eq!(facts.are_enough().is_ok(), enough, "{facts:?}");
        }
    }
}
