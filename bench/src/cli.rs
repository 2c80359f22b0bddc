//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::side::Side;
use crate::target::Peer;

/// Measures an imserver over wss, from outside.
///
/// Every measurement starts the server as a process of its own with a fresh
/// configuration, certificate and key set, unless --url names one that runs.
#[derive(Debug, Parser)]
#[command(name = "imserver-bench", version)]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub measurement: Measurement,
    /// What is measured.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Also writes the figures to this file, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The server to measure.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server's binary; it is started as `PATH serve --config FILE`.
    #[arg(long, global = true, value_name = "PATH", default_value = "target/release/imserver")]
    pub server: PathBuf,
    /// Measures the floor relay that is built beside this program instead.
    #[arg(long, global = true)]
    pub floor: bool,
    /// Measures another product instead, which has to be installed.
    #[arg(long, global = true, value_enum, conflicts_with_all = ["floor", "data"])]
    pub peer: Option<Peer>,
    /// Where the other products' configurations and start scripts are.
    #[arg(long, global = true, value_name = "DIR", default_value = "bench/peers")]
    pub peers: PathBuf,
    /// Measures a server that runs already: wss://host:port. Needs --keys and --ca.
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["floor", "data", "peer"])]
    pub url: Option<String>,
    /// With --url: the server's key set, with the secret of an HS256 key.
    #[arg(long, global = true, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// With --url: the certificate to trust, PEM.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// With --url: the server's process on this machine, for CPU and memory.
    #[arg(long, global = true)]
    pub pid: Option<u32>,
    /// Where the server keeps its messages; kept afterwards. Without it, a
    /// temporary directory.
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl ServerArgs {
    /// The program to start.
    ///
    /// # Errors
    /// This program does not know where it is itself.
    pub fn binary(&self) -> Result<PathBuf> {
        if self.floor {
            let me = std::env::current_exe()?;
            return Ok(me.parent().context("no directory")?.join("imserver-floor"));
        }
        Ok(self.server.clone())
    }
}

/// The measurements, one a subcommand.
#[derive(Debug, Subcommand)]
pub enum Measurement {
    /// Closed loop: each sender keeps so many messages in flight.
    Pairs(PairsArgs),
    /// Open loop: a fixed schedule, latencies from the scheduled time.
    Open(OpenArgs),
    /// One user connects with many messages waiting.
    Backlog(BacklogArgs),
    /// Memory of connections that do nothing.
    Idle(IdleArgs),
    /// CPU of a new connection: full handshake, token, upgrade.
    Connect(ConnectArgs),
    /// Live connections whose tokens are taken back: one of them, then all by one act.
    Revoke(RevokeArgs),
    /// Stores many messages through the wire, so that --data can be measured
    /// with other subcommands later.
    Fill(FillArgs),
    /// How long until the server is ready with what is in --data: after a clean stop, and
    /// after it was killed.
    Start,
    /// Pages of a long conversation over HTTPS, beside those of a short one.
    History(HistoryArgs),
    /// The whole table, one measurement after the other.
    All(AllArgs),
    /// The table of the server beside the floor and other products, by turns.
    Beside(BesideArgs),
    /// Two nodes on three NATS servers, beside what JetStream does by itself on the same.
    Cluster(ClusterArgs),
    /// What the plots are made of: latency by load, memory by connections, cost by store size.
    Curves(CurvesArgs),
    /// Makes the table and the plots of the documentation from what was measured.
    Publish(PublishArgs),
}

/// What every measurement with traffic has.
#[derive(Debug, Clone, Args)]
pub struct TrafficArgs {
    /// Pairs of users; each user has a connection of its own.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=8000))]
    pub pairs: u16,
    /// Bytes of content in each message, 32 at least.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(32..=16_000))]
    pub bytes: u16,
    /// Seconds measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds before that which count for nothing.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warmup: u64,
    /// Receivers mark messages read, up to 64 a frame.
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub mark_read: bool,
}

/// Arguments of `pairs`.
#[derive(Debug, Clone, Args)]
pub struct PairsArgs {
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Messages in flight a sender.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub window: u64,
    /// Further connections, which do nothing meanwhile.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=100_000))]
    pub idle: u64,
}

/// Arguments of `open`.
#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Messages a second, all pairs together.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
}

/// Arguments of `backlog`.
#[derive(Debug, Clone, Args)]
pub struct BacklogArgs {
    /// Messages waiting.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub messages: u64,
    /// Bytes of content in each message.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(32..=16_000))]
    pub bytes: u16,
    /// Recipients, one after the other; the medians are reported.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
}

/// Arguments of `idle`.
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// Connections, each of another user.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub connections: u64,
}

/// Arguments of `connect`.
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    /// Connections, each of another user.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub count: u64,
    /// Connections being made at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub parallel: u64,
    /// Measures a second server by turns, with so many revocations in force.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub revocations: Option<u64>,
    /// With --revocations: turns of each server.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=999), requires = "revocations")]
    pub rounds: u16,
}

/// What takes everybody's tokens back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// The key that signed them is retired; each connection is of another user.
    Key,
    /// All are of one user, whose tokens are revoked.
    User,
}

/// Arguments of `revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    /// Connections whose tokens are taken back.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    pub connections: u64,
    /// Connections of others, which must stay.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub beside: u64,
    /// What takes them back at once.
    #[arg(long, value_enum, default_value_t = Act::Key)]
    pub by: Act,
}

/// Arguments of `fill`.
#[derive(Debug, Clone, Args)]
pub struct FillArgs {
    /// Messages to store.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: u64,
    /// Pairs of users; the same users that the other subcommands have.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=8000))]
    pub pairs: u16,
    /// The first of them, where others are to be filled in too.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    pub first_user: u64,
    /// Bytes of content in each message.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(32..=16_000))]
    pub bytes: u16,
}

/// Arguments of `history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// Messages of the long conversation, half of them in each direction.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(200..))]
    pub messages: u64,
    /// Messages of the short one.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    pub beside: u64,
    /// Bytes of content in each message.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(32..=16_000))]
    pub bytes: u16,
    /// Messages a page.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub limit: u16,
    /// Pages asked for, of each kind.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    pub pages: u64,
}

/// Arguments of `all`.
#[derive(Debug, Clone, Args)]
pub struct AllArgs {
    /// Seconds measured, for each measurement with traffic.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds of warm-up before each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warmup: u64,
    /// Times the whole table is measured; medians are shown.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub rounds: u16,
}

/// Arguments that `beside` and `curves` have in common.
#[derive(Debug, Clone, Args)]
pub struct SidesArgs {
    /// Who is measured; everybody who is installed unless named.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub side: Vec<Side>,
    /// The file that the figures are added to.
    #[arg(long, value_name = "FILE", default_value = "target/beside.json")]
    pub into: PathBuf,
    /// Forgets first what the file has of those who are measured.
    #[arg(long)]
    pub afresh: bool,
}

/// Parts of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Closed loop with one message in flight.
    Narrow,
    /// Closed loop with sixteen in flight.
    Wide,
    /// Open loop.
    Open,
    /// Messages waiting.
    Backlog,
    /// Idle connections.
    Idle,
    /// New connections.
    Connect,
}

/// Arguments of `beside`.
#[derive(Debug, Clone, Args)]
pub struct BesideArgs {
    /// Who, and where to.
    #[command(flatten)]
    pub sides: SidesArgs,
    /// Only these parts of the table, for whoever has not half an hour at a time.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub part: Vec<Part>,
    /// Times that everybody has a turn at everything; medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub rounds: u16,
    /// Seconds measured, for each measurement with traffic.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds of warm-up before each.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warmup: u64,
}

/// Parts of what is measured of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClusterPart {
    /// One pair, one message in flight.
    One,
    /// All pairs, one in flight.
    Narrow,
    /// All pairs, sixteen in flight.
    Wide,
    /// Connecting with 200 messages waiting.
    Backlog,
    /// Pages of history.
    History,
    /// Idle connections, beside those of a server that keeps its messages itself.
    Idle,
    /// 600 users who come at once, half of them with a megabyte unread, beside one pair.
    Crowd,
}

/// Arguments of `cluster`.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub part: Vec<ClusterPart>,
    /// Pairs of users; of each, the sender is on one node and the recipient on the other.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=8000))]
    pub pairs: u16,
    /// Bytes of content in each message, 32 at least.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(32..=16_000))]
    pub bytes: u16,
    /// Seconds measured, for each measurement with traffic.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds of warm-up before each.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warmup: u64,
    /// The nodes' `store.jetstream.partitions`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub partitions: u16,
    /// The NATS server's program; that of `scripts/nats-server` unless named.
    #[arg(long, value_name = "PATH")]
    pub nats_server: Option<PathBuf>,
}

/// Arguments of `curves`.
#[derive(Debug, Clone, Args)]
pub struct CurvesArgs {
    /// Who, and where to.
    #[command(flatten)]
    pub sides: SidesArgs,
    /// Only these curves.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub curve: Vec<Curve>,
}

/// What a plot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// Time to success by messages offered a second.
    Load,
    /// Memory by connections.
    Memory,
    /// CPU a message by messages stored.
    Store,
}

/// Arguments of `publish`.
#[derive(Debug, Clone, Args)]
pub struct PublishArgs {
    /// What `beside` and `curves` wrote.
    #[arg(value_name = "FILE", default_value = "target/beside.json")]
    pub from: PathBuf,
    /// Writes the plots into this folder, and the table into its `performance.md`. Without
    /// it, the table is only printed.
    #[arg(long, value_name = "DIR")]
    pub docs: Option<PathBuf>,
}
