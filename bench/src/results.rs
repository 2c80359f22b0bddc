//! What a comparison found, kept in a file that further runs add to.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

use crate::cli::Curve;
use crate::report::Report;
use crate::side::Side;

/// All that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Where the last of it was measured.
    pub machine: String,
    /// Every measurement, in order.
    pub runs: Vec<Run>,
}

/// One measurement of one side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Who was measured.
    pub side: Side,
    /// What exactly that is.
    pub version: String,
    /// The curve that this is a point of; none for the table.
    pub curve: Option<Curve>,
    /// Messages that were stored before.
    pub stored: u64,
    /// What was found.
    pub report: Report,
}

impl Results {
    /// Reads the file; nothing where there is none yet.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} holds no results: move it away", path.display()))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Those of whom there is anything, in the order of the table.
    #[must_use]
    pub fn sides(&self) -> Vec<Side> {
        <Side as clap::ValueEnum>::value_variants()
            .iter()
            .copied()
            .filter(|side| self.runs.iter().any(|run| run.side == *side))
            .collect()
    }

    /// The reports of one side for the table, or for a curve.
    pub fn of(&self, side: Side, curve: Option<Curve>) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.side == side && run.curve == curve)
    }
}

/// This machine, in a line.
#[must_use]
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kind = if field("flags").is_some_and(|flags| flags.contains("hypervisor")) {
        "virtual cores"
    } else {
        "cores"
    };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or_default();
    let gib = (kib + (1 << 19)) >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim();
    let disk = file_system(&std::env::temp_dir()).unwrap_or_default();
    format!("{cores} {kind} of {model}, {gib} GiB, Linux {kernel}{disk}")
}

/// The kind of file system that a folder is on.
fn file_system(folder: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let here = statvfs(folder).ok()?.filesystem_id();
    let mut found = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(place), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        if folder.starts_with(place) && statvfs(place).is_ok_and(|fs| fs.filesystem_id() == here) {
            found = Some(format!(", {kind}"));
        }
    }
    found
}
