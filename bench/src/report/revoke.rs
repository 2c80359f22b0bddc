//! What revocations cost, and how fast they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cli::Act;

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
