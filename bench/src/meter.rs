//! What a process costs, read from `/proc`.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::{SysconfVar, sysconf};

/// Looks at a process from outside, or at one and all that it started.
#[derive(Clone, Copy)]
pub struct Meter {
    pid: u32,
    family: bool,
    ticks_per_second: f64,
}

impl Meter {
    /// Watches the process `pid`.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        #[expect(clippy::cast_precision_loss, reason = "a hundred or a thousand")]
        Self { pid, family: false, ticks_per_second: ticks as f64 }
    }

    /// Watches the process `pid` and all that descend from it.
    #[must_use]
    pub fn of_family(pid: u32) -> Self {
        Self { family: true, ..Self::of(pid) }
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
        let mut ticks = 0.0;
        for pid in self.pids() {
            match Stat::read(pid) {
                Ok(stat) => {
                    ticks += stat.own_ticks + if self.family { stat.ended_ticks } else { 0.0 }
                }
                // A child that ended meanwhile is in its parent's account.
                Err(_) if pid != self.pid => {}
                Err(gone) => return Err(gone),
            }
        }
        Ok(Duration::from_secs_f64(ticks / self.ticks_per_second))
    }

    /// Memory that is resident now, in bytes. What several processes share is counted once.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident(&self) -> Result<u64> {
        let pids = self.pids();
        let label = if pids.len() > 1 { "Pss:" } else { "Rss:" };
        let mut sum = 0;
        for pid in pids {
            // The rollup is exact; the counter in `status` lags by up to 64 pages a core.
            let kib = kib(pid, "smaps_rollup", label).or_else(|| kib(pid, "status", "VmRSS:"));
            match kib {
                Some(kib) => sum += kib * 1024,
                None if pid != self.pid => {}
                None => bail!("process {pid} has no memory to read"),
            }
        }
        Ok(sum)
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

    /// The process, and its descendants where they count.
    fn pids(&self) -> Vec<u32> {
        let mut family = vec![self.pid];
        if !self.family {
            return family;
        }
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let all: Vec<Stat> = pids
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Stat::read(pid).ok())
            .collect();
        let mut next = 0;
        while let Some(parent) = family.get(next).copied() {
            family.extend(all.iter().filter(|stat| stat.parent == parent).map(|stat| stat.pid));
            next += 1;
        }
        family
    }
}

/// The CPU time between two looks, where both could be taken.
#[must_use]
pub fn spent(before: Option<Duration>, after: Option<Duration>) -> Option<Duration> {
    before.zip(after).map(|(before, after)| after.saturating_sub(before))
}

/// What the kernel says of a process.
struct Stat {
    pid: u32,
    parent: u32,
    /// User and system time of its threads.
    own_ticks: f64,
    /// The same of its children that ended.
    ended_ticks: f64,
}

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        let stat = read(pid, "stat")?;
        // The name in parentheses may hold anything; the fields start behind it.
        let (_, fields) = stat.rsplit_once(") ").context("unexpected /proc/<pid>/stat")?;
        let fields: Vec<f64> =
            fields.split(' ').map(|field| field.parse().unwrap_or_default()).collect();
        let [_, parent, _, _, _, _, _, _, _, _, _, user, system, ended_user, ended_system, ..] =
            fields[..]
        else {
            bail!("no times in /proc/{pid}/stat");
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a process id")]
        let parent = parent as u32;
        Ok(Self { pid, parent, own_ticks: user + system, ended_ticks: ended_user + ended_system })
    }
}

fn kib(pid: u32, file: &str, label: &str) -> Option<u64> {
    let text = read(pid, file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
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

    #[test]
    fn a_family_is_weighed_with_its_children_and_a_process_without() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; read -r _"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (one, all) = (Meter::of_self(), Meter::of_family(std::process::id()));
        let spent = |pid| Meter::of(pid).cpu().unwrap();
        while spent(child.id()) < Duration::from_millis(50) {
            std::thread::yield_now();
        }
        assert!(all.pids().contains(&child.id()));
        assert_eq!(one.pids(), [std::process::id()]);
        assert!(all.cpu().unwrap() >= spent(child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
        // Its time is not lost with it.
        assert!(all.cpu().unwrap() >= Duration::from_millis(50));
    }
}
