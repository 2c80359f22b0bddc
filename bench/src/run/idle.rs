//! `idle`: memory of connections that do nothing.

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::connect_all;
use crate::cli::IdleArgs;
use crate::link::Link;
use crate::report::{Idle, Report, mib, ratio};
use crate::target::{IDLE, Target};

/// Users of their own, who have no messages.
const FIRST_USER: u64 = 1 << 31;
/// Connections made and ended first, so that what the server sets up once is
/// not charged to those that are counted.
const WARMUP: u64 = 32;

/// Weighs the server without and with the connections.
pub(super) async fn run(target: &Target, args: &IdleArgs) -> Result<Report> {
    let meter = target.meter().context("memory needs a server on this machine: --pid")?;
    for link in links(target, WARMUP).await? {
        link.close().await;
    }
    let before = meter.settled_resident().await?;
    // What a server keeps in memory for its users is part of what their connections cost.
    let held = connected(target, args.connections).await?;
    let after = meter.settled_resident().await?;
    stayed(held).await?;
    Ok(Report::Idle(Idle {
        connections: args.connections,
        before_mib: mib(before),
        after_mib: mib(after),
        kib_per_connection: ratio(after.saturating_sub(before), args.connections) / 1024.0,
    }))
}

/// Connects so many users, who answer pings from now on.
pub(super) async fn connected(target: &Target, count: u64) -> Result<JoinSet<Result<()>>> {
    let mut held = JoinSet::new();
    for link in links(target, count).await? {
        held.spawn_local(hold(link));
    }
    Ok(held)
}

/// Ends connections, all of which must still be there.
pub(super) async fn stayed(mut held: JoinSet<Result<()>>) -> Result<()> {
    anyhow::ensure!(held.try_join_next().is_none(), "the server ended idle connections");
    held.shutdown().await;
    Ok(())
}

async fn links(target: &Target, count: u64) -> Result<Vec<Link>> {
    let users: Vec<u64> = (FIRST_USER..FIRST_USER + count).collect();
    target.introduce(&users).await?;
    connect_all(users.iter().map(|&user| (target, user)), IDLE).await
}

/// Answers pings until the connection ends.
async fn hold(mut link: Link) -> Result<()> {
    loop {
        link.exchange().await?;
        link.hear(|_| {})?;
    }
}
