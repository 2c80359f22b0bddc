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
        let lines = lines.replace("{folder}", folder.path().to_str().unwrap());
        let config = folder.path().join("nats.conf");
        fs::write(&config, format!("listen: \"127.0.0.1:{port}\"\n{lines}")).unwrap();
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

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
