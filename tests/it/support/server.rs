//! Starting, watching, stopping and killing the built binary.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Client, Forge, within};
use crate::nats;

/// What a server is started with. Everything lies in a folder of its own.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    settings: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// A certificate, a key set and the default settings, on free ports. What it stores lies in
    /// its folder, or in streams of its own where `IMSERVER_TEST_BACKEND` is `jetstream`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut setup = Self { folder, settings: BTreeMap::new(), environment: Vec::new() };
        setup.settings.extend([
            ("server.listen".to_owned(), "\"127.0.0.1:0\"".to_owned()),
            ("server.admin_listen".to_owned(), "\"127.0.0.1:0\"".to_owned()),
            ("server.origins".to_owned(), "[\"https://app.example\"]".to_owned()),
            ("limits.connections_per_address".to_owned(), "0".to_owned()),
            ("log.format".to_owned(), "\"json\"".to_owned()),
            ("log.level".to_owned(), "\"debug\"".to_owned()),
        ]);
        let in_streams =
            std::env::var("IMSERVER_TEST_BACKEND").is_ok_and(|backend| backend == "jetstream");
        if in_streams {
            setup.settings.extend(super::nodes::alone(&nats::shared()));
        }
        setup.write();
        setup.run(&["cert", "dev"]);
        fs::write(setup.path("certs/keys.json"), Forge::key_set()).unwrap();
        fs::set_permissions(setup.path("certs/keys.json"), fs::Permissions::from_mode(0o600))
            .unwrap();
        if in_streams {
            setup.run(&["cluster", "create"]);
        }
        setup
    }

    /// Whether its messages lie in streams, and not in its folder.
    pub fn is_in_streams(&self) -> bool {
        self.settings.contains_key("store.jetstream.prefix")
    }

    /// Changes a setting: its dotted key and its value as TOML.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self.write();
        self
    }

    /// Changes a setting of the file while a server runs on it.
    pub fn change(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
        self.write();
    }

    /// Sets a variable of the server's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file of this set-up.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self) {
        let mut sections: BTreeMap<&str, String> = BTreeMap::new();
        for (key, value) in &self.settings {
            let (section, name) = key.rsplit_once('.').unwrap();
            *sections.entry(section).or_default() += &format!("{name} = {value}\n");
        }
        let text: String =
            sections.iter().map(|(name, body)| format!("[{name}]\n{body}\n")).collect();
        fs::write(self.path("config.toml"), text).unwrap();
    }

    /// Runs another command of the binary on this set-up and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command of the binary on this set-up, to be run as the test likes.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imserver"));
        command.args(arguments).arg("--config").arg(self.path("config.toml"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the server and waits until clients can connect.
    pub async fn start(self) -> TestServer {
        let command = self.command(&["serve"]);
        self.start_by(command).await
    }

    /// Starts the server by `command`, which wraps the one from [`Setup::command`].
    pub async fn start_by(self, mut command: Command) -> TestServer {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        TestServer::start(self, command).await
    }

    /// Starts the server as a service manager does: with listening sockets in their order,
    /// whose names are `names`, and `variables` in its environment.
    pub async fn start_with_sockets(
        self,
        sockets: [&TcpListener; 2],
        names: &str,
        variables: &[(&str, &str)],
    ) -> TestServer {
        let mut command = self.command_with_sockets(sockets, names);
        command.envs(variables.iter().copied());
        TestServer::start(self, command).await
    }

    /// The command for that. The sockets come in as the shell's standard streams, and go
    /// where such sockets are looked for.
    pub fn command_with_sockets(&self, sockets: [&TcpListener; 2], names: &str) -> Command {
        let serve = self.command(&["serve"]);
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ exec "$@""#, "sh"])
            .arg(serve.get_program())
            .args(serve.get_args())
            .envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", names);
        let [first, second] =
            sockets.map(|socket| Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        command.stdin(first).stdout(second);
        command
    }

    /// Starts a server that is expected not to come up; its exit code and last words.
    pub fn start_in_vain(&self) -> (Option<i32>, String) {
        let serve = self.command(&["serve"]);
        // One that comes up after all is a failure with a name.
        let mut command = Command::new("timeout");
        command.arg(super::PATIENCE.as_secs().to_string());
        command.arg(serve.get_program()).args(serve.get_args());
        command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

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

    async fn start(setup: Setup, mut command: Command) -> Self {
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

/// The server's log, line by line, as it is written.
#[derive(Clone, Debug)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    grown: watch::Receiver<usize>,
}

impl Log {
    fn follow(stderr: impl std::io::Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell, grown) = watch::channel(0);
        let writing = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let mut lines = writing.lock().unwrap();
                lines.push(line.unwrap_or_default());
                let _ = tell.send(lines.len());
            }
        });
        Self { lines, grown }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    async fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut grown = self.grown.clone();
        let mut seen = 0;
        let found = async {
            loop {
                grown.borrow_and_update();
                for line in self.lines.lock().unwrap().iter().skip(seen) {
                    seen += 1;
                    if let Ok(value) = serde_json::from_str::<Value>(line)
                        && wanted(&value)
                    {
                        return value;
                    }
                }
                if grown.changed().await.is_err() {
                    panic!("the server ended without it:\n{}", self.text());
                }
            }
        };
        match tokio::time::timeout(super::PATIENCE, found).await {
            Ok(value) => value,
            Err(_) => panic!("not in the log:\n{}", self.text()),
        }
    }
}
