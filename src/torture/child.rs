//! The server under test: the same binary, as a child of this process.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{self, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{PATIENCE, Place, TortureError};

/// Lines of its log that are kept, to be shown when it fails.
const LAST_WORDS: usize = 20;

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    address: SocketAddr,
    took: Duration,
    words: Arc<Mutex<Vec<String>>>,
}

impl Child {
    /// Starts the server without waiting for anything.
    pub(super) fn spawn(place: &Place) -> Result<Self, TortureError> {
        let mut command = place.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let process = command.spawn()?;
        Ok(Self { process, address, took: Duration::ZERO, words: Arc::default() })
    }

    /// Starts the server and waits until clients can connect.
    pub(super) async fn start(place: &Place) -> Result<Self, TortureError> {
        let began = Instant::now();
        let mut command = place.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let (serving, served) = oneshot::channel();
        let words = Arc::new(Mutex::new(Vec::new()));
        if let Some(log) = process.stderr.take() {
            let words = Arc::clone(&words);
            // Ends with the server, whose log must be read for as long as it writes one.
            std::thread::spawn(move || follow(log, &words, serving));
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut child = Self { process, address, took: Duration::ZERO, words };
        match timeout(PATIENCE, served).await {
            Ok(Ok(address)) => {
                child.address = address;
                child.took = began.elapsed();
                Ok(child)
            }
            Ok(Err(_)) => Err(TortureError::Broken(child.said("the server did not start"))),
            Err(_) => {
                let why = format!("the server did not start within {PATIENCE:?}");
                Err(TortureError::Broken(child.said(&why)))
            }
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long it took to start.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    /// Kills it (`kill -9`) and waits until it is gone.
    ///
    /// # Errors
    /// Those of the system.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    /// Stops it as an operator does; it must say that all is well.
    pub(super) async fn stop(mut self) -> Result<(), TortureError> {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(io::Error::from)?;
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let why = format!("told to stop, the server ended with {status}");
                    return Err(TortureError::Broken(self.said(&why)));
                }
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        Err(TortureError::Broken(self.said("told to stop, the server did not")))
    }

    /// A sentence with the last words of its log.
    fn said(&self, what: &str) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{what}; its log ends with:\n{}", words.join("\n"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Mostly it is dead already.
        let _ = self.kill();
    }
}

/// Reads the log to its end and tells where the server listens.
fn follow(log: impl Read, words: &Mutex<Vec<String>>, serving: oneshot::Sender<SocketAddr>) {
    let mut serving = Some(serving);
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let event: Option<Value> = serde_json::from_str(&line).ok();
        let member = |name: &str| event.as_ref().and_then(|event| event.get(name)?.as_str());
        if member("message") == Some("serving")
            && let Some(address) = member("address").and_then(|text| text.parse().ok())
            && let Some(serving) = serving.take()
        {
            // Nobody waits any more when it took too long.
            let _ = serving.send(address);
        }
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == LAST_WORDS {
            words.remove(0);
        }
        words.push(line);
    }
}
