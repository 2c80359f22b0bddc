//! `history`: pages of a long conversation over HTTPS, beside those of a short one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde::Deserialize;

use super::{fill, run_number};
use crate::api::Api;
use crate::cli::HistoryArgs;
use crate::frame::Content;
use crate::ledger::Tally;
use crate::load::Pair;
use crate::meter::spent;
use crate::report::{Conversation, History, Latency, Report, micros_each};
use crate::target::Site;

/// Users of their own, whose conversation is this measurement's alone.
const FIRST_USER: u64 = 1 << 34;

/// What is read of a page.
#[derive(Debug, Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    messages: Vec<&'a serde_json::value::RawValue>,
    older: Option<String>,
}

/// Stores a long and a short conversation, then reads pages of both.
pub(super) async fn run(site: Site<'_>, args: &HistoryArgs) -> Result<Report> {
    let run = run_number()?;
    let mut tally = Tally::default();
    let mut troubles = std::collections::BTreeMap::new();
    let mut conversations = Vec::new();
    for (index, messages) in [args.messages, args.beside].into_iter().enumerate() {
        let pairs = conversation(run, index, args.bytes);
        let stored = fill::store(site, &pairs, messages).await?;
        tally.add(&stored.tally);
        for (what, count) in stored.troubles {
            *troubles.entry(what).or_default() += count;
        }
        conversations.push((pairs, messages));
    }
    let mut found = Vec::new();
    for (pairs, messages) in conversations {
        found.push(pages(site, &pairs[0], messages, args).await?);
    }
    let limit = args.limit;
    Ok(Report::History(History { limit, conversations: found, tally, troubles }))
}

/// Two users who write to each other.
fn conversation(run: u32, index: usize, bytes: u16) -> [Rc<Pair>; 2] {
    let one = FIRST_USER + (u64::from(run) << 4) + 2 * index as u64;
    let pair = |sender, recipient, number| {
        let content = Content::new(run, number, usize::from(bytes));
        Rc::new(Pair { sender, recipient, content, ledger: RefCell::default(), mutual: true })
    };
    [pair(one, one + 1, 2 * index), pair(one + 1, one, 2 * index + 1)]
}

/// Asks for the newest page again and again, then for older ones, back to the beginning
/// and from the newest again.
async fn pages(
    site: Site<'_>,
    pair: &Pair,
    messages: u64,
    args: &HistoryArgs,
) -> Result<Conversation> {
    let mut api = site.sender(0).api(pair.sender).await?;
    let path =
        format!("/teaching/api/conversations/{}/messages?limit={}", pair.recipient, args.limit);
    let histogram = || Histogram::<u64>::new_with_bounds(1, 60_000_000, 3);
    let (mut newest, mut older) = (histogram()?, histogram()?);
    // Not measured: the first finds nothing in any cache.
    let (_, beginning) = page(&mut api, &path, args.limit).await?;

    let before = site.cpu()?;
    for _ in 0..args.pages {
        record(&mut newest, page(&mut api, &path, args.limit).await?.0);
    }
    let mut cursor = beginning.clone();
    for _ in 0..args.pages {
        let Some(at) = cursor.or_else(|| beginning.clone()) else {
            break;
        };
        let (time, next) = page(&mut api, &format!("{path}&before={at}"), 1).await?;
        record(&mut older, time);
        cursor = next;
    }
    let cpu = spent(before, site.cpu()?);
    Ok(Conversation {
        messages,
        server_cpu_us: cpu.map(|cpu| micros_each(cpu, newest.len() + older.len())),
        newest: Latency::of(&newest),
        older: Latency::of(&older),
    })
}

/// Gets one page of `least` messages or more: how long it took, and what stands before it.
async fn page(api: &mut Api, path: &str, least: u16) -> Result<(Duration, Option<String>)> {
    let begun = Instant::now();
    let body = api.get(path).await?;
    let time = begun.elapsed();
    let page: Page<'_> = serde_json::from_slice(body)?;
    ensure!(page.messages.len() >= usize::from(least), "a page of {}", page.messages.len());
    Ok((time, page.older))
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
}
