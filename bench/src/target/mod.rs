//! The server under test: its files, its process, its address.

mod files;
mod peer;
mod process;
mod revocations;
mod site;

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use self::peer::{Peer, Protocol};
pub use self::site::Site;

use self::files::{configuration, two_free_addresses};
pub(crate) use self::files::{private_file, write_certificate};
pub(crate) use self::process::Process;
use crate::api::Api;
use crate::cli::ServerArgs;
use crate::link::{Im, Link, Mqtt, Nats, Xmpp, make_inboxes};
use crate::meter::Meter;
use crate::token::{Signer, random_key_set, random_secret};
use crate::wire::Wire;

/// Opening a store of some millions of messages takes seconds, not minutes.
const START_TIMEOUT: Duration = Duration::from_secs(60);
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
    /// Starts the server that the command line names, or finds the running one.
    ///
    /// # Errors
    /// It did not start, or cannot be reached; the end of its log is included.
    pub async fn start(args: &ServerArgs) -> Result<Self> {
        Self::start_revoked(args, 0).await
    }

    /// Starts it with so many revocations in force, none of which covers any token here.
    ///
    /// # Errors
    /// As [`start`](Self::start), and only a server of our own with a fresh store can have them.
    pub async fn start_revoked(args: &ServerArgs, revocations: u64) -> Result<Self> {
        let elsewhere =
            args.floor || args.peer.is_some() || args.url.is_some() || args.data.is_some();
        ensure!(
            revocations == 0 || !elsewhere,
            "revocations come into a fresh store: without --floor, --peer, --url and --data"
        );
        let mut target = match &args.url {
            Some(url) => Self::running(url, args)?,
            None => Self::own(args, revocations, "")?,
        };
        target.wait_until_ready().await?;
        Ok(target)
    }

    /// Starts an imserver whose section `[store]` has these lines too: a node that keeps its
    /// messages elsewhere.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_node(args: &ServerArgs, store: &str) -> Result<Self> {
        let elsewhere = args.floor || args.peer.is_some() || args.url.is_some();
        ensure!(!elsewhere, "nodes are imservers started here: without --floor, --peer and --url");
        // Each has a folder of its own.
        let mut target = Self::own(&ServerArgs { data: None, ..args.clone() }, 0, store)?;
        target.wait_until_ready().await?;
        Ok(target)
    }

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

    fn running(url: &str, args: &ServerArgs) -> Result<Self> {
        let rest = url.strip_prefix("wss://").context("--url must start with wss://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "teaching/imserver"));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().context("the port in --url")?),
            None => (authority, 443),
        };
        let mut addresses = (host, port).to_socket_addrs().context("cannot resolve --url")?;
        let keys = args.keys.as_deref().context("--url needs --keys")?;
        let ca = args.ca.as_deref().context("--url needs --ca")?;
        Ok(Self {
            address: addresses.next().context("--url resolves to no address")?,
            name: ServerName::try_from(host.to_owned()).context("the host in --url")?,
            path: format!("/{}", path.trim_end_matches('/')),
            tls: trusting(&CertificateDer::from_pem_file(ca).context("cannot read --ca")?)?,
            admission: Admission::Tokens {
                signer: Box::new(Signer::from_key_set(keys, None)?),
                retiring: None,
            },
            meter: args.pid.map(Meter::of),
            data: None,
            process: None,
        })
    }

    fn own(args: &ServerArgs, revocations: u64, store: &str) -> Result<Self> {
        let directory = TempDir::with_prefix("imserver-bench-")?;
        let root = directory.path();
        let data = args.data.clone().unwrap_or_else(|| root.join("data"));
        // The server takes no directory that others may read.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&data)?;
        let data = data.canonicalize()?;
        refuse_memory(&data).context("use --data")?;
        let certificate = write_certificate(root)?;
        let (listen, admin) = two_free_addresses()?;
        let (command, admission) = match args.peer {
            Some(peer) => peer_command(args, peer, root, listen)?,
            None => own_command(args, root, [listen, admin], (&data, store), revocations)?,
        };
        let path = match args.peer {
            Some(peer) => peer.protocol().path(),
            None => Protocol::Im.path(),
        };
        let process = Process::start(command, args.peer.is_some(), directory)?;
        Ok(Self {
            address: listen,
            name: ServerName::try_from("localhost")?,
            path: path.to_owned(),
            tls: trusting(&certificate)?,
            admission,
            meter: Some(match args.peer {
                Some(_) => Meter::of_family(process.id()),
                None => Meter::of(process.id()),
            }),
            data: Some(data),
            process: Some(process),
        })
    }

    /// Ready is a server that completes a TLS handshake.
    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let attempt = async {
                let tcp = TcpStream::connect(self.address).await?;
                TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), tcp).await
            };
            let refused = match tokio::time::timeout(START_TIMEOUT, attempt).await? {
                Ok(_) => return Ok(()),
                Err(refused) => refused,
            };
            if let Some(process) = &mut self.process
                && let Some(status) = process.ended()?
            {
                bail!("the server ended with {status}:\n{}", process.last_words());
            }
            ensure!(Instant::now() < deadline, "the server is not ready: {refused}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Refuses a folder in memory.
pub(crate) fn refuse_memory(folder: &Path) -> Result<()> {
    let in_memory = statfs(folder)?.filesystem_type() == TMPFS_MAGIC;
    ensure!(!in_memory, "{} is in memory, where durable costs nothing", folder.display());
    Ok(())
}

/// An imserver or the floor.
fn own_command(
    args: &ServerArgs,
    root: &Path,
    addresses: [SocketAddr; 2],
    (data, store): (&Path, &str),
    revocations: u64,
) -> Result<(Command, Admission)> {
    private_file(&root.join("keys.json"), &random_key_set(&[RETIRING, "bench"])?)?;
    let program = args.binary()?;
    let mut command = Command::new(&program);
    if args.floor {
        command.arg("--listen").arg(addresses[0].to_string());
        command.arg("--cert").arg(root.join("server.pem"));
        command.arg("--key").arg(root.join("server.key"));
        command.arg("--journal").arg(data.join("journal"));
    } else {
        fs::write(root.join("config.toml"), configuration(addresses, data, store))?;
        if revocations > 0 {
            import(&program, root, revocations)?;
        }
        command.arg("serve").arg("--config").arg(root.join("config.toml"));
    }
    if !store.is_empty() {
        // Two nodes and the servers share the two cores: a node has no use for a thread on each.
        command.env("TOKIO_WORKER_THREADS", "1");
    }
    without_settings(&mut command);
    let signer = |kid| Signer::from_key_set(&root.join("keys.json"), kid).map(Box::new);
    // The relay knows no keys, and none of them can be retired.
    let retiring = (!args.floor).then(|| signer(Some(RETIRING))).transpose()?;
    Ok((command, Admission::Tokens { signer: signer(None)?, retiring }))
}

/// Another product, with a password made for it.
fn peer_command(
    args: &ServerArgs,
    peer: Peer,
    root: &Path,
    listen: SocketAddr,
) -> Result<(Command, Admission)> {
    let password = random_secret()?;
    private_file(&root.join("password"), &password)?;
    let command = peer.serve(&args.peers, root, listen.port())?;
    Ok((command, Admission::Password { password, peer, scripts: args.peers.clone() }))
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

/// Puts so many revocations into the store that is not there yet.
fn import(program: &Path, root: &Path, revocations: u64) -> Result<()> {
    let lines = root.join("revocations.jsonl");
    revocations::write(&lines, revocations)?;
    let mut command = Command::new(program);
    without_settings(&mut command);
    command.arg("import").arg(&lines).arg("--config").arg(root.join("config.toml"));
    let output = command.output().context("cannot run the server's program")?;
    ensure!(
        output.status.success(),
        "the revocations were not imported: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// TLS 1.3, this one certificate, every handshake a full one.
fn trusting(certificate: &CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
