//! `backlog`: one user connects with many messages waiting.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::run_number;
use crate::cli::BacklogArgs;
use crate::frame::Recognised;
use crate::ledger::Tally;
use crate::link::{Incoming, Link};
use crate::load::{Load, Pair};
use crate::report::{Backlog, Report, median};
use crate::target::{BUSY, Site, Target};

/// Messages in flight while they are stored.
const WINDOW: u64 = 256;
/// Nothing that is still fast takes longer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Fills one fresh inbox a round, then empties it by connecting.
pub(super) async fn run(site: Site<'_>, args: &BacklogArgs) -> Result<Report> {
    let run = run_number()?;
    let mut tally = Tally::default();
    let mut troubles = std::collections::BTreeMap::new();
    let (mut upgrades, mut firsts, mut alls) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..usize::from(args.rounds) {
        // Users that no other run has had, so that exactly these messages wait.
        let first = (1 << 33) + (u64::from(run) << 12);
        let pair = Pair::new(run, round, first, args.bytes);
        let load = Load::new()?;
        site.introduce(&[pair.sender, pair.recipient]).await?;
        store(site.sender(round), &load, &pair, args.messages).await?;
        for (what, count) in load.troubles.borrow().iter() {
            *troubles.entry(what.clone()).or_default() += count;
        }

        let target = site.recipient(round);
        let caller = target.caller(pair.recipient);
        let begun = Instant::now();
        let link = target.call(&caller, BUSY).await?;
        upgrades.push(ms(begun.elapsed()));
        let waiting = pair.ledger.borrow().owed();
        let (link, first) = tokio::time::timeout(TIMEOUT, empty(link, &pair, waiting, begun))
            .await
            .with_context(|| format!("{} messages never came", pair.ledger.borrow().owed()))??;
        alls.push(ms(begun.elapsed()));
        firsts.push(ms(first));
        listen_for_more(link, &pair).await?;
        tally.add(&pair.ledger.borrow().tally());
    }
    Ok(Report::Backlog(Backlog {
        messages: args.messages,
        rounds: args.rounds,
        upgrade_ms: median(upgrades),
        first_ms: median(firsts),
        all_ms: median(alls),
        tally,
        troubles,
    }))
}

/// Sends `messages` to the pair's recipient, who is not there.
async fn store(target: &Target, load: &Rc<Load>, pair: &Rc<Pair>, messages: u64) -> Result<()> {
    let link = target.connect(pair.sender, BUSY).await?;
    let mut sender = JoinSet::new();
    sender.spawn_local(Rc::clone(load).send_closed(Rc::clone(pair), link, WINDOW, messages));
    while let Some(ended) = sender.join_next().await {
        ended?;
    }
    let tally = pair.ledger.borrow().tally();
    ensure!(tally.acknowledged > 0, "nothing was accepted: {:?}", load.troubles.borrow());
    Ok(())
}

/// Takes deliveries until all `waiting` came; gives when the first did.
async fn empty(
    mut link: Link,
    pair: &Pair,
    waiting: u64,
    begun: Instant,
) -> Result<(Link, Duration)> {
    let mut first = None;
    loop {
        take(&mut link, pair)?;
        let delivered = pair.ledger.borrow().tally().delivered;
        if delivered > 0 {
            first.get_or_insert_with(|| begun.elapsed());
        }
        if delivered >= waiting {
            return Ok((link, first.unwrap_or_default()));
        }
        link.exchange().await?;
    }
}

/// Enters the deliveries that are here.
fn take(link: &mut Link, pair: &Pair) -> Result<()> {
    let mut ledger = pair.ledger.borrow_mut();
    link.hear(|incoming| {
        let Incoming::Message { id, content } = incoming else {
            return;
        };
        match pair.content.recognise(&content) {
            Recognised::Sequence(sequence) => _ = ledger.deliver(sequence, id),
            Recognised::Foreign | Recognised::Corrupt => ledger.corrupt(),
        }
    })
}

/// What comes now came twice, and belongs in the ledger.
async fn listen_for_more(mut link: Link, pair: &Pair) -> Result<()> {
    let quiet = Duration::from_millis(200);
    while let Ok(more) = tokio::time::timeout(quiet, link.exchange()).await {
        more?;
        take(&mut link, pair)?;
    }
    link.close().await;
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
