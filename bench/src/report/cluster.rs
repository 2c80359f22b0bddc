//! What nodes do, between two measurements of what JetStream does alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Backlog, History, Idle, Latency, Report, Traffic};
use crate::ledger::Tally;

/// What a plain client of JetStream found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Own {
    /// Messages in flight.
    pub in_flight: u64,
    /// Acknowledged a second.
    pub acknowledged_per_s: f64,
    /// From publishing to the stream's answer.
    pub to_success: Latency,
    /// CPU time of all NATS servers, by message.
    pub store_cpu_us: f64,
    /// The client's, by message.
    pub client_cpu_us: f64,
}

/// Nodes between two measurements of JetStream by itself: what it loses from the one to the
/// other, the machine lost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Between {
    /// JetStream right before.
    pub before: Own,
    /// Messages through the nodes.
    pub nodes: Traffic,
    /// JetStream right after.
    pub after: Own,
}

impl Between {
    /// What JetStream acknowledges a second: the mean of both.
    #[must_use]
    pub fn own_per_s(&self) -> f64 {
        f64::midpoint(self.before.acknowledged_per_s, self.after.acknowledged_per_s)
    }

    /// How long half of its answers take at the most, in milliseconds: the mean of both.
    #[must_use]
    pub fn own_p50_ms(&self) -> f64 {
        f64::midpoint(self.before.to_success.p50_ms, self.after.to_success.p50_ms)
    }
}

/// What `cluster` found, as far as it was asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// The NATS servers' version.
    pub nats: String,
    /// One pair with one message in flight.
    pub one: Option<Between>,
    /// All pairs with one in flight.
    pub narrow: Option<Between>,
    /// All pairs with sixteen in flight.
    pub wide: Option<Between>,
    /// Connecting with messages waiting.
    pub backlog: Option<Backlog>,
    /// Pages of history.
    pub history: Option<History>,
    /// Idle connections of a node.
    pub idle_node: Option<Idle>,
    /// Idle connections of a server that keeps its messages itself.
    pub idle_alone: Option<Idle>,
    /// Many users who come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crowd: Option<Crowd>,
}

/// What `crowd` found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Crowd {
    /// Users who came at once to one node.
    pub users: u64,
    /// Messages that every second one of them had unread.
    pub unread: u64,
    /// Bytes of content in each.
    pub bytes: u16,
    /// What happened each time.
    pub rounds: Vec<Rush>,
    /// Every message of every round, those of the pair that went on included.
    pub tally: Tally,
    /// Failures of that pair by code, and connections that broke by why.
    pub troubles: BTreeMap<String, u64>,
}

/// One time that all of them came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rush {
    /// Until the last one's WebSocket stood.
    pub connected_s: f64,
    /// Until the last one had everything.
    pub all_s: f64,
    /// How often somebody was turned away, and came again.
    pub again: u64,
    /// Users who had not got everything after a minute.
    pub missing: u64,
    /// Of one pair at the same node, with one message in flight.
    pub to_success: Latency,
    /// The same to its recipient.
    pub to_delivery: Latency,
    /// CPU time of all nodes.
    pub server_cpu_s: Option<f64>,
    /// CPU time of the NATS servers.
    pub store_cpu_s: Option<f64>,
}

impl Cluster {
    /// The parts as reports of their own.
    pub(super) fn parts(&self) -> Vec<Report> {
        let traffic = [&self.one, &self.narrow, &self.wide].into_iter().flatten();
        let mut parts: Vec<Report> =
            traffic.map(|between| Report::Pairs(between.nodes.clone())).collect();
        parts.extend(self.backlog.clone().map(Report::Backlog));
        parts.extend(self.history.clone().map(Report::History));
        parts
    }
}
