//! What JetStream does by itself: a plain client publishes to a stream with the settings of
//! imserver's, with a name for each message, and waits for the answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::Context as JetStream;
use async_nats::jetstream::stream::{Config, Republish};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::Servers;
use crate::meter::Meter;
use crate::report::{Latency, Own, micros_each, per_second};

/// The stream, made for one measurement.
const STREAM: &str = "own";

/// How long a message may be in vain: until another leader is chosen, and some.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// What all who publish share.
struct Account {
    answered: Cell<u64>,
    counts: Cell<bool>,
    ends: Cell<bool>,
    times: RefCell<Histogram<u64>>,
}

/// Publishes `bytes` a message to `subjects` subjects, `in_flight` at a time, for `seconds`
/// after `warmup`.
///
/// # Errors
/// A message was not taken.
pub async fn measure(
    servers: &Servers,
    [subjects, in_flight]: [u64; 2],
    bytes: u16,
    [warmup, seconds]: [u64; 2],
) -> Result<Own> {
    let (client, context) = servers.connect().await?;
    let mut settings = servers.stream_of_nodes(&context).await?;
    settings.name = STREAM.to_owned();
    settings.subjects = vec![format!("{STREAM}.*.*")];
    // A stream of nodes of an earlier version.
    settings.republish = settings.republish.map(|republish| Republish {
        source: format!("{STREAM}.*.*"),
        destination: format!("{STREAM}-live"),
        ..republish
    });
    let made = make(&context, settings).await?;
    ensure!(made.num_replicas == super::servers::SERVERS, "not replicated");
    // Measured is from when a leader takes messages.
    let first = Message::new(format!("{STREAM}.0.0"), "first", Bytes::new());
    first.put(&context).await?;

    let account = Rc::new(Account {
        answered: Cell::new(0),
        counts: Cell::new(false),
        ends: Cell::new(false),
        times: RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3)?),
    });
    let mut publishing = JoinSet::new();
    for slot in 0..in_flight {
        let subject = format!("{STREAM}.{to}.{from}", to = 2 * (slot % subjects) + 2, from = 1);
        let payload = Bytes::from(vec![b'x'; usize::from(bytes)]);
        let (context, account) = (context.clone(), Rc::clone(&account));
        publishing.spawn_local(publish(context, account, slot, subject, payload));
    }
    tokio::time::sleep(Duration::from_secs(warmup)).await;
    account.counts.set(true);
    let cpu = || -> Result<[Duration; 2]> {
        let store = servers.meters().iter().map(Meter::cpu).sum::<Result<_>>()?;
        Ok([store, Meter::of_self().cpu()?])
    };
    let (begun, answered, [store, client_cpu]) = (Instant::now(), account.answered.get(), cpu()?);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (elapsed, [store_end, client_end]) = (begun.elapsed(), cpu()?);
    let answered = account.answered.get() - answered;
    account.ends.set(true);
    while let Some(ended) = publishing.join_next().await {
        ended??;
    }
    context.delete_stream(STREAM).await.context("the stream cannot be removed")?;
    drop(client);
    let latency = Latency::of(&account.times.borrow());
    Ok(Own {
        in_flight,
        acknowledged_per_s: per_second(answered, elapsed),
        to_success: latency,
        store_cpu_us: micros_each(store_end.saturating_sub(store), answered),
        client_cpu_us: micros_each(client_end.saturating_sub(client_cpu), answered),
    })
}

/// Makes a stream. Servers that were busy may take each other for gone, for a moment.
async fn make(context: &JetStream, settings: Config) -> Result<Config> {
    let end = Instant::now() + PATIENCE;
    loop {
        match context.create_stream(settings.clone()).await {
            Ok(made) => return Ok(made.cached_info().config.clone()),
            Err(_) if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error).context("no stream was made"),
        }
    }
}

/// Publishes one message after the other.
async fn publish(
    context: JetStream,
    account: Rc<Account>,
    slot: u64,
    subject: String,
    payload: Bytes,
) -> Result<()> {
    for number in 0_u64.. {
        if account.ends.get() {
            break;
        }
        // As long as those of imserver: a letter, two users, a digest.
        let name = format!("p2.1.{slot:016x}{number:016x}");
        let message = Message::new(subject.clone(), &name, payload.clone());
        let counts = account.counts.get();
        let begun = Instant::now();
        message.put(&context).await?;
        account.answered.set(account.answered.get() + 1);
        if counts && !account.ends.get() {
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            account.times.borrow_mut().saturating_record(micros.max(1));
        }
    }
    Ok(())
}

/// A message with a name.
struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Message {
    fn new(subject: String, name: &str, payload: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", name);
        Self { subject, headers, payload }
    }

    /// Publishes until it is taken. Where servers are busy another one may come to lead the
    /// stream: meanwhile there is nobody ("no stream found"), and of what was under way some has
    /// no answer. Its name keeps it from being there twice; what all that takes counts as any
    /// other wait.
    async fn put(&self, context: &JetStream) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let Self { subject, headers, payload } = self;
            let (subject, headers, payload) = (subject.clone(), headers.clone(), payload.clone());
            let sent = context.publish_with_headers(subject, headers, payload).await;
            match sent.context("not sent")?.await {
                Ok(_) => return Ok(()),
                Err(_) if Instant::now() < end => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error).context("a message was not taken"),
            }
        }
    }
}
