//! A full disk, and room again.
//!
//! The writer stops while there is still some room, because sled does not survive to meet
//! the end of it: what it has in hand then hangs, also when it is to be closed. So nothing
//! is written below [`RESERVE`], reading goes on, and writing does once there is [`MARGIN`].

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sys::statvfs::fstatvfs;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info};

use super::writer::{Request, Stop, Writer};

/// What is left free: more than one commit takes with all that sled rewrites for it.
const RESERVE: u64 = 32 << 20;

/// What must be free before writing goes on: room for some time, so that the store does not
/// stop and start with every file that somebody removes.
pub(super) const MARGIN: u64 = 64 << 20;

/// How often the writer looks for room.
pub(super) const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// What is free on the disk that `file` lies on.
pub(super) fn free(file: &File) -> io::Result<u64> {
    let disk = fstatvfs(file)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// What is free on the disk that `path` lies on.
pub(super) fn free_at(path: &Path) -> io::Result<u64> {
    free(&File::open(path)?)
}

/// Whether an error says that there is no room, as opposed to a disk that fails.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Writer {
    /// Whether there is room for another commit.
    pub(super) fn has_room(&self) -> Result<bool, Stop> {
        Ok(free(&self.lock)? >= RESERVE)
    }

    /// Says everywhere that the disk is full.
    pub(super) fn announce_full(&self, why: &str) {
        let (needed, path) = (MARGIN >> 20, self.dir.display());
        error!(
            cause = why,
            %path,
            "the disk is full: nothing is stored until {needed} MiB are free, then it goes on by \
             itself; nothing acknowledged is lost, and reading goes on"
        );
        self.shared.fill(format!(
            "the disk is full; the store goes on by itself once {needed} MiB are free at {path}"
        ));
        self.metrics.full.inc();
    }

    /// Waits for room and answers meanwhile that nothing is stored, to those in `group`
    /// first; gives back who asked to close.
    pub(super) fn wait_for_room(
        &mut self,
        runtime: &Runtime,
        group: &mut Vec<Request>,
    ) -> Result<Option<oneshot::Sender<bool>>, Stop> {
        self.announce_full("less is free than a commit may take");
        let mut look = Instant::now() + LOOK_EVERY;
        loop {
            for request in group.drain(..) {
                if let Request::Close(done) = request {
                    return Ok(Some(done));
                }
                request.refuse();
            }
            if let Some(why) = self.shared.failure() {
                return Err(Stop::Final(why));
            }
            let wait = self.requests.recv();
            match runtime.block_on(async { timeout_at(look, wait).await }) {
                Ok(Some(request)) => group.push(request),
                // Nobody is left who could ask.
                Ok(None) => return Ok(None),
                Err(_) => {
                    if free(&self.lock)? >= MARGIN {
                        self.shared.ready_again();
                        info!("there is room again: the store goes on");
                        return Ok(None);
                    }
                    look = Instant::now() + LOOK_EVERY;
                }
            }
        }
    }
}
