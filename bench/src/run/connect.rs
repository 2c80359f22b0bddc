//! `connect`: what a new connection costs.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;

use crate::cli::{ConnectArgs, ServerArgs};
use crate::meter::{Meter, spent};
use crate::report::{Checks, Connect, Latency, Report, micros_each, per_second};
use crate::target::{Caller, IDLE, Target};

/// Users of their own, who have no messages.
const FIRST_USER: u64 = 1 << 32;
/// Connections made first and not counted.
const WARMUP: u64 = 100;
/// Each connection may take so long before something is wrong.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes and ends connections, a few at a time.
pub(super) async fn run(target: &Target, args: &ConnectArgs) -> Result<Report> {
    Ok(Report::Connect(measure(target, args).await?))
}

/// The same to two servers by turns, of which one has revocations in force.
pub(super) async fn by_turns(
    server: &ServerArgs,
    args: &ConnectArgs,
    revocations: u64,
) -> Result<Report> {
    let plain = Target::start(server).await?;
    let revoked = Target::start_revoked(server, revocations).await?;
    let (mut without_ms, mut with_ms) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        let mut turns = [(&plain, &mut without_ms), (&revoked, &mut with_ms)];
        // Who comes first has no advantage: it is the other one the next time.
        if round % 2 == 1 {
            turns.reverse();
        }
        for (target, each_ms) in turns {
            let measured = measure(target, args).await?.server_cpu_ms;
            each_ms.push(measured.context("CPU needs a server on this machine")?);
        }
    }
    plain.stop().await?;
    revoked.stop().await?;
    let (without, with): (f64, f64) = (without_ms.iter().sum(), with_ms.iter().sum());
    let adds_percent = (with / without - 1.0) * 100.0;
    let (rounds, count) = (args.rounds, args.count);
    Ok(Report::Checks(Checks { revocations, rounds, count, without_ms, with_ms, adds_percent }))
}

async fn measure(target: &Target, args: &ConnectArgs) -> Result<Connect> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    // Signed before the clock starts.
    let users: Vec<u64> = (FIRST_USER..FIRST_USER + WARMUP + args.count).collect();
    target.introduce(&users).await?;
    let mut warmup: Vec<Caller> = users.into_iter().map(|user| target.caller(user)).collect();
    let counted = warmup.split_off(usize::try_from(WARMUP)?);
    connect(target, &warmup, args.parallel).await?;

    let server_before = target.meter().map(|meter| meter.cpu()).transpose()?;
    let client_before = Meter::of_self().cpu()?;
    let begun = Instant::now();
    let times = connect(target, &counted, args.parallel).await?;
    let elapsed = begun.elapsed();
    let client = Meter::of_self().cpu()?.saturating_sub(client_before);
    let server = spent(server_before, target.meter().map(|meter| meter.cpu()).transpose()?);

    for time in times {
        histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
    }
    let each_ms = |cpu| micros_each(cpu, args.count) / 1e3;
    Ok(Connect {
        count: args.count,
        parallel: args.parallel,
        per_s: per_second(args.count, elapsed),
        latency: Latency::of(&histogram),
        server_cpu_ms: server.map(each_ms),
        client_cpu_ms: each_ms(client),
    })
}

/// Connects and closes for everybody; gives how long each took to stand.
async fn connect(target: &Target, callers: &[Caller], parallel: u64) -> Result<Vec<Duration>> {
    let waiting = RefCell::new(callers.iter());
    let times = RefCell::new(Vec::with_capacity(callers.len()));
    let next = || waiting.borrow_mut().next();
    let lanes = (0..parallel).map(async |_| -> Result<()> {
        while let Some(caller) = next() {
            let begun = Instant::now();
            let link = tokio::time::timeout(TIMEOUT, target.call(caller, IDLE))
                .await
                .context("a connection took too long")??;
            times.borrow_mut().push(begun.elapsed());
            link.close().await;
        }
        Ok(())
    });
    try_join_all(lanes).await?;
    Ok(times.into_inner())
}
