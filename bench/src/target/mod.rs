//! The server under test: its files, its process, its address.

mod files;
mod peer;
mod process;
mod revocations;
mod site;
mod start;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

pub use self::peer::{Peer, Protocol};
pub use self::site::Site;

pub(crate) use self::files::{private_file, write_certificate};
pub(crate) use self::process::Process;
use crate::api::Api;
use crate::link::{Im, Link, Mqtt, Nats, Xmpp, make_inboxes};
use crate::meter::Meter;
use crate::token::Signer;
use crate::wire::Wire;

/// Buffer of a connection that carries traffic: one TLS record.
pub const BUSY: usize = 16 * 1024;
/// Buffer of a connection that only exists.
pub const IDLE: usize = 512;

/// The name of the key that can be retired: of a server of our own, which has another one.
pub const RETIRING: &str = "retiring";

/// A running server and all that is needed to connect to it.
#[derive(Debug)]
pub struct Target {
    address: SocketAddr,
    name: ServerName<'static>,
    path: String,
    tls: Arc<ClientConfig>,
    admission: Admission,
    meter: Option<Meter>,
    data: Option<PathBuf>,
    process: Option<Process>,
}

/// By what users are let in.
#[derive(Debug)]
enum Admission {
    /// imserver and the floor: by tokens, some of which a server of our own can take back.
    Tokens { signer: Box<Signer>, retiring: Option<Box<Signer>> },
    /// Another product: by one password.
    Password { password: String, peer: Peer, scripts: PathBuf },
}

/// A user, and what has to be made before the clock starts.
#[derive(Debug)]
pub struct Caller {
    user: u64,
    path: String,
}

impl Target {
    /// Tells the server that there are these users, where it must know that before
    /// messages for them are kept.
    ///
    /// # Errors
    /// It refuses.
    pub async fn introduce(&self, users: &[u64]) -> Result<()> {
        let Admission::Password { password, peer, scripts } = &self.admission else {
            return Ok(());
        };
        match peer.protocol() {
            Protocol::Im => {}
            Protocol::Mqtt => {
                for some in users.chunks(256) {
                    let some = some.iter().map(|user| self.connect(*user, IDLE));
                    let links = futures_util::future::try_join_all(some).await?;
                    futures_util::future::join_all(links.into_iter().map(Link::close)).await;
                }
            }
            Protocol::Nats => {
                let wire = self.wire(&self.path, BUSY).await?;
                make_inboxes(wire, password, users).await?;
            }
            Protocol::Xmpp => {
                let process = self.process.as_ref().context("no server of our own")?;
                peer.add_users(scripts, process.directory.path(), users)?;
            }
        }
        Ok(())
    }

    /// Connects `user`, with a buffer of `buffer` bytes for what comes in.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn connect(&self, user: u64, buffer: usize) -> Result<Link> {
        self.call(&self.caller(user), buffer).await
    }

    /// Gets ready to connect `user`: signs the token.
    #[must_use]
    pub fn caller(&self, user: u64) -> Caller {
        let path = match &self.admission {
            Admission::Tokens { signer, .. } => self.path_of(user, signer),
            Admission::Password { .. } => self.path.clone(),
        };
        Caller { user, path }
    }

    /// Connects a user until they could send and receive.
    ///
    /// # Errors
    /// As [`Wire::connect`], or the server does not let this user in.
    pub async fn call(&self, caller: &Caller, buffer: usize) -> Result<Link> {
        let Caller { user, path } = caller;
        let wire = self.wire(path, buffer).await?;
        match &self.admission {
            Admission::Tokens { .. } => Ok(Link::new(wire, Im::new(*user))),
            Admission::Password { password, peer, .. } => match peer.protocol() {
                Protocol::Im => Ok(Link::new(wire, Im::new(*user))),
                Protocol::Mqtt => Mqtt::greet(wire, *user, password).await,
                Protocol::Nats => Nats::greet(wire, *user, password).await,
                Protocol::Xmpp => Xmpp::greet(wire, *user, password).await,
            },
        }
    }

    /// Opens a WebSocket at a path made earlier, and says nothing on it.
    ///
    /// # Errors
    /// As [`Wire::connect`].
    pub async fn wire(&self, path: &str, buffer: usize) -> Result<Wire> {
        let subprotocol = match &self.admission {
            Admission::Tokens { .. } => None,
            Admission::Password { peer, .. } => peer.protocol().subprotocol(),
        };
        Wire::connect(self.address, self.name.clone(), &self.tls, path, subprotocol, buffer).await
    }

    /// The path of `user`'s WebSocket with a token.
    ///
    /// # Errors
    /// The server is another product, which knows no tokens.
    pub fn token_path_of(&self, user: u64) -> Result<String> {
        Ok(self.path_of(user, self.signer()?))
    }

    fn path_of(&self, user: u64, signer: &Signer) -> String {
        format!("{}/{}", self.path, signer.token(user, &format!("bench-of-{user}")))
    }

    fn signer(&self) -> Result<&Signer> {
        match &self.admission {
            Admission::Tokens { signer, .. } => Ok(signer),
            Admission::Password { .. } => bail!("only an imserver knows tokens: without --peer"),
        }
    }

    /// The same with a token by the name `jti`, signed by the key that can be retired.
    ///
    /// # Errors
    /// The server is none of our own.
    pub fn retiring_path_of(&self, user: u64, jti: &str) -> Result<String> {
        let Admission::Tokens { retiring: Some(signer), .. } = &self.admission else {
            bail!("revoking needs an imserver started here, without --floor, --peer and --url");
        };
        Ok(format!("{}/{}", self.path, signer.token(user, jti)))
    }

    /// Runs a command of the server's program on its configuration; gives when it ended.
    ///
    /// # Errors
    /// It failed, with what it said, or the server is none of our own.
    pub async fn command(&self, arguments: &[&str]) -> Result<Instant> {
        let process = self.process.as_ref().context("this needs a server that is started here")?;
        let mut command = Command::new(&process.program);
        command.args(arguments).arg("--config").arg(process.directory.path().join("config.toml"));
        output(command).await
    }

    /// Connects `user` to the HTTPS API.
    ///
    /// # Errors
    /// As [`Api::connect`].
    pub async fn api(&self, user: u64) -> Result<Api> {
        let token = self.signer()?.token(user, &format!("bench-of-{user}"));
        Api::connect(self.address, self.name.clone(), &self.tls, &token).await
    }

    /// The server's costs; none for a server elsewhere.
    #[must_use]
    pub fn meter(&self) -> Option<Meter> {
        self.meter
    }

    /// Where the server keeps its messages, if that is known.
    #[must_use]
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Asks the server to stop and waits for it, if it is ours.
    ///
    /// # Errors
    /// It did not stop in time (it is killed then), or failed while stopping.
    pub async fn stop(mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.stop().await,
            None => Ok(()),
        }
    }
}

/// Refuses a folder in memory.
pub(crate) fn refuse_memory(folder: &Path) -> Result<()> {
    let in_memory = statfs(folder)?.filesystem_type() == TMPFS_MAGIC;
    ensure!(!in_memory, "{} is in memory, where durable costs nothing", folder.display());
    Ok(())
}

/// Settings of the person's own server must not leak into one of ours.
fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("IMSERVER_") {
            command.env_remove(name);
        }
    }
}

/// Runs a command to its end beside everything else; gives when that was.
async fn output(mut command: Command) -> Result<Instant> {
    without_settings(&mut command);
    let running = move || {
        let output = command.output().context("cannot run the server's program")?;
        let ended = Instant::now();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
        Ok(ended)
    };
    tokio::task::spawn_blocking(running).await?
}
