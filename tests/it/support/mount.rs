//! File systems of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::or_not_tested;

/// A file system that is mounted somewhere, until the end.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
    /// What it lies in, where that is a file.
    image: Option<PathBuf>,
}

impl Mount {
    /// Mounts one in memory, or says loudly that it cannot: that needs root and the permission
    /// to mount, which a container often has not.
    pub fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"], &[at]);
        or_not_tested(mounted.map(|()| Self { at: at.to_owned(), image: None }).map_err(words))
    }

    /// Mounts an ext4 in a file that is made for it, of so many bytes; or says loudly that it
    /// cannot.
    pub fn ext4(image: &Path, at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        fs::File::create(image).unwrap().set_len(bytes).unwrap();
        let lazy = ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run("mkfs.ext4", &lazy, &[image]).unwrap();
        let mount = Self { at: at.to_owned(), image: Some(image.to_owned()) };
        or_not_tested(mount.mount().map_err(words))?;
        Some(mount)
    }

    /// Changes the options of one in memory.
    pub fn remount(&self, options: &str) {
        run("mount", &["-t", "tmpfs", "-o", &format!("remount,{options}"), "tmpfs"], &[&self.at])
            .unwrap();
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.image.as_deref().unwrap();
        run("mount", &["-o", "loop"], &[image, &self.at])
    }

    /// What an ext4 looses when the power goes, it looses now: all that it has not written to
    /// its file, and whatever comes. Until it is mounted again.
    pub fn cut_power(&self) {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
        const SHUTDOWN: &str = "import fcntl, os, struct, sys; \
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", SHUTDOWN], &[&self.at]).unwrap();
    }

    /// Mounts it again. Nobody may use it.
    pub fn mount_again(&self) {
        run("umount", &[], &[&self.at]).unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &["-l"], &[&self.at]);
    }
}

fn words(why: String) -> String {
    format!(
        "no file system can be mounted here ({why}), so nobody checked what happens on a disk \
         that is full, read-only or without power. Run as root, with permission to mount."
    )
}

/// Runs a program of the system, which must succeed.
fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).args(paths).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("{program}: {}", words.trim()))
}
