//! What a measurement found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cli::Act;
use crate::ledger::Tally;

/// A distribution of latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half were faster.
    pub p50_ms: f64,
    /// One in a hundred was slower.
    pub p99_ms: f64,
    /// One in a thousand was slower.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Latency {
    /// Reads off a histogram in microseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |micros: u64| ratio(micros, 1000);
        Self {
            count: histogram.len(),
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            p999_ms: ms(histogram.value_at_quantile(0.999)),
            max_ms: ms(histogram.max()),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_ms, p99_ms, p999_ms, max_ms, .. } = self;
        write!(f, "p50 {p50_ms:.2}  p99 {p99_ms:.2}  p99.9 {p999_ms:.2}  max {max_ms:.2} ms")
    }
}

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

/// What `connect --revocations` found: sums over all rounds, by connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checks {
    /// Revocations in force.
    pub revocations: u64,
    /// Rounds, each with both servers.
    pub rounds: u16,
    /// Connections of a round, to each.
    pub count: u64,
    /// The server's CPU time by connection where nothing is revoked, a figure a round.
    pub without_ms: Vec<f64>,
    /// The same with the revocations in force.
    pub with_ms: Vec<f64>,
    /// By how many hundredths the second is more than the first, over all rounds.
    pub adds_percent: f64,
}

/// What an act of an administrator did to live connections. Times count from the start of
/// the command, its own start included.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cut {
    /// Connections that lived by what was taken back.
    pub concerned: u64,
    /// Those of them that were closed with 4403.
    pub closed: u64,
    /// When the first close was seen.
    pub first_ms: Option<f64>,
    /// When half of them were.
    pub median_ms: Option<f64>,
    /// When the last one was.
    pub last_ms: Option<f64>,
    /// When the command had ended.
    pub command_ms: f64,
    /// The server's CPU time until the last close.
    pub server_cpu_ms: f64,
    /// The generator's, which shares its cores.
    pub client_cpu_ms: f64,
    /// Other ends of connections, and ends of others.
    pub troubles: BTreeMap<String, u64>,
}

impl Cut {
    /// Whether all whom it concerned were closed as they should be, and nobody else.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.closed == self.concerned && self.troubles.is_empty()
    }
}

/// What `revoke` found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoke {
    /// What was taken back from all.
    pub by: Act,
    /// Connections that neither act concerned.
    pub beside: u64,
    /// One token, by its name.
    pub token: Cut,
    /// Coming back with that token was answered 401.
    pub refused: bool,
    /// Everybody's, by one act.
    pub everybody: Cut,
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
}

impl Cluster {
    /// The parts as reports of their own.
    fn parts(&self) -> Vec<Report> {
        let traffic = [&self.one, &self.narrow, &self.wide].into_iter().flatten();
        let mut parts: Vec<Report> =
            traffic.map(|between| Report::Pairs(between.nodes.clone())).collect();
        parts.extend(self.backlog.clone().map(Report::Backlog));
        parts.extend(self.history.clone().map(Report::History));
        parts
    }
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
            Self::Cluster(cluster) => return cluster.parts().iter().all(Self::is_clean),
            Self::Idle(_) | Self::Start(_) | Self::Connect(_) | Self::Checks(_) => return true,
            Self::Revoke(Revoke { token, refused, everybody, .. }) => {
                return *refused && token.is_clean() && everybody.is_clean();
            }
        };
        tally.is_clean() && tally.unanswered == 0 && troubles.is_empty()
    }
}

/// `part / whole` for counts.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts and bytes stay far below 2^53")]
pub fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Items a second.
#[must_use]
pub fn per_second(items: u64, time: Duration) -> f64 {
    ratio(items, 1) / time.as_secs_f64().max(1e-9)
}

/// Bytes as MiB.
#[must_use]
pub fn mib(bytes: u64) -> f64 {
    ratio(bytes, 1 << 20)
}

/// Time in microseconds.
#[must_use]
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Time by item, in microseconds.
#[must_use]
pub fn micros_each(time: Duration, items: u64) -> f64 {
    micros(time) / ratio(items, 1).max(1.0)
}

/// The median; the mean of the middle two where there are two.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().saturating_sub(1) / 2;
    let middle = values.get(lower).zip(values.get(upper));
    middle.map_or(f64::NAN, |(lower, upper)| f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_distribution_are_right() {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
        (1..=1000).for_each(|ms| histogram.record(ms * 1000).unwrap());
        let latency = Latency::of(&histogram);
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.002;
        assert_eq!(latency.count, 1000);
        assert!(near(latency.p50_ms, 500.0), "{latency}");
        assert!(near(latency.p99_ms, 990.0), "{latency}");
        assert!(near(latency.p999_ms, 999.0), "{latency}");
        assert!(near(latency.max_ms, 1000.0), "{latency}");
    }

    #[test]
    fn a_median_needs_no_odd_count() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }
}
