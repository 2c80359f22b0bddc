//! What a measurement found.

mod cluster;
mod figures;
mod revoke;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::cluster::{Between, Cluster, Crowd, Own, Rush};
pub use self::figures::{Latency, median, mib, micros, micros_each, per_second, ratio};
pub use self::revoke::{Checks, Cut, Revoke};
use crate::ledger::Tally;

/// What `pairs` and `open` found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Traffic {
    /// Pairs of users.
    pub pairs: u16,
    /// Messages in flight a sender; none in the open loop.
    pub window: Option<u64>,
    /// Messages a second that were due; none in the closed loop.
    pub rate: Option<u64>,
    /// Bytes of content.
    pub bytes: u16,
    /// Seconds measured.
    pub seconds: f64,
    /// Acknowledged a second.
    pub acknowledged_per_s: f64,
    /// Delivered a second.
    pub delivered_per_s: f64,
    /// From sent (open loop: due) to success.
    pub to_success: Latency,
    /// From sent (open loop: due) to delivered.
    pub to_delivery: Latency,
    /// From due to sent: how late the generator was. None in the closed loop.
    pub generator_lateness: Option<Latency>,
    /// The server's CPU time, by acknowledged message; of all nodes where there are several.
    pub server_cpu_us: Option<f64>,
    /// The same of the servers that the nodes keep their messages in; none without nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_cpu_us: Option<f64>,
    /// The generator's CPU time, by acknowledged message.
    pub client_cpu_us: f64,
    /// The server's memory at the end of the measured time.
    pub server_rss_mib: Option<f64>,
    /// Every message of the run, warm-up and drain included.
    pub tally: Tally,
    /// Failures by code, and connections that broke by why.
    pub troubles: BTreeMap<String, u64>,
}

impl Traffic {
    /// Whether the server acknowledged clearly less than the open loop offered.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.rate.is_some_and(|rate| self.acknowledged_per_s < 0.95 * ratio(rate, 1))
    }
}

/// What `backlog` found: medians over the rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backlog {
    /// Messages waiting.
    pub messages: u64,
    /// Recipients asked.
    pub rounds: u16,
    /// From before the TCP connect until the WebSocket stands.
    pub upgrade_ms: f64,
    /// From before the TCP connect to the first message.
    pub first_ms: f64,
    /// From before the TCP connect to the last message.
    pub all_ms: f64,
    /// Every message of every round.
    pub tally: Tally,
    /// Failures by code, while the messages were stored.
    pub troubles: BTreeMap<String, u64>,
}

/// What `history` found of one conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conversation {
    /// Messages in it.
    pub messages: u64,
    /// From the request to the last byte of the newest page.
    pub newest: Latency,
    /// The same of pages further and further back, from the newest on.
    pub older: Latency,
    /// The server's CPU time, by page.
    pub server_cpu_us: Option<f64>,
}

/// What `history` found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    /// Messages a page.
    pub limit: u16,
    /// The long conversation and the short one.
    pub conversations: Vec<Conversation>,
    /// Every message that was stored for it.
    pub tally: Tally,
    /// Failures by code, while the messages were stored.
    pub troubles: BTreeMap<String, u64>,
}

/// What `idle` found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Idle {
    /// Connections held.
    pub connections: u64,
    /// The server's memory without them.
    pub before_mib: f64,
    /// The server's memory with them.
    pub after_mib: f64,
    /// The difference, by connection.
    pub kib_per_connection: f64,
}

/// What `start` found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// From the start of the process until it is ready, after a clean stop.
    pub clean_seconds: f64,
    /// Its memory then.
    pub after_clean_mib: f64,
    /// The same after it was killed.
    pub killed_seconds: f64,
    /// Its memory then.
    pub after_killed_mib: f64,
}

/// What `connect` found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connect {
    /// Connections made.
    pub count: u64,
    /// Made at the same time.
    pub parallel: u64,
    /// Made a second, which the generator limits too.
    pub per_s: f64,
    /// From before the TCP connect until the WebSocket stands.
    pub latency: Latency,
    /// The server's CPU time, by connection, its end included.
    pub server_cpu_ms: Option<f64>,
    /// The generator's CPU time, by connection.
    pub client_cpu_ms: f64,
}

/// What `fill` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fill {
    /// Seconds it took.
    pub seconds: f64,
    /// Acknowledged a second.
    pub acknowledged_per_s: f64,
    /// The server's CPU time, by message.
    pub server_cpu_us: Option<f64>,
    /// Bytes on disk by message, everything in the data directory counted.
    pub disk_bytes_per_message: Option<f64>,
    /// The server's memory at the end.
    pub server_rss_mib: Option<f64>,
    /// Every message.
    pub tally: Tally,
    /// Failures by code, and connections that broke by why.
    pub troubles: BTreeMap<String, u64>,
}

/// Any of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "measurement", rename_all = "lowercase")]
pub enum Report {
    /// Closed loop.
    Pairs(Traffic),
    /// Open loop.
    Open(Traffic),
    /// Messages waiting.
    Backlog(Backlog),
    /// Idle connections.
    Idle(Idle),
    /// A server that starts.
    Start(Start),
    /// New connections.
    Connect(Connect),
    /// New connections, with revocations in force and without.
    Checks(Checks),
    /// Tokens taken back under live connections.
    Revoke(Revoke),
    /// A data directory filled.
    Fill(Fill),
    /// Pages of conversations.
    History(History),
    /// Nodes on NATS servers.
    Cluster(Box<Cluster>),
}

impl Report {
    /// Whether the server kept its promises; slow is not broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let (tally, troubles) = match self {
            Self::Pairs(Traffic { tally, troubles, .. })
            | Self::Open(Traffic { tally, troubles, .. })
            | Self::Backlog(Backlog { tally, troubles, .. })
            | Self::Fill(Fill { tally, troubles, .. })
            | Self::History(History { tally, troubles, .. }) => (tally, troubles),
            Self::Cluster(cluster) => {
                let is_clean = |crowd: &Crowd| crowd.tally.is_clean() && crowd.troubles.is_empty();
                return cluster.crowd.as_ref().is_none_or(is_clean)
                    && cluster.parts().iter().all(Self::is_clean);
            }
            Self::Idle(_) | Self::Start(_) | Self::Connect(_) | Self::Checks(_) => return true,
            Self::Revoke(Revoke { token, refused, everybody, .. }) => {
                return *refused && token.is_clean() && everybody.is_clean();
            }
        };
        tally.is_clean() && tally.unanswered == 0 && troubles.is_empty()
    }
}
