//! `fill`: a data directory with many messages, made through the wire.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use super::traffic::{receivers, recipients, senders};
use super::{connect_all, run_number};
use crate::cli::FillArgs;
use crate::ledger::Tally;
use crate::load::{Load, Pair};
use crate::meter::spent;
use crate::report::{Fill, Report, mib, micros_each, per_second, ratio};
use crate::target::{BUSY, Site, Target};

/// Messages in flight a sender: fast, without burying the receivers.
const WINDOW: u64 = 16;
/// A fill that gets nowhere for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends until so many messages are stored. Receivers mark all of them read,
/// so that no inbox is full and no later run has to take them first.
pub(super) async fn run(target: &Target, args: &FillArgs) -> Result<Report> {
    let run = run_number()?;
    let pairs: Vec<_> = (0..usize::from(args.pairs))
        .map(|index| Pair::new(run, index, args.first_user, args.bytes))
        .collect();
    let Stored { elapsed, server_cpu, tally, troubles } =
        store(Site::of(target), &pairs, args.messages).await?;
    let on_disk = target.data().map(disk_bytes).transpose()?;
    let acknowledged = tally.acknowledged;
    Ok(Report::Fill(Fill {
        seconds: elapsed.as_secs_f64(),
        acknowledged_per_s: per_second(acknowledged, elapsed),
        server_cpu_us: server_cpu.map(|cpu| micros_each(cpu, acknowledged)),
        disk_bytes_per_message: on_disk.map(|bytes| ratio(bytes, acknowledged)),
        server_rss_mib: target.meter().map(|meter| meter.resident()).transpose()?.map(mib),
        tally,
        troubles,
    }))
}

/// What came of storing many messages.
pub(super) struct Stored {
    pub(super) elapsed: Duration,
    pub(super) server_cpu: Option<Duration>,
    pub(super) tally: Tally,
    pub(super) troubles: BTreeMap<String, u64>,
}

/// Sends `messages` between `pairs` in equal shares; all of them are marked read.
pub(super) async fn store(site: Site<'_>, pairs: &[Rc<Pair>], messages: u64) -> Result<Stored> {
    let users: Vec<u64> = pairs.iter().flat_map(|pair| [pair.sender, pair.recipient]).collect();
    site.introduce(&users).await?;
    let recipients = connect_all(recipients(site, pairs), BUSY).await?;
    let links = connect_all(senders(site, pairs), BUSY).await?;
    let load = Load::new()?;
    let receivers = receivers(&load, pairs, recipients, true);

    let before = site.cpu()?;
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    let count = pairs.len() as u64;
    let (each, extra) = (messages / count, messages % count);
    for ((index, pair), link) in (0..).zip(pairs).zip(links) {
        let budget = each + u64::from(index < extra);
        let (load, pair) = (Rc::clone(&load), Rc::clone(pair));
        senders.spawn_local(load.send_closed(pair, link, WINDOW, budget));
    }
    watch(&load, &mut senders, messages).await?;
    let elapsed = begun.elapsed();
    let server_cpu = spent(before, site.cpu()?);
    let tally = load.finish(pairs, senders, receivers).await;
    let troubles = load.troubles.borrow().clone();
    ensure!(tally.acknowledged > 0, "nothing was stored: {troubles:?}");
    Ok(Stored { elapsed, server_cpu, tally, troubles })
}

/// Shows how far it is until the senders are done.
async fn watch(load: &Load, senders: &mut JoinSet<()>, messages: u64) -> Result<()> {
    let style = "{bar:40} {human_pos}/{human_len} messages, {per_sec}, {eta} left";
    let bar = ProgressBar::new(messages).with_style(ProgressStyle::with_template(style)?);
    let mut moved = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            ended = senders.join_next() => match ended {
                Some(ended) => ended?,
                None => break,
            },
            _ = tick.tick() => {
                let now = load.acknowledged.get();
                if now > bar.position() {
                    moved = Instant::now();
                }
                bar.set_position(now);
                if moved.elapsed() > PATIENCE {
                    bail!("no answer for {PATIENCE:?}: {:?}", load.troubles.borrow());
                }
            }
        }
    }
    bar.set_position(load.acknowledged.get());
    bar.finish();
    Ok(())
}

/// Bytes of all files below a directory, as the disk counts them.
fn disk_bytes(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // A file may go between the listing and the look; then it counts for nothing.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        sum += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}
