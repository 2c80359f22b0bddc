//! Who takes part in a comparison.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cli::ServerArgs;
use crate::target::Peer;

/// One of those who are measured beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The relay without a store.
    Floor,
    /// mosquitto.
    Mosquitto,
    /// NATS with JetStream.
    Nats,
    /// NATS with JetStream, synced before every answer.
    NatsAlways,
    /// ejabberd with its archive in PostgreSQL.
    Ejabberd,
    /// The server of this project.
    Imserver,
}

impl Side {
    /// Its name above a column.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Mosquitto => "mosquitto",
            Self::Nats => "NATS JetStream",
            Self::NatsAlways => "NATS, sync always",
            Self::Ejabberd => "ejabberd + PostgreSQL",
            Self::Imserver => "imserver",
        }
    }

    /// Where a message is when it has been acknowledged.
    #[must_use]
    pub fn acknowledged_means(self) -> &'static str {
        match self {
            Self::Floor | Self::NatsAlways | Self::Imserver => "on the disk, synced",
            Self::Mosquitto => "in memory",
            Self::Nats => "with the kernel, synced within 2 min",
            Self::Ejabberd => "in the sender's archive, committed and synced",
        }
    }

    /// Whether messages stay when they have been delivered.
    #[must_use]
    pub fn keeps(self) -> bool {
        !matches!(self, Self::Floor | Self::Mosquitto)
    }

    fn peer(self) -> Option<Peer> {
        match self {
            Self::Floor | Self::Imserver => None,
            Self::Mosquitto => Some(Peer::Mosquitto),
            Self::Nats => Some(Peer::Nats),
            Self::NatsAlways => Some(Peer::NatsAlways),
            Self::Ejabberd => Some(Peer::Ejabberd),
        }
    }

    /// How it is started, where `args` say where everything lies.
    #[must_use]
    pub fn server(self, args: &ServerArgs) -> ServerArgs {
        ServerArgs { floor: self == Self::Floor, peer: self.peer(), ..args.clone() }
    }

    /// Its name and version.
    ///
    /// # Errors
    /// It is not there; the error names the command that brings it.
    pub fn version(self, args: &ServerArgs) -> Result<String> {
        if let Some(peer) = self.peer() {
            return peer.version(&args.peers);
        }
        let program = self.server(args).binary()?;
        let output = Command::new(&program).arg("--version").output().with_context(|| {
            format!(
                "cannot run {}; build it with: cargo build --release --workspace",
                program.display()
            )
        })?;
        ensure!(output.status.success(), "{} --version failed", program.display());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
