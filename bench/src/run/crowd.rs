//! `crowd`: many users come at once, half of them with much unread, and one pair goes on.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinSet;

use super::run_number;
use crate::frame::Recognised;
use crate::ledger::Ledger;
use crate::link::{Incoming, Link};
use crate::load::{Load, Pair};
use crate::meter::spent;
use crate::report::{Crowd, Latency, Rush};
use crate::target::{BUSY, Caller, IDLE, Site, Target};

/// Users who come at once; every second one has this many messages of this size unread.
const USERS: usize = 600;
const UNREAD: u64 = 64;
const BYTES: u16 = 16_000;

/// The same of the pair that goes on.
const QUIET: u16 = 200;

/// Inboxes that are filled at the same time, and messages in flight to each.
const FILLING: usize = 8;
const WINDOW: u64 = 16;

/// How often they come.
const ROUNDS: usize = 3;

/// How long the pair is alone before and behind them.
const ALONE: Duration = Duration::from_secs(1);

/// When somebody who was turned away comes again.
const AGAIN: Duration = Duration::from_secs(1);

/// Who has not got everything by then is counted, and waited for no longer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Fills the inboxes and has all come to one node, several times: nobody marks anything as read.
pub(super) async fn run(site: Site<'_>) -> Result<Crowd> {
    let target = site.sender(0);
    let (run, first) = (run_number()?, 1 << 34);
    let first = first + (u64::from(run) << 12);
    let pairs: Vec<_> = (0..USERS / 2).map(|at| Pair::new(run, at, first, BYTES)).collect();
    fill(target, &pairs).await?;
    let strangers = first + 3 * USERS as u64..;
    let mut found = Crowd { users: USERS as u64, unread: UNREAD, bytes: BYTES, ..Crowd::default() };
    for round in 0..ROUNDS {
        // One that says the same again would be taken for a resend.
        let quiet = Pair::new(run, USERS + round, first, QUIET);
        let mut callers = Vec::new();
        for (pair, stranger) in pairs.iter().zip(strangers.clone()) {
            callers.push((target.caller(pair.recipient), Some(Rc::clone(pair))));
            callers.push((target.caller(stranger), None));
        }
        rush(site, callers, &quiet, &mut found).await?;
    }
    Ok(found)
}

/// Stores what will be unread.
async fn fill(target: &Target, pairs: &[Rc<Pair>]) -> Result<()> {
    for some in pairs.chunks(FILLING) {
        let load = Load::new()?;
        let mut senders = JoinSet::new();
        for pair in some {
            let link = target.connect(pair.sender, BUSY).await?;
            senders.spawn_local(Rc::clone(&load).send_closed(
                Rc::clone(pair),
                link,
                WINDOW,
                UNREAD,
            ));
        }
        while let Some(ended) = senders.join_next().await {
            ended?;
        }
        let stored: u64 = some.iter().map(|pair| pair.ledger.borrow().tally().acknowledged).sum();
        if stored != UNREAD * some.len() as u64 {
            bail!("not all was stored: {:?}", load.troubles.borrow());
        }
    }
    Ok(())
}

/// Has all come at once while one pair sends one message after the other.
async fn rush(
    site: Site<'_>,
    callers: Vec<(Caller, Option<Rc<Pair>>)>,
    quiet: &Rc<Pair>,
    found: &mut Crowd,
) -> Result<()> {
    let (target, load) = (site.sender(0), Load::new()?);
    let (mut senders, mut receivers) = (JoinSet::new(), JoinSet::new());
    let link = target.connect(quiet.recipient, BUSY).await?;
    receivers.spawn_local(Rc::clone(&load).receive(Rc::clone(quiet), link, true));
    let link = target.connect(quiet.sender, BUSY).await?;
    senders.spawn_local(Rc::clone(&load).send_closed(Rc::clone(quiet), link, 1, u64::MAX));
    tokio::time::sleep(ALONE).await;

    load.begin_span();
    let (cpu, store_cpu) = (site.cpu()?, site.store_cpu()?);
    let begun = Instant::now();
    let again = Cell::new(0);
    let coming = callers.iter().map(async |(caller, pair)| {
        loop {
            match come(target, caller, pair.as_deref(), begun).await {
                Ok((link, connected)) => return (link, connected, pair.as_ref()),
                Err(_) => again.set(again.get() + 1),
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
    let mut coming: FuturesUnordered<_> = coming.collect();
    let mut came = Vec::new();
    let all = async {
        while let Some(one) = coming.next().await {
            came.push(one);
        }
    };
    let _in_time = tokio::time::timeout(TIMEOUT, all).await;
    drop(coming);
    let all = begun.elapsed();
    let (cpu, store_cpu) = (spent(cpu, site.cpu()?), spent(store_cpu, site.store_cpu()?));
    tokio::time::sleep(ALONE).await;
    load.end_span();

    let of_pair = load.finish(std::slice::from_ref(quiet), senders, receivers).await;
    found.tally.add(&of_pair);
    for (what, count) in load.troubles.borrow().iter() {
        *found.troubles.entry(what.clone()).or_default() += count;
    }
    let connected = came.iter().map(|(_, connected, _)| *connected).max().unwrap_or_default();
    let missing = callers.len().saturating_sub(came.len()) as u64;
    for (link, _, pair) in came {
        if let Some(pair) = pair {
            found.tally.add(&pair.ledger.borrow().tally());
        }
        link.close().await;
    }
    let (to_success, to_delivery) = (load.to_success.borrow(), load.to_delivery.borrow());
    found.rounds.push(Rush {
        connected_s: connected.as_secs_f64(),
        all_s: all.as_secs_f64(),
        again: again.get(),
        missing,
        to_success: Latency::of(&to_success),
        to_delivery: Latency::of(&to_delivery),
        server_cpu_s: cpu.map(|cpu| cpu.as_secs_f64()),
        store_cpu_s: store_cpu.map(|cpu| cpu.as_secs_f64()),
    });
    Ok(())
}

/// Connects, and takes what is unread.
async fn come(
    target: &Target,
    caller: &Caller,
    pair: Option<&Pair>,
    begun: Instant,
) -> Result<(Link, Duration)> {
    let Some(pair) = pair else {
        return Ok((target.call(caller, IDLE).await?, begun.elapsed()));
    };
    let mut link = target.call(caller, BUSY).await?;
    let connected = begun.elapsed();
    // As it was when all was stored.
    let mut ledger = Ledger::default();
    for _ in 0..UNREAD {
        let sequence = ledger.send(0);
        ledger.acknowledge(sequence);
    }
    pair.ledger.replace(ledger);
    take_all(&mut link, pair).await?;
    Ok((link, connected))
}

/// Takes deliveries until everything of the pair is here.
async fn take_all(link: &mut Link, pair: &Pair) -> Result<()> {
    loop {
        link.hear(|incoming| {
            let Incoming::Message { id, content } = incoming else {
                return;
            };
            let mut ledger = pair.ledger.borrow_mut();
            match pair.content.recognise(&content) {
                Recognised::Sequence(sequence) => _ = ledger.deliver(sequence, id),
                Recognised::Foreign | Recognised::Corrupt => ledger.corrupt(),
            }
        })?;
        if pair.ledger.borrow().owed() == 0 {
            return Ok(());
        }
        link.exchange().await?;
    }
}
