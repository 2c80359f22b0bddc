//! Starting, watching, stopping and killing the built binary.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::log::Log;
use super::{Client, Setup, within};

/// A running server. Killed when it is dropped.
#[derive(Debug)]
pub struct TestServer {
    setup: Option<Setup>,
    child: Child,
    log: Log,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where administrators look.
    pub admin: SocketAddr,
    roots: Arc<RootCertStore>,
}

impl TestServer {
    /// A server with the default settings.
    pub async fn new() -> Self {
        Setup::new().start().await
    }

    pub(super) async fn start(setup: Setup, mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // Sockets that were passed on are the child's alone from here.
        drop(command);
        let log = Log::follow(child.stderr.take().unwrap());
        let serving = log.wait_for(|line| line["message"] == "serving").await;
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        let (address, admin) = (address("address"), address("admin"));
        let roots = roots(&setup.path("certs/server.pem"));
        Self { setup: Some(setup), child, log, address, admin, roots }
    }

    /// A command of the binary that speaks to this server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.setup().command(arguments);
        // The set-up says port 0.
        command.env("IMSERVER_SERVER__ADMIN_LISTEN", self.admin.to_string());
        command.env_remove("IMSERVER_ADMIN_TOKEN");
        command
    }

    /// Runs such a command: its exit code, what it printed, and what it complained of.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = self.command(arguments);
        let running = tokio::task::spawn_blocking(move || command.output());
        let output = within(&format!("{arguments:?}"), running).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// The set-up it runs on.
    pub fn setup(&self) -> &Setup {
        self.setup.as_ref().unwrap()
    }

    /// The set-up it runs on, to be changed meanwhile.
    pub fn setup_mut(&mut self) -> &mut Setup {
        self.setup.as_mut().unwrap()
    }

    /// The certificates that clients of this server believe.
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// Where clients connect, and what they believe: all that they need of it.
    pub fn reached_at(&self) -> (SocketAddr, Arc<RootCertStore>) {
        (self.address, self.roots())
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits for a log line with this message, also one already written.
    pub async fn logged(&self, message: &str) -> Value {
        self.log.wait_for(|line| line["message"] == message).await
    }

    /// Waits for a log line in which this stands, also one already written.
    pub async fn log_says(&self, text: &str) {
        let says = |line: &Value| line.to_string().contains(text);
        self.log.wait_for(says).await;
    }

    /// Waits until so many log lines with this message are written, and gives them.
    pub async fn logged_times(&self, message: &str, times: usize) -> Vec<Value> {
        let found = RefCell::new(Vec::new());
        let enough = |line: &Value| {
            if line["message"] == message {
                found.borrow_mut().push(line.clone());
            }
            found.borrow().len() >= times
        };
        self.log.wait_for(enough).await;
        found.into_inner()
    }

    /// Connects `user` by the document's URL, with a token of an hour.
    pub async fn connect(&self, user: u64) -> Client {
        Client::connect(self, user).await
    }

    /// Sends a signal to the process, such as `"TERM"`.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let pid = self.child.id();
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        let waiting = tokio::task::spawn_blocking(move || child.wait());
        within(&format!("process {pid} to end"), waiting).await.unwrap().unwrap()
    }

    /// Kills the process (`kill -9`) and gives back what it left behind.
    pub fn kill(mut self) -> Setup {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.setup.take().unwrap()
    }

    /// Stops the process as an operator would and gives back what it left behind.
    pub async fn stop(mut self) -> Setup {
        self.signal("TERM");
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.setup.take().unwrap()
    }

    /// The processor time that the process has used so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name stands in brackets and may hold anything; a tick is 10 ms.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// The resident memory of the process, in KiB.
    pub fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}

fn roots(path: &Path) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(roots)
}
