//! One file a measurement.

mod all;
mod backlog;
mod beside;
mod cluster;
mod connect;
mod crowd;
mod fill;
mod history;
mod idle;
mod publish;
mod revoke;
mod start;
mod traffic;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cli::{Measurement, ServerArgs};
use crate::link::Link;
use crate::report::Report;
use crate::table::Row;
use crate::target::{Caller, Site, Target};

/// The user that the first pair begins with. The pairs are the same in every
/// run, so that a filled data directory holds their conversations.
const FIRST_USER: u64 = 1;

/// Making connections may take so long in all, before something is wrong.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(300);

/// Connections that are being made at the same time. A server that looks for new ones only now
/// and then, as mosquitto does, would take minutes for them one by one.
const TOGETHER: usize = 64;

/// What a run of this program found.
#[derive(Debug, Default)]
pub struct Findings {
    /// One report a measurement, in order.
    pub reports: Vec<Report>,
    /// The table, where it was asked for.
    pub rows: Vec<Row>,
    /// What is to be printed in place of both.
    pub text: Option<String>,
    /// What could not be measured, where the rest could.
    pub failed: Vec<String>,
}

/// Runs what was asked for.
///
/// # Errors
/// The server does not start, refuses connections, or has gone.
pub async fn run(measurement: &Measurement, server: &ServerArgs) -> Result<Findings> {
    match measurement {
        Measurement::All(args) => all::run(args, server).await,
        Measurement::Beside(args) => beside::table(args, server).await,
        Measurement::Curves(args) => beside::curves(args, server).await,
        Measurement::Publish(args) => publish::run(args),
        Measurement::Cluster(args) => cluster::run(args, server).await,
        _ => {
            let report = one(measurement, server).await?;
            Ok(Findings { reports: vec![report], ..Findings::default() })
        }
    }
}

/// Starts a server, measures one thing, stops it.
async fn one(measurement: &Measurement, server: &ServerArgs) -> Result<Report> {
    raise_file_limit()?;
    if let Measurement::Connect(args) = measurement
        && let Some(revocations) = args.revocations
    {
        return connect::by_turns(server, args, revocations).await;
    }
    if let Measurement::Start = measurement {
        return start::run(server).await;
    }
    let target = Target::start(server).await?;
    let report = match measurement {
        Measurement::Pairs(args) => traffic::pairs(Site::of(&target), args).await,
        Measurement::Open(args) => traffic::open(Site::of(&target), args).await,
        Measurement::Backlog(args) => backlog::run(Site::of(&target), args).await,
        Measurement::Idle(args) => idle::run(&target, args).await,
        Measurement::Connect(args) => connect::run(&target, args).await,
        Measurement::Revoke(args) => revoke::run(&target, args).await,
        Measurement::Fill(args) => fill::run(&target, args).await,
        Measurement::History(args) => history::run(Site::of(&target), args).await,
        Measurement::Start
        | Measurement::All(_)
        | Measurement::Beside(_)
        | Measurement::Curves(_)
        | Measurement::Cluster(_)
        | Measurement::Publish(_) => Err(anyhow::anyhow!("this is not one measurement")),
    }?;
    target.stop().await?;
    Ok(report)
}

/// Connects these users, each to the server beside them, some at a time; the connections
/// come in their order.
async fn connect_all<'a>(
    users: impl Iterator<Item = (&'a Target, u64)>,
    buffer: usize,
) -> Result<Vec<Link>> {
    let callers: Vec<(&Target, Caller)> =
        users.map(|(target, user)| (target, target.caller(user))).collect();
    let allowed = raise_file_limit()?;
    ensure!(allowed > callers.len() as u64 + 100, "only {allowed} open files are allowed");
    let connecting = async {
        let mut links = Vec::with_capacity(callers.len());
        for some in callers.chunks(TOGETHER) {
            let some = some.iter().map(|(target, caller)| target.call(caller, buffer));
            links.extend(futures_util::future::try_join_all(some).await?);
        }
        Ok(links)
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.context("connecting took too long")?
}

/// Allows this process, and the server it will start, all the sockets it may have.
fn raise_file_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// A number that tells this run's messages from those of others.
fn run_number() -> Result<u32> {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).context("no randomness")?;
    Ok(u32::from_be_bytes(bytes))
}
