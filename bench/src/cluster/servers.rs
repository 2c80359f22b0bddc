//! Three real NATS servers that are one cluster, set up as `docs/cluster.md` asks for.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::{self, Context as JetStream};
use async_nats::{Client, ConnectOptions};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::meter::Meter;
use crate::target::{Process, private_file, refuse_memory, write_certificate};
use crate::token::random_secret;

/// How many there are, and copies of every message.
pub(super) const SERVERS: usize = 3;

/// Until they have found each other and chosen a leader.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an answer may take: a leader that is exchanged for another one leaves some out.
const ANSWER: Duration = Duration::from_secs(2);

/// Who everybody is to them.
const USER: &str = "imserver";

/// A cluster of three servers on this machine, killed when dropped.
#[derive(Debug)]
pub struct Servers {
    processes: Vec<Process>,
    ports: Vec<Ports>,
    certificate: CertificateDer<'static>,
    password: String,
    version: String,
    // Goes last: everything of the servers lies in it.
    directory: TempDir,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    clients: u16,
    routes: u16,
    monitor: u16,
}

impl Servers {
    /// Starts them and waits until they are one.
    ///
    /// # Errors
    /// There is no program, or they do not find each other; what they said is included.
    pub async fn start(program: Option<&Path>) -> Result<Self> {
        let program = program.map_or_else(brought, |program| Ok(program.to_owned()))?;
        let version = output(Command::new(&program).arg("--version"))?.replace(": v", " ");
        let directory = TempDir::with_prefix("imserver-bench-nats-")?;
        refuse_memory(directory.path())?;
        let certificate = write_certificate(directory.path())?;
        let password = random_secret()?;
        private_file(&directory.path().join("password"), &password)?;
        let mut servers = Self {
            processes: Vec::new(),
            ports: free_ports()?,
            certificate,
            password,
            version,
            directory,
        };
        for number in 0..servers.ports.len() {
            let process = servers.run(&program, number)?;
            servers.processes.push(process);
        }
        servers.wait().await?;
        Ok(servers)
    }

    /// What `nats-server --version` says.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What each of them costs.
    #[must_use]
    pub fn meters(&self) -> Vec<Meter> {
        self.processes.iter().map(|process| Meter::of(process.id())).collect()
    }

    /// The lines of `[store]` by which a node keeps its messages in them.
    #[must_use]
    pub fn settings(&self, partitions: u16) -> String {
        let folder = self.directory.path().display();
        let servers: Vec<String> = self.urls().iter().map(|url| format!("'{url}'")).collect();
        format!(
            r#"backend = "jetstream"
[store.jetstream]
servers = [{}]
ca = '{folder}/server.pem'
user = "{USER}"
password_file = '{folder}/password'
partitions = {partitions}
synced = true
create = true
"#,
            servers.join(", ")
        )
    }

    /// Connects a plain client, by TLS as the nodes do.
    ///
    /// # Errors
    /// The servers refuse.
    pub async fn connect(&self) -> Result<(Client, JetStream)> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let options = ConnectOptions::new()
            .tls_client_config(tls)
            .user_and_password(USER.to_owned(), self.password.clone());
        let client = options.connect(self.urls()).await.context("cannot connect to NATS")?;
        // Nothing here may wait for anything but the servers.
        let context = ContextBuilder::new().ack_timeout(ANSWER).max_ack_inflight(100_000);
        Ok((client.clone(), context.build(client)))
    }

    /// The settings of the stream in which nodes keep the messages of the first partition.
    ///
    /// # Errors
    /// No node has made it yet.
    pub async fn stream_of_nodes(&self, context: &JetStream) -> Result<jetstream::stream::Config> {
        let stream =
            context.get_stream("im-msg-0").await.context("no node has made its streams")?;
        Ok(stream.cached_info().config.clone())
    }

    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|ports| format!("tls://localhost:{}", ports.clients)).collect()
    }

    fn run(&self, program: &Path, number: usize) -> Result<Process> {
        let ports = self.ports.get(number).context("no ports")?;
        let folder = TempDir::with_prefix_in(format!("n{number}-"), self.directory.path())?;
        let config = folder.path().join("nats.conf");
        private_file(&config, &self.configuration(number, *ports, folder.path()))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&config);
        Process::start(command, false, folder)
    }

    fn configuration(&self, number: usize, ports: Ports, folder: &Path) -> String {
        let Ports { clients, routes, monitor } = ports;
        let (password, common) = (&self.password, self.directory.path().display());
        let others: Vec<String> =
            self.ports.iter().map(|ports| format!("nats://127.0.0.1:{}", ports.routes)).collect();
        // A name of its own, so that it joins no other cluster on this machine.
        let cluster = format!("of-{}", self.ports.first().map_or(0, |ports| ports.routes));
        format!(
            r#"server_name: n{number}
listen: "127.0.0.1:{clients}"
http: "127.0.0.1:{monitor}"
tls {{ cert_file: "{common}/server.pem", key_file: "{common}/server.key" }}
authorization {{ user: "{USER}", password: "{password}" }}
jetstream {{
    store_dir: "{folder}/data"
    sync_interval: always
    max_file_store: 100GB
    max_memory_store: 64MB
}}
cluster {{
    name: "{cluster}"
    listen: "127.0.0.1:{routes}"
    routes: [{others}]
    ping_interval: "1s"
    ping_max: 2
}}
"#,
            folder = folder.display(),
            others = others.join(", "),
        )
    }

    /// Waits until each says that it takes part.
    async fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + START_TIMEOUT;
        for number in 0..self.ports.len() {
            while !self.is_healthy(number).await {
                let process = self.processes.get_mut(number).context("no server")?;
                if let Some(status) = process.ended()? {
                    bail!("a NATS server ended with {status}:\n{}", process.last_words());
                }
                let words = process.last_words();
                ensure!(Instant::now() < end, "the NATS servers find no leader:\n{words}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    async fn is_healthy(&self, number: usize) -> bool {
        let Some(ports) = self.ports.get(number) else { return false };
        let ask = async {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, ports.monitor)).await?;
            socket.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(Duration::from_secs(1), ask).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.starts_with("HTTP/1.0 200")))
    }
}

/// Ports that nobody listens on; held together so that they differ.
fn free_ports() -> Result<Vec<Ports>> {
    let mut held = Vec::new();
    let mut free = || -> Result<u16> {
        held.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        Ok(held.last().context("no socket")?.local_addr()?.port())
    };
    (0..SERVERS)
        .map(|_| Ok(Ports { clients: free()?, routes: free()?, monitor: free()? }))
        .collect()
}

/// The program that the tests use too; brought where it is not there yet.
fn brought() -> Result<PathBuf> {
    let script = Path::new("scripts/nats-server");
    ensure!(
        script.exists(),
        "{} is missing: run this where the project is, or name --nats-server",
        script.display()
    );
    Ok(output(Command::new(script).stderr(Stdio::inherit()))?.into())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
