//! `start`: how long until the server is ready with a data directory.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cli::ServerArgs;
use crate::report::{Report, Start, mib};
use crate::target::Target;

/// Starts the server twice: as it was stopped, and after it was killed.
pub(super) async fn run(server: &ServerArgs) -> Result<Report> {
    ensure!(server.data.is_some(), "a start is measured with what is in --data");
    // Whatever stopped it last, this time it is asked to.
    Target::start(server).await?.stop().await?;
    let (target, clean_seconds) = started(server).await?;
    let meter = target.meter().context("memory needs a server on this machine")?;
    let after_clean_mib = mib(meter.settled_resident().await?);
    // With SIGKILL.
    drop(target);
    let (target, killed_seconds) = started(server).await?;
    let meter = target.meter().context("memory needs a server on this machine")?;
    let after_killed_mib = mib(meter.settled_resident().await?);
    target.stop().await?;
    Ok(Report::Start(Start { clean_seconds, after_clean_mib, killed_seconds, after_killed_mib }))
}

async fn started(server: &ServerArgs) -> Result<(Target, f64)> {
    let begun = Instant::now();
    let target = Target::start(server).await?;
    Ok((target, begun.elapsed().as_secs_f64()))
}
