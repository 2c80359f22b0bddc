//! `revoke`: how long live connections outlive what they were opened with.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::raise_file_limit;
use crate::cli::{Act, RevokeArgs};
use crate::meter::Meter;
use crate::report::{Cut, Report, Revoke, median, micros};
use crate::target::{IDLE, RETIRING, Target};
use crate::wire::{Closed, Wire};

/// Users of their own, who have no messages.
const FIRST_USER: u64 = 1 << 35;
/// Connections being made at the same time; each is watched as soon as it stands.
const PARALLEL: usize = 8;
/// Making ten thousand connections takes a busy machine a while.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(600);
/// Closes that have not come after so long do not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it must stay quiet after the last close, for the closes of others to show.
const QUIET: Duration = Duration::from_secs(2);
/// The close that is waited for.
const TOKEN_REVOKED: u16 = 4403;

/// The end of a connection: of which one, when, and the close.
type End = (usize, Instant, Result<Closed, String>);

/// Opens connections, then takes back one token and everybody's.
pub(super) async fn run(target: &Target, args: &RevokeArgs) -> Result<Report> {
    let concerned = usize::try_from(args.connections)?;
    let all = concerned + usize::try_from(args.beside)?;
    let allowed = raise_file_limit()?;
    ensure!(allowed > all as u64 + 100, "only {allowed} open files are allowed");

    let user = |number: usize| match args.by {
        Act::User if number < concerned => FIRST_USER,
        _ => FIRST_USER + 1 + number as u64,
    };
    let jti = |number: usize| format!("bench-{number}");
    let mut paths = Vec::with_capacity(all);
    for number in 0..all {
        paths.push(match number < concerned {
            true => target.retiring_path_of(user(number), &jti(number))?,
            false => target.token_path_of(user(number))?,
        });
    }
    // Each connection ends once.
    let (told, mut ends) = mpsc::channel(all);
    let mut watching = JoinSet::new();
    let connecting = connect(target, &paths, &told, &mut watching);
    tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .context("connecting took too long")??;
    ensure!(ends.is_empty(), "the server ended idle connections");

    let one = concerned / 2;
    let token = act(target, vec!["token", "revoke", &jti(one)], &mut ends, |n| n == one, 1).await?;
    let path = paths.get(one).context("there is no connection")?;
    let again = target.wire(path, IDLE).await;
    let refused = again.err().is_some_and(|why| why.to_string().contains(" 401 "));

    let subject = FIRST_USER.to_string();
    let by_all = match args.by {
        Act::Key => vec!["key", "retire", RETIRING, "--yes"],
        Act::User => vec!["token", "revoke", "--sub", &subject],
    };
    let covers = |number| number < concerned && number != one;
    let everybody = act(target, by_all, &mut ends, covers, concerned - 1).await?;
    watching.shutdown().await;
    Ok(Report::Revoke(Revoke { by: args.by, beside: args.beside, token, refused, everybody }))
}

/// Opens a connection by each path, and has it watched from then on.
async fn connect(
    target: &Target,
    paths: &[String],
    told: &mpsc::Sender<End>,
    watching: &mut JoinSet<()>,
) -> Result<()> {
    for (first, some) in (0..).step_by(PARALLEL).zip(paths.chunks(PARALLEL)) {
        let some = some.iter().map(|path| target.wire(path, IDLE));
        for (number, wire) in (first..).zip(futures_util::future::try_join_all(some).await?) {
            let told = told.clone();
            watching.spawn_local(async move {
                let (at, end) = watch(wire).await;
                // Nobody listens any more once all is measured.
                let _ = told.send((number, at, end)).await;
            });
        }
    }
    Ok(())
}

/// Answers pings until the connection ends; gives when it did, and the close, or why there
/// was none.
async fn watch(mut wire: Wire) -> (Instant, Result<Closed, String>) {
    let end = loop {
        if let Err(error) = wire.exchange().await {
            break Err(error.to_string());
        }
        match unread(&mut wire) {
            Ok(()) => {}
            Err(error) => break error.downcast::<Closed>().map_err(|error| error.to_string()),
        }
    };
    // Before the socket is given back, which takes its own time.
    (Instant::now(), end)
}

/// Skips all that is here.
fn unread(wire: &mut Wire) -> Result<()> {
    while wire.next_payload()?.is_some() {}
    Ok(())
}

/// Runs the server's command line and times the closes, from its start on.
async fn act(
    target: &Target,
    command: Vec<&str>,
    ends: &mut mpsc::Receiver<End>,
    covers: impl Fn(usize) -> bool,
    concerned: usize,
) -> Result<Cut> {
    let server = target.meter().context("this needs a server that is started here")?;
    let cpu = || Ok::<_, anyhow::Error>([server.cpu()?, Meter::of_self().cpu()?]);
    let before = cpu()?;
    let mut after = before;
    let begun = Instant::now();
    let running = target.command(&command);
    tokio::pin!(running);
    let mut done = None;
    let (mut closed, mut troubles) = (Vec::with_capacity(concerned), BTreeMap::new());
    loop {
        let wait = if closed.len() < concerned { PATIENCE } else { QUIET };
        tokio::select! {
            ended = &mut running, if done.is_none() => done = Some(ended?.duration_since(begun)),
            end = ends.recv() => {
                let Some((number, at, end)) = end else { break };
                match end {
                    Ok(Closed { code: TOKEN_REVOKED, .. }) if covers(number) => {
                        closed.push(at.saturating_duration_since(begun));
                        if closed.len() == concerned {
                            after = cpu()?;
                        }
                    }
                    other => {
                        let whose = if covers(number) { "concerned" } else { "not concerned" };
                        let how = other.map_or_else(|why| why, |close| close.to_string());
                        *troubles.entry(format!("{whose}: {how}")).or_default() += 1;
                    }
                }
            }
            () = tokio::time::sleep(wait), if done.is_some() => break,
        }
    }
    let ms = |time: &Duration| micros(*time) / 1e3;
    let command_ms = done.as_ref().map(ms).context("the command did not end")?;
    let ([server, client], [server_before, client_before]) = (after, before);
    let spent = |after: Duration, before| ms(&after.saturating_sub(before));
    let times: Vec<f64> = closed.iter().map(ms).collect();
    Ok(Cut {
        concerned: concerned as u64,
        closed: closed.len() as u64,
        first_ms: times.iter().copied().reduce(f64::min),
        median_ms: (!times.is_empty()).then(|| median(times.clone())),
        last_ms: times.into_iter().reduce(f64::max),
        command_ms,
        server_cpu_ms: spent(server, server_before),
        client_cpu_ms: spent(client, client_before),
        troubles,
    })
}
