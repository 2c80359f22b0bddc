//! Starting, killing and watching the servers of a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::network::Network;
use super::place::{PATIENCE, Place, SERVERS};

/// How a server is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// At once (`SIGTERM`).
    Term,
    /// As a lame duck: first it hands over what it leads, then it sends its clients away.
    LameDuck,
}

/// A cluster of one's own. Its servers are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Option<Child>>,
    place: Place,
    /// Where each has a machine of its own.
    network: Option<Network>,
    _folder: TempDir,
}

impl Cluster {
    /// Starts three servers and waits until they are one.
    pub fn start() -> Self {
        Self::prepare().begin()
    }

    /// The same, on the first three machines of a network.
    pub fn start_on(network: Network) -> Self {
        Self::make(Some(network)).begin()
    }

    /// Three servers that do not run yet.
    pub fn prepare() -> Self {
        Self::make(None)
    }

    fn make(network: Option<Network>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::make(folder.path(), network.as_ref());
        let servers = (0..SERVERS).map(|_| None).collect();
        Self { servers, place, network, _folder: folder }
    }

    /// Starts those that do not run, and waits until all are one.
    pub fn begin(mut self) -> Self {
        self.run_all();
        self
    }

    /// The same, on what was left behind.
    pub fn run_all(&mut self) {
        for number in 0..self.servers.len() {
            if self.servers[number].is_none() {
                self.run(number);
            }
        }
        self.place.wait();
    }

    /// Starts so many more servers, and waits until all are one.
    pub fn grow(&mut self, more: usize) {
        self.place.grow(more);
        self.servers.extend((0..more).map(|_| None));
        self.run_all();
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The network that it is on, where it has one of its own.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Kills a server (`kill -9`).
    pub fn kill(&mut self, number: usize) {
        if let Some(mut server) = self.servers[number].take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Tells a server to go by itself, at once or as a lame duck.
    pub fn dismiss(&self, number: usize, how: Dismissal) {
        self.signal(number, if how == Dismissal::LameDuck { "USR2" } else { "TERM" });
    }

    /// Waits until a server has ended that was told to.
    pub fn wait_for_end(&mut self, number: usize) {
        let Some(server) = &mut self.servers[number] else { return };
        let end = Instant::now() + PATIENCE;
        while server.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "n{number} does not end:\n{}", self.place.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.servers[number] = None;
    }

    /// Starts a server that was killed, on what it left behind.
    pub fn run(&mut self, number: usize) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.place.log_file(number))
            .unwrap();
        let mut command = Command::new(program());
        command.arg("-c").arg(self.place.config(number));
        if let Some(network) = &self.network {
            command = network.on_machine(number, &command);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.servers[number] = Some(command.spawn().unwrap());
    }

    /// Waits until a server has logged this.
    pub fn wait_for_log(&self, number: usize, words: &str) {
        let end = Instant::now() + PATIENCE;
        let says = || fs::read_to_string(self.place.log_file(number)).unwrap().contains(words);
        while !says() {
            assert!(Instant::now() < end, "n{number} does not say {words:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every server takes part again.
    pub fn wait(&self) {
        self.place.wait();
    }

    /// Sends a signal to a server, such as `"STOP"`.
    pub fn signal(&self, number: usize, name: &str) {
        let server = self.servers[number].as_ref().unwrap();
        let sent =
            Command::new("kill").arg(format!("-{name}")).arg(server.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// The servers that run, also those that are paused.
    pub fn running(&self) -> Vec<usize> {
        (0..self.servers.len()).filter(|number| self.servers[*number].is_some()).collect()
    }

    /// Which server leads a stream, by what any of them that answers says.
    pub fn leader(&self, stream: &str) -> Option<usize> {
        self.running().into_iter().find_map(|number| self.leader_by(number, stream))
    }

    /// How many votes the copies of a stream have had, by the latest that any server knows of:
    /// one for each election, and one for each that nobody won.
    pub fn term(&self, stream: &str) -> u64 {
        let terms = self.running().into_iter().filter_map(|number| self.term_by(number, stream));
        terms.max().unwrap_or_default()
    }

    fn term_by(&self, number: usize, stream: &str) -> Option<u64> {
        let answer = self.place.ask(number, "/jsz?streams=1&raft=1")?;
        let mut streams = answer["account_details"][0]["stream_detail"].as_array()?.iter();
        let group = streams.find(|found| found["name"] == stream)?["stream_raft_group"].as_str()?;
        let groups = self.place.ask(number, &format!("/raftz?acc=$G&group={group}"))?;
        groups["$G"][group]["term"].as_u64()
    }

    /// The streams that a server leads, by what it says itself.
    pub fn led_by(&self, number: usize) -> Vec<String> {
        let Some(answer) = self.place.ask(number, "/jsz?streams=1") else { return Vec::new() };
        let streams = answer["account_details"][0]["stream_detail"].as_array();
        let leader = format!("n{number}");
        let led = streams.into_iter().flatten().filter(|it| it["cluster"]["leader"] == leader);
        led.filter_map(|stream| Some(stream["name"].as_str()?.to_owned())).collect()
    }

    /// How often a server of the cluster became the leader of a stream.
    pub fn elections(&self, stream: &str) -> usize {
        let line = format!("JetStream cluster new stream leader for '$G > {stream}'");
        (0..self.servers.len())
            .map(|number| fs::read_to_string(self.place.log_file(number)).unwrap_or_default())
            .map(|log| log.matches(&line).count())
            .sum()
    }

    /// Which server leads a stream, by what this one says.
    fn leader_by(&self, number: usize, stream: &str) -> Option<usize> {
        let answer = self.place.ask(number, "/jsz?streams=1")?;
        let streams = answer["account_details"][0]["stream_detail"].as_array()?.iter();
        let found = streams.filter(|found| found["name"] == stream);
        found
            .filter_map(|found| found["cluster"]["leader"].as_str())
            .find_map(|leader| leader.strip_prefix('n')?.parse().ok())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.place.logs());
        }
        for server in self.servers.iter_mut().flatten() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// The server's program; brought where it is not there yet.
pub fn program() -> PathBuf {
    brought("nats", &[])
}

/// One that is too old.
pub fn old_program() -> PathBuf {
    brought("nats-old", &["--old"])
}

fn brought(folder: &str, options: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let there = target.join(folder).join("bin/nats-server");
    if there.exists() {
        return there;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/nats-server");
    let output = Command::new(script).args(options).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "scripts/nats-server brings no server");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
