//! `cluster`: two nodes on three NATS servers, beside what JetStream does by itself.

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;

use super::{Findings, all, backlog, crowd, history, idle, raise_file_limit, traffic};
use crate::cli::{ClusterArgs, ClusterPart, Measurement, PairsArgs, ServerArgs, TrafficArgs};
use crate::cluster::{self, Servers};
use crate::report::{Between, Cluster, Idle, Own, Report, Traffic};
use crate::table;
use crate::target::{Site, Target};

/// Nodes, over which the users of each pair are spread.
const NODES: usize = 2;

/// Measures each part; those with traffic between two measurements of JetStream by itself.
pub(super) async fn run(args: &ClusterArgs, server: &ServerArgs) -> Result<Findings> {
    raise_file_limit()?;
    let parts = match &args.part[..] {
        [] => ClusterPart::value_variants(),
        parts => parts,
    };
    let mut found = Cluster::default();
    if parts.contains(&ClusterPart::Idle) {
        let target = Target::start(&ServerArgs { data: None, ..server.clone() }).await?;
        found.idle_alone = Some(idle_of(&target).await?);
        target.stop().await?;
    }
    let servers = Servers::start(args.nats_server.as_deref()).await?;
    found.nats = servers.version().to_owned();
    let (store, settings) = (servers.meters(), servers.settings(args.partitions));
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Target::start_node(server, &settings).await?);
    }
    let site = Site::of_nodes(&nodes, &store).context("no nodes")?;
    for part in parts {
        match part {
            ClusterPart::One => found.one = Some(between(&servers, site, args, 1, 1).await?),
            ClusterPart::Narrow => {
                found.narrow = Some(between(&servers, site, args, args.pairs, 1).await?);
            }
            ClusterPart::Wide => {
                found.wide = Some(between(&servers, site, args, args.pairs, 16).await?);
            }
            ClusterPart::Backlog => found.backlog = Some(backlog_of(site).await?),
            ClusterPart::History => found.history = Some(history_of(site).await?),
            ClusterPart::Idle => {
                found.idle_node = Some(idle_of(nodes.first().context("no nodes")?).await?);
            }
            ClusterPart::Crowd => {
                let crowd = crowd::run(site).await?;
                say(&crowd.to_string());
                found.crowd = Some(crowd);
            }
        }
    }
    for node in nodes {
        node.stop().await?;
    }
    let text = table::cluster(&found);
    let report = Report::Cluster(Box::new(found));
    Ok(Findings { reports: vec![report], text: Some(text), ..Findings::default() })
}

/// Messages through the nodes, between two measurements of JetStream with as many in flight.
async fn between(
    servers: &Servers,
    site: Site<'_>,
    args: &ClusterArgs,
    pairs: u16,
    window: u64,
) -> Result<Between> {
    let ClusterArgs { bytes, seconds, warmup, .. } = *args;
    let own = async || -> Result<Own> {
        let shape = [u64::from(pairs), u64::from(pairs) * window];
        let own = cluster::measure(servers, shape, bytes, [1, seconds]).await?;
        say(&own.to_string());
        Ok(own)
    };
    let before = own().await?;
    let traffic = TrafficArgs { pairs, bytes, seconds, warmup, mark_read: true };
    let report = traffic::pairs(site, &PairsArgs { traffic, window, idle: 0 }).await?;
    say(&report.to_string());
    let Report::Pairs(nodes) = report else { bail!("this is no traffic") };
    Ok(Between { before, nodes: Traffic { window: Some(window), ..nodes }, after: own().await? })
}

async fn backlog_of(site: Site<'_>) -> Result<crate::report::Backlog> {
    let line = all::parse(&["backlog", "--messages=200", "--rounds=9"])?;
    let Measurement::Backlog(args) = line else { bail!("this is no backlog") };
    let report = backlog::run(site, &args).await?;
    say(&report.to_string());
    let Report::Backlog(found) = report else { bail!("this is no backlog") };
    Ok(found)
}

async fn history_of(site: Site<'_>) -> Result<crate::report::History> {
    let line = ["history", "--messages=2000", "--beside=100", "--pages=300"];
    let Measurement::History(args) = all::parse(&line)? else { bail!("this is no history") };
    let report = history::run(site, &args).await?;
    say(&report.to_string());
    let Report::History(found) = report else { bail!("this is no history") };
    Ok(found)
}

async fn idle_of(target: &Target) -> Result<Idle> {
    let Measurement::Idle(args) = all::parse(&["idle"])? else { bail!("this is no idling") };
    let report = idle::run(target, &args).await?;
    say(&report.to_string());
    let Report::Idle(found) = report else { bail!("this is no idling") };
    Ok(found)
}

/// Shows what was found as soon as it is there, beside the table.
#[expect(clippy::print_stderr, reason = "progress of a run that takes minutes")]
fn say(what: &str) {
    eprint!("{what}");
}
