//! `pairs` and `open`: messages flowing.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;

use super::{FIRST_USER, connect_all, idle, run_number};
use crate::cli::{OpenArgs, PairsArgs, TrafficArgs};
use crate::ledger::Tally;
use crate::link::Link;
use crate::load::{Load, Pair};
use crate::meter::{Meter, spent};
use crate::pacer::Pacer;
use crate::report::{Latency, Report, Traffic, mib, micros_each, per_second};
use crate::target::{BUSY, Site, Target};

/// Closed loop: what was answered makes room for the next.
pub(super) async fn pairs(site: Site<'_>, args: &PairsArgs) -> Result<Report> {
    let idle = idle::connected(site.sender(0), args.idle).await?;
    let cast = Cast::connect(site, &args.traffic).await?;
    let load = Load::new()?;
    let receivers = receivers(&load, &cast.pairs, cast.receivers, args.traffic.mark_read);
    let mut senders = JoinSet::new();
    for (pair, link) in cast.pairs.iter().zip(cast.senders) {
        let (load, pair) = (Rc::clone(&load), Rc::clone(pair));
        senders.spawn_local(load.send_closed(pair, link, args.window, u64::MAX));
    }
    let interval = Interval::measure(site, &load, &args.traffic).await?;
    let tally = load.finish(&cast.pairs, senders, receivers).await;
    idle::stayed(idle).await?;
    let mut report = interval.report(&load, &args.traffic, tally);
    report.window = Some(args.window);
    Ok(Report::Pairs(report))
}

/// Open loop: the schedule goes on whatever the server does.
pub(super) async fn open(site: Site<'_>, args: &OpenArgs) -> Result<Report> {
    let cast = Cast::connect(site, &args.traffic).await?;
    let load = Load::new()?;
    let receivers = receivers(&load, &cast.pairs, cast.receivers, args.traffic.mark_read);
    // One second of schedule beyond the measured time, so that it ends loaded.
    let length = Duration::from_secs(args.traffic.warmup + args.traffic.seconds + 1);
    let pairs = u64::from(args.traffic.pairs);
    let (pacer, schedule) = Pacer::start(load.clock, args.rate, pairs, length);
    let mut senders = JoinSet::new();
    for ((index, pair), link) in (0..).zip(&cast.pairs).zip(cast.senders) {
        let (load, pair, pacer) = (Rc::clone(&load), Rc::clone(pair), pacer.clone());
        senders.spawn_local(load.send_open(pair, link, pacer, index));
    }
    let interval = Interval::measure(site, &load, &args.traffic).await?;
    while !pacer.ended() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    schedule.join().map_err(|_| anyhow!("the schedule's thread panicked"))?;
    let tally = load.finish(&cast.pairs, senders, receivers).await;
    let mut report = interval.report(&load, &args.traffic, tally);
    report.rate = Some(args.rate);
    report.generator_lateness = Some(Latency::of(&load.lateness.borrow()));
    Ok(Report::Open(report))
}

/// Everybody who takes part, connected.
struct Cast {
    pairs: Vec<Rc<Pair>>,
    senders: Vec<Link>,
    receivers: Vec<Link>,
}

impl Cast {
    async fn connect(site: Site<'_>, traffic: &TrafficArgs) -> Result<Self> {
        let run = run_number()?;
        let pairs: Vec<_> = (0..usize::from(traffic.pairs))
            .map(|index| Pair::new(run, index, FIRST_USER, traffic.bytes))
            .collect();
        let users: Vec<u64> = pairs.iter().flat_map(|pair| [pair.sender, pair.recipient]).collect();
        site.introduce(&users).await?;
        let receivers = connect_all(recipients(site, &pairs), BUSY).await?;
        let senders = connect_all(senders(site, &pairs), BUSY).await?;
        Ok(Self { pairs, senders, receivers })
    }
}

/// Who sends, and where they connect.
pub(super) fn senders<'a>(
    site: Site<'a>,
    pairs: &'a [Rc<Pair>],
) -> impl Iterator<Item = (&'a Target, u64)> {
    pairs.iter().enumerate().map(move |(index, pair)| (site.sender(index), pair.sender))
}

/// Who receives, and where they connect.
pub(super) fn recipients<'a>(
    site: Site<'a>,
    pairs: &'a [Rc<Pair>],
) -> impl Iterator<Item = (&'a Target, u64)> {
    pairs.iter().enumerate().map(move |(index, pair)| (site.recipient(index), pair.recipient))
}

/// Starts the receivers.
pub(super) fn receivers(
    load: &Rc<Load>,
    pairs: &[Rc<Pair>],
    links: Vec<Link>,
    mark_read: bool,
) -> JoinSet<()> {
    let mut receivers = JoinSet::new();
    for (pair, link) in pairs.iter().zip(links) {
        receivers.spawn_local(Rc::clone(load).receive(Rc::clone(pair), link, mark_read));
    }
    receivers
}

/// What was counted between the warm-up and the drain.
struct Interval {
    elapsed: Duration,
    acknowledged: u64,
    delivered: u64,
    server_cpu: Option<Duration>,
    store_cpu: Option<Duration>,
    client_cpu: Duration,
    server_rss: Option<u64>,
}

/// The counters at one moment.
struct Reading {
    at: Instant,
    acknowledged: u64,
    delivered: u64,
    server_cpu: Option<Duration>,
    store_cpu: Option<Duration>,
    client_cpu: Duration,
}

impl Reading {
    fn take(site: Site<'_>, load: &Load) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            acknowledged: load.acknowledged.get(),
            delivered: load.delivered.get(),
            server_cpu: site.cpu()?,
            store_cpu: site.store_cpu()?,
            client_cpu: Meter::of_self().cpu()?,
        })
    }
}

impl Interval {
    /// Lets the load run: first the warm-up, then what counts.
    async fn measure(site: Site<'_>, load: &Load, traffic: &TrafficArgs) -> Result<Self> {
        tokio::time::sleep(Duration::from_secs(traffic.warmup)).await;
        load.begin_span();
        let from = Reading::take(site, load)?;
        tokio::time::sleep(Duration::from_secs(traffic.seconds)).await;
        let to = Reading::take(site, load)?;
        load.end_span();
        Ok(Self {
            elapsed: to.at - from.at,
            acknowledged: to.acknowledged - from.acknowledged,
            delivered: to.delivered - from.delivered,
            server_cpu: spent(from.server_cpu, to.server_cpu),
            store_cpu: spent(from.store_cpu, to.store_cpu),
            client_cpu: to.client_cpu - from.client_cpu,
            server_rss: site.resident()?,
        })
    }

    /// The report, after the drain: messages sent in time may have been answered late.
    fn report(&self, load: &Load, traffic: &TrafficArgs, tally: Tally) -> Traffic {
        Traffic {
            pairs: traffic.pairs,
            window: None,
            rate: None,
            bytes: traffic.bytes,
            seconds: self.elapsed.as_secs_f64(),
            acknowledged_per_s: per_second(self.acknowledged, self.elapsed),
            delivered_per_s: per_second(self.delivered, self.elapsed),
            to_success: Latency::of(&load.to_success.borrow()),
            to_delivery: Latency::of(&load.to_delivery.borrow()),
            generator_lateness: None,
            server_cpu_us: self.server_cpu.map(|cpu| micros_each(cpu, self.acknowledged)),
            store_cpu_us: self.store_cpu.map(|cpu| micros_each(cpu, self.acknowledged)),
            client_cpu_us: micros_each(self.client_cpu, self.acknowledged),
            server_rss_mib: self.server_rss.map(mib),
            tally,
            troubles: load.troubles.borrow().clone(),
        }
    }
}
