//! What a server is started with.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::{Forge, TestServer, nodes};
use crate::nats::{self, Streams};

/// A folder with a server's configuration and all that belongs to it.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    settings: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    /// Where it stores, if not in its folder. Last: nobody uses them any more when they go.
    streams: Option<Arc<Streams>>,
}

impl Setup {
    /// A certificate, a key set and the default settings, on free ports. What it stores lies in
    /// its folder, or where `IMSERVER_TEST_BACKEND` is `jetstream` in streams of its own, each of
    /// which three NATS servers keep.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let (settings, environment) = (BTreeMap::new(), Vec::new());
        let mut setup = Self { folder, settings, environment, streams: None };
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
            setup = setup.on(&Arc::new(Streams::on(&nats::shared())));
            // Also where the issuer or the audience is another one.
            setup.settings.insert("store.jetstream.deployment".to_owned(), "\"tests\"".to_owned());
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

    /// With its messages in these streams, which must be there.
    pub(super) fn on(mut self, streams: &Arc<Streams>) -> Self {
        self.settings.extend(nodes::settings(streams));
        self.settings.insert("store.jetstream.create".to_owned(), "false".to_owned());
        self.streams = Some(Arc::clone(streams));
        self
    }

    /// Whether its messages lie in streams, and not in its folder.
    pub fn is_in_streams(&self) -> bool {
        self.streams.is_some()
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

    /// Every line of the audit log as it was written, wherever that lies.
    pub fn audit_log(&self) -> String {
        self.run(&["audit", "list"])
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
