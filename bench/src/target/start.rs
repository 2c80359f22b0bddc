//! Starting the server under test, or finding the one that runs.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::files::{configuration, private_file, two_free_addresses, write_certificate};
use super::peer::{Peer, Protocol};
use super::process::Process;
use super::{Admission, RETIRING, Target, refuse_memory, revocations, without_settings};
use crate::cli::ServerArgs;
use crate::meter::Meter;
use crate::token::{Signer, random_key_set, random_secret};

/// Opening a store of some millions of messages takes seconds, not minutes.
const START_TIMEOUT: Duration = Duration::from_secs(60);

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
