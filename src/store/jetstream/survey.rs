//! The streams of a deployment from outside: made, looked at, and told of.

use std::time::Duration;

use async_nats::jetstream::stream::Info;

use super::connect::Connection;
use super::deployment::Created;
use super::extent::UNHEARD;
use super::names::Names;
use super::refusal::OpenError;
use super::servers::SeenServer;
use super::{blueprint, connect, deployment, servers};
use crate::config;
use crate::metrics::StoreMetrics;

/// How a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name.
    pub stream: String,
    /// The server that leads it; none while there is none.
    pub leader: Option<String>,
    /// The other servers that keep it.
    pub replicas: Vec<Replica>,
    /// How many servers should keep it, the leader among them.
    pub wanted: usize,
    /// How many entries are in it.
    pub entries: u64,
    /// What they take on the disk of each server.
    pub bytes: u64,
}

/// A server that keeps a stream and does not lead it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name.
    pub server: String,
    /// Whether it has all that it should.
    pub current: bool,
    /// Whether the others do not hear of it.
    pub offline: bool,
    /// By how many writes it is behind.
    pub lag: u64,
    /// For how long the leader has not heard of it; zero: never since it leads. They speak every
    /// second, and it is only after ten that nats-server calls it behind, and after minutes away.
    pub unheard: Duration,
}

impl Replica {
    /// Whether the leader would have heard of it if it ran.
    pub fn is_silent(&self) -> bool {
        self.unheard >= UNHEARD
    }

    /// Whether it is there, with all that it should have.
    pub fn is_whole(&self) -> bool {
        self.current && !self.offline && !self.is_silent()
    }
}

impl Surveyed {
    /// Whether any one server of it can be lost: it is led, and kept by as many as it should.
    pub fn is_whole(&self) -> bool {
        let others = self.replicas.iter().filter(|it| it.is_whole()).count();
        self.leader.is_some() && others + 1 >= self.wanted
    }
}

/// Makes the streams of a deployment that are not there, and has each kept by as many servers as
/// `config` says, one after the other, and know a write again for as long; nodes go on meanwhile.
/// Those of earlier versions, which do not say whose they are, are written that they are this
/// deployment's where `claim` says so. What was done is added to `created`.
///
/// # Errors
/// Says what is in the way and what to do. What was done before stays, and asked again it goes
/// on from there.
pub async fn create(
    config: &config::Store,
    claim: bool,
    created: &mut Created,
) -> Result<(), OpenError> {
    let mut asked = config.clone();
    asked.jetstream.create = true;
    let (connection, names) = connected(&asked).await?;
    servers::look(&asked.jetstream, &mut Vec::new()).await?;
    deployment::complete(&connection, &names, &asked, claim, created).await
}

/// Looks whether a node could serve, as its start does. Changes nothing. Which servers there are is
/// left in `seen`, also where it could not.
///
/// # Errors
/// Says why not.
pub async fn check(config: &config::Store, seen: &mut Vec<SeenServer>) -> Result<(), OpenError> {
    let mut asked = config.clone();
    asked.jetstream.create = false;
    let (connection, names) = connected(&asked).await?;
    servers::look(&asked.jetstream, seen).await?;
    deployment::prepare(&connection, &names, &asked).await.map(drop)
}

async fn connected(config: &config::Store) -> Result<(Connection, Names), OpenError> {
    let metrics = StoreMetrics::unseen().cluster;
    let names = Names::new(&config.jetstream.prefix, config.jetstream.partitions);
    let connection = connect::connect(&config.jetstream, metrics).await?;
    Ok((connection, names))
}

/// Tells how every stream is, in the order in which they are made. Which servers there are is left
/// in `seen`, also where nobody can say how the streams are: of one that was killed the others
/// know only by and by.
///
/// # Errors
/// Says which stream is not there, or why nobody answers.
pub async fn survey(
    config: &config::Store,
    seen: &mut Vec<SeenServer>,
) -> Result<Vec<Surveyed>, OpenError> {
    let (connection, names) = connected(config).await?;
    *seen = servers::see(&config.jetstream).await;
    let mut found = Vec::new();
    for wanted in blueprint::streams(&names, config) {
        let info = deployment::stream(&connection.context, &wanted.name).await?;
        let info = info.ok_or_else(|| deployment::is_missing(&wanted.name))?;
        found.push(told(info, wanted.num_replicas));
    }
    Ok(found)
}

/// How a stream is that `configured` servers should keep, or more.
pub(super) fn told(info: Info, configured: usize) -> Surveyed {
    let cluster = info.cluster.unwrap_or_default();
    let replica = |it: async_nats::jetstream::stream::PeerInfo| Replica {
        server: it.name,
        current: it.current,
        offline: it.offline,
        lag: it.lag.unwrap_or_default(),
        unheard: it.active,
    };
    Surveyed {
        stream: info.config.name,
        leader: cluster.leader.filter(|name| !name.is_empty()),
        replicas: cluster.replicas.into_iter().map(replica).collect(),
        wanted: configured.max(info.config.num_replicas),
        entries: info.state.messages,
        bytes: info.state.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(current: bool, offline: bool) -> Replica {
        let (server, unheard) = ("nats-2".to_owned(), Duration::from_millis(900));
        Replica { server, current, offline, lag: 0, unheard }
    }

    #[test]
    fn a_stream_is_whole_while_any_one_of_its_servers_can_be_lost() {
        let whole = Surveyed {
            stream: "im-msg-0".to_owned(),
            leader: Some("nats-1".to_owned()),
            replicas: vec![replica(true, false), replica(true, false)],
            wanted: 3,
            entries: 0,
            bytes: 0,
        };
        assert!(whole.is_whole());
        // What the others still call current, of a server that was killed just now.
        let silent = Replica { unheard: Duration::from_secs(5), ..replica(true, false) };
        for bad in [replica(false, false), replica(true, true), silent] {
            let replicas = vec![replica(true, false), bad];
            assert!(!Surveyed { replicas, ..whole.clone() }.is_whole());
        }
        assert!(!Surveyed { leader: None, ..whole.clone() }.is_whole());
        assert!(!Surveyed { replicas: vec![replica(true, false)], ..whole.clone() }.is_whole());
        // One server alone, as for a trial, is as whole as it can be.
        assert!(Surveyed { replicas: Vec::new(), wanted: 1, ..whole }.is_whole());
    }
}
