//! Where the servers of a cluster are, and the files that they run by.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectError, ConnectOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::network::Network;
use super::shared;

/// How many servers make a cluster, unless it grows.
pub(super) const SERVERS: usize = 3;

/// How long a cluster may take to come up, also on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Who the tests are to the servers.
const USER: &str = "imserver";

/// Where a cluster is and how one gets in: all that a client needs.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
    ports: Vec<Ports>,
}

/// Where one server listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    host: Ipv4Addr,
    clients: u16,
    routes: u16,
    monitor: u16,
}

impl Place {
    /// Makes a folder with certificates, a password and the configuration of every server.
    ///
    /// On machines of a network all listen at the usual ports, here at free ones.
    pub(super) fn make(folder: &Path, network: Option<&Network>) -> Self {
        let ports = match network {
            Some(network) => (0..SERVERS)
                .map(|number| Ports {
                    host: network.address(number),
                    clients: 4222,
                    routes: 6222,
                    monitor: 8222,
                })
                .collect(),
            None => free_ports(SERVERS),
        };
        let place = Self { folder: folder.to_owned(), ports };
        let word: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        private(&place.password_file(), &word);
        certify(folder, place.ports.iter().map(|ports| ports.host));
        place.configure(0..SERVERS, &word);
        let lines: String = place
            .ports
            .iter()
            .map(|p| format!("{} {} {}\n", p.clients, p.routes, p.monitor))
            .collect();
        fs::write(folder.join("ports"), lines).unwrap();
        place
    }

    /// Writes the configuration of these servers.
    fn configure(&self, numbers: Range<usize>, word: &str) {
        for number in numbers {
            fs::write(self.config(number), self.configuration(number, word)).unwrap();
        }
    }

    /// Makes room for more servers. Those that are there learn of them by the new ones.
    pub(super) fn grow(&mut self, more: usize) {
        let there = self.ports.len();
        self.ports.extend(free_ports(more));
        let word = fs::read_to_string(self.password_file()).unwrap();
        self.configure(there..self.ports.len(), &word);
    }

    /// A cluster that another process has made in `folder`, if there is one.
    pub(super) fn find(folder: &Path) -> Option<Self> {
        let lines = fs::read_to_string(folder.join("ports")).ok()?;
        let ports = lines.lines().map(|line| {
            let mut numbers = line.split(' ').map(|number| number.parse().unwrap());
            let mut next = || numbers.next().unwrap();
            Ports { host: Ipv4Addr::LOCALHOST, clients: next(), routes: next(), monitor: next() }
        });
        let place = Self { folder: folder.to_owned(), ports: ports.collect() };
        // A busy one may call itself unhealthy for a while: it is waited for. Only where nobody
        // listens any more it has died without its guardian.
        let listens = |ports: &Ports| TcpStream::connect((ports.host, ports.monitor)).is_ok();
        if !place.ports.iter().all(listens) {
            return None;
        }
        place.wait();
        Some(place)
    }

    /// Where clients connect, one address a server.
    pub fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|ports| format!("tls://{}:{}", ports.host, ports.clients)).collect()
    }

    /// Who clients say that they are.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// A client that may do whatever imserver may.
    pub async fn connect(&self) -> Result<Client, ConnectError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.ca()).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let word = fs::read_to_string(self.password_file()).unwrap();
        let options = ConnectOptions::new().user_and_password(USER.to_owned(), word);
        options.tls_client_config(tls).connect(self.urls()).await
    }

    /// Whether these are the servers of the whole run.
    pub(super) fn is_shared(&self) -> bool {
        self.folder == shared::folder()
    }

    /// A file with the password, and nothing else.
    pub fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    /// The certification authority that vouches for the servers, as PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Where a server keeps what it stores.
    pub fn store(&self, number: usize) -> PathBuf {
        self.folder.join(format!("n{number}"))
    }

    /// A file beside those of the servers.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Changes the configuration of every server, from their next start on.
    pub fn reconfigure(&self, from: &str, to: &str) {
        for number in 0..self.ports.len() {
            let path = self.config(number);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{from}");
            fs::write(path, text.replace(from, to)).unwrap();
        }
    }

    pub(super) fn config(&self, number: usize) -> PathBuf {
        self.folder.join(format!("n{number}.conf"))
    }

    fn configuration(&self, number: usize, password: &str) -> String {
        let Ports { host, clients, routes, monitor } = self.ports[number];
        let folder = self.folder.display();
        let others: Vec<String> = self
            .ports
            .iter()
            .map(|ports| format!("nats://{}:{}", ports.host, ports.routes))
            .collect();
        // A name of its own, so that it joins no other cluster on this machine.
        let cluster = format!("of-{}-{}", self.ports[0].host, self.ports[0].routes);
        format!(
            r#"
server_name: n{number}
listen: "{host}:{clients}"
http: "{host}:{monitor}"
tls {{ cert_file: "{folder}/server.pem", key_file: "{folder}/server.key" }}
authorization {{ user: "{USER}", password: "{password}" }}
jetstream {{
    store_dir: "{folder}/n{number}"
    sync_interval: always
    max_file_store: 4GB
    max_memory_store: 64MB
}}
cluster {{
    name: "{cluster}"
    listen: "{host}:{routes}"
    routes: [{}]
    ping_interval: "1s"
    ping_max: 2
}}
lame_duck_duration: "30s"
lame_duck_grace_period: "500ms"
"#,
            others.join(", ")
        )
    }

    pub fn is_healthy(&self, number: usize) -> bool {
        self.ask(number, "/healthz").is_some_and(|answer| answer["status"] == "ok")
    }

    /// What a server says on its monitoring port, or nothing where it is silent.
    pub(super) fn ask(&self, number: usize, path: &str) -> Option<Value> {
        let address = (self.ports[number].host, self.ports[number].monitor);
        let mut socket = TcpStream::connect(address).ok()?;
        // A paused server takes connections and answers none.
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    /// How many bytes the servers have sent to those who listen to subjects that begin so.
    pub fn sent_to(&self, prefix: &str) -> u64 {
        let connections = |number| {
            let end = Instant::now() + PATIENCE;
            loop {
                if let Some(page) = self.ask(number, "/connz?subs=1&limit=10000") {
                    break page["connections"].as_array().cloned().unwrap_or_default();
                }
                assert!(Instant::now() < end, "server {number} does not say who is connected");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let listens = |connection: &Value| {
            let subjects = connection["subscriptions_list"].as_array();
            let mut subjects = subjects.into_iter().flatten().filter_map(Value::as_str);
            subjects.any(|subject| subject.starts_with(prefix))
        };
        let all = (0..self.ports.len()).flat_map(connections);
        all.filter(listens).filter_map(|connection| connection["out_bytes"].as_u64()).sum()
    }

    /// Waits until every server takes part and all of them have the same leader.
    pub(super) fn wait(&self) {
        let end = Instant::now() + PATIENCE;
        while !(0..self.ports.len()).all(|number| self.is_healthy(number)) {
            assert!(Instant::now() < end, "the cluster does not come up:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn logs(&self) -> String {
        let log = |number| fs::read_to_string(self.log_file(number)).unwrap_or_default();
        let numbers = 0..self.ports.len();
        numbers.map(|number| format!("--- n{number} ---\n{}", log(number))).collect()
    }

    pub(super) fn log_file(&self, number: usize) -> PathBuf {
        self.folder.join(format!("n{number}.log"))
    }
}

/// Where a server may listen: below what systems give to connections that go out
/// (`ip_local_port_range`), any of which could take the place of a server that is killed and
/// started again.
const PORTS: Range<u16> = 10_240..32_768;

/// Of tests that run at once each has so many of them to itself, where nextest counts them: else
/// one might take a port that another has let go of for a server which is about to start.
const EACH: u16 = 1000;

/// The ports of this process.
fn ours() -> Range<u16> {
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok().and_then(|slot| slot.parse().ok());
    let first = slot.and_then(|slot: u16| PORTS.start.checked_add(slot.checked_mul(EACH)?));
    let ports = first.and_then(|first| Some(first..first.checked_add(EACH)?));
    ports.filter(|ports| ports.end <= PORTS.end).unwrap_or(PORTS)
}

/// A place nobody listens on, held.
pub(super) fn free_port() -> TcpListener {
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(ours()))) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            other => return other.unwrap(),
        }
    }
}

/// All at once, so that none is given twice; closed again right before the start.
fn free_ports(servers: usize) -> Vec<Ports> {
    let held: Vec<TcpListener> = (0..3 * servers).map(|_| free_port()).collect();
    let given: Vec<u16> = held.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
    let ports = given.chunks(3).map(|three| Ports {
        host: Ipv4Addr::LOCALHOST,
        clients: three[0],
        routes: three[1],
        monitor: three[2],
    });
    ports.collect()
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// An authority that nobody else knows, and a certificate of it for this machine.
fn certify(folder: &Path, hosts: impl Iterator<Item = Ipv4Addr>) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).unwrap();
    let issuer = Issuer::new(params, authority);
    let mut names: Vec<String> = hosts.map(|host| host.to_string()).collect();
    names.push("localhost".to_owned());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("ca.pem"), root.pem()).unwrap();
    fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    private(&folder.join("server.key"), &key.serialize_pem());
}
