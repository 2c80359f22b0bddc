//! A server of our own: its process, and how that ends.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// More than the drain timeout that the written configuration asks for.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A server that is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// It leads a group of processes that belong to it.
    leads: bool,
    /// What else its program can do is done with this.
    pub(super) program: PathBuf,
    /// Its files, which go when it goes.
    pub(super) directory: TempDir,
}

impl Process {
    /// Starts it; what it says goes to a file in `directory`.
    pub(crate) fn start(mut command: Command, leads: bool, directory: TempDir) -> Result<Self> {
        let log = directory.path().join("server.out");
        let output = File::create(&log)?;
        let program = PathBuf::from(command.get_program());
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, log, leads, program, directory })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to stop and waits for it.
    pub(super) async fn stop(&mut self) -> Result<()> {
        kill(self.pid()?, Signal::SIGTERM).context("cannot stop the server")?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            // What another product promises of its end is not measured here: it is killed.
            if self.leads && Instant::now() >= deadline {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the server did not stop within {STOP_TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The end of what it said.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // None of it has an effect on one that ended and was waited for.
        if self.leads && matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.pid().map(|pid| killpg(pid, Signal::SIGKILL));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
