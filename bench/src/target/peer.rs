//! Other products that carry messages: how they are started, and by what they are called.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How servers are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// imserver's own.
    Im,
    /// MQTT 5, QoS 1.
    Mqtt,
    /// NATS with JetStream.
    Nats,
    /// XMPP with stream management.
    Xmpp,
}

impl Protocol {
    /// What is asked for as the WebSocket's subprotocol.
    #[must_use]
    pub fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Im | Self::Nats => None,
            Self::Mqtt => Some("mqtt"),
            Self::Xmpp => Some("xmpp"),
        }
    }

    /// Where the WebSocket is asked for.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Im => "/teaching/imserver",
            Self::Mqtt => "/mqtt",
            Self::Nats => "/",
            Self::Xmpp => "/ws",
        }
    }
}

/// Another product that is measured beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// mosquitto, MQTT.
    Mosquitto,
    /// NATS with JetStream on files, synced now and then.
    Nats,
    /// The same, synced before every answer.
    NatsAlways,
    /// ejabberd with its archive in PostgreSQL.
    Ejabberd,
}

impl Peer {
    /// How it is spoken to.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Mosquitto => Protocol::Mqtt,
            Self::Nats | Self::NatsAlways => Protocol::Nats,
            Self::Ejabberd => Protocol::Xmpp,
        }
    }

    /// Its name and version.
    ///
    /// # Errors
    /// It is not installed; the error names the command that installs it.
    pub fn version(self, peers: &Path) -> Result<String> {
        let output = Command::new(self.script("serve", peers)?)
            .arg("--version")
            .output()
            .context("cannot run the peer's script")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The command that serves on `port` with all files in `root`, until SIGTERM; it ends
    /// with this program too.
    pub(super) fn serve(self, peers: &Path, root: &Path, port: u16) -> Result<Command> {
        self.version(peers)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(self.script("serve", peers)?);
        command.arg(root).arg(port.to_string());
        if self == Self::NatsAlways {
            command.arg("always");
        }
        // A group of its own, so that all of it can be ended.
        command.process_group(0);
        Ok(command)
    }

    /// Tells a server that keeps a list of its users that there are these.
    pub(super) fn add_users(self, peers: &Path, root: &Path, users: &[u64]) -> Result<()> {
        let lines: String = users.iter().map(|user| format!("{user}\n")).collect();
        let list = root.join("users");
        fs::write(&list, lines)?;
        let output = Command::new(self.script("users", peers)?)
            .arg(root)
            .stdin(Stdio::from(fs::File::open(&list)?))
            .output()
            .context("cannot run the peer's script")?;
        if !output.status.success() {
            bail!("no users were made: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn script(self, name: &str, peers: &Path) -> Result<PathBuf> {
        let directory = match self {
            Self::Mosquitto => "mosquitto",
            Self::Nats | Self::NatsAlways => "nats",
            Self::Ejabberd => "ejabberd",
        };
        let script = peers.join(directory).join(name);
        script.canonicalize().with_context(|| {
            format!(
                "{} is missing: run this where the project is, or name --peers",
                script.display()
            )
        })
    }
}
