//! One NATS server with a configuration of one's own, reached in the clear over loopback.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::place::{PATIENCE, free_port};

/// A server that is killed when it is dropped.
#[derive(Debug)]
pub struct Single {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Single {
    /// Starts `program` with these lines in its configuration; `{folder}` in them is a folder
    /// of its own.
    pub fn start(program: &Path, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().local_addr().unwrap().port();
        let config = folder.path().join("nats.conf");
        fs::write(&config, configuration(folder.path(), port, lines)).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = Self { child: command.spawn().unwrap(), port, folder };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = fs::read_to_string(server.file("log")).unwrap();
            assert!(Instant::now() < end, "the server does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Has it go on with other lines in its configuration, once it has taken them up.
    pub fn reconfigure(&self, lines: &str) {
        let log = || fs::read_to_string(self.file("log")).unwrap();
        let reloads = || log().matches("Reloaded server configuration").count();
        let before = reloads();
        fs::write(self.file("nats.conf"), configuration(self.folder.path(), self.port, lines))
            .unwrap();
        let told = Command::new("kill").arg("-HUP").arg(self.child.id().to_string()).status();
        assert!(told.unwrap().success());
        let end = Instant::now() + PATIENCE;
        while reloads() == before {
            assert!(Instant::now() < end, "the server does not reload:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn configuration(folder: &Path, port: u16, lines: &str) -> String {
    let lines = lines.replace("{folder}", folder.to_str().unwrap());
    format!("listen: \"127.0.0.1:{port}\"\n{lines}")
}

impl Drop for Single {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
