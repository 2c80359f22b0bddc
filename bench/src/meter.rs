//! What a process costs, read from `/proc`.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// Looks at one process from outside.
#[derive(Clone, Copy)]
pub struct Meter {
    pid: u32,
    ticks_per_second: f64,
}

impl Meter {
    /// Watches the process `pid`.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        #[expect(clippy::cast_precision_loss, reason = "a hundred or a thousand")]
        Self { pid, ticks_per_second: ticks as f64 }
    }

    /// Watches this very process: what the load itself costs.
    #[must_use]
    pub fn of_self() -> Self {
        Self::of(std::process::id())
    }

    /// CPU time used so far, user and system, all threads, also ended ones.
    ///
    /// The kernel counts in ticks of 10 ms, so ask over intervals that cost
    /// some hundred of them.
    ///
    /// # Errors
    /// The process is gone.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = self.read("stat")?;
        // The name in parentheses may hold anything; the fields start behind it.
        let (_, fields) = stat.rsplit_once(") ").context("unexpected /proc/<pid>/stat")?;
        let mut times = fields.split(' ').skip(11).map_while(|field| field.parse::<f64>().ok());
        let (user, system) = times.next().zip(times.next()).context("no times in stat")?;
        Ok(Duration::from_secs_f64((user + system) / self.ticks_per_second))
    }

    /// Memory that is resident now, in bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident(&self) -> Result<u64> {
        // The rollup is exact; the counter in `status` lags by up to 64 pages a core.
        let from = |file: &str, label: &str| {
            let text = self.read(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(label))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        from("smaps_rollup", "Rss:")
            .or_else(|| from("status", "VmRSS:"))
            .map(|kib| kib * 1024)
            .with_context(|| format!("process {} has no memory to read", self.pid))
    }

    /// Waits until memory stands still, and says where.
    ///
    /// Still means: five readings in a row, a fifth of a second apart, within
    /// half a percent. After half a minute the last reading has to do.
    ///
    /// # Errors
    /// The process is gone.
    pub async fn settled_resident(&self) -> Result<u64> {
        let mut last = self.resident()?;
        let mut same = 0;
        for _ in 0..150 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = self.resident()?;
            same = if now.abs_diff(last) <= last / 200 { same + 1 } else { 0 };
            last = now;
            if same == 5 {
                break;
            }
        }
        Ok(last)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("pid", &self.pid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burnt_cpu_and_held_memory_show_up() {
        let meter = Meter::of_self();
        let (cpu, memory) = (meter.cpu().unwrap(), meter.resident().unwrap());
        let held = std::hint::black_box(vec![1_u8; 32 << 20]);
        let mut sum = 0_u64;
        while meter.cpu().unwrap() < cpu + Duration::from_millis(50) {
            sum = held.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        }
        assert!(sum > 0);
        assert!(meter.resident().unwrap() >= memory + (31 << 20));
    }
}
