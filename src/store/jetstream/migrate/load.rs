//! Writing a stream from one end to the other, many messages at once, each at the sequence
//! that is meant for it or not at all.
//!
//! Every write names the sequence it must come behind, and what lies at a sequence is the
//! same in every try. So whatever was lost on the way, arrives late or twice, a stream holds
//! the beginning of what is to be in it, and where it ends is where to go on.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::super::packets::successor;
use super::super::reads::Reads;
use super::{MigrateError, Step, Watch};
use crate::store::StoreError;

/// Messages on their way at once: what a stream's leader takes in some tenths of a second.
pub(super) const WINDOW: usize = 4000;

/// The same for what is not messages.
pub(super) const WINDOW_SMALL: usize = 1000;

/// Bytes on their way at once, for a stream of long messages.
const WINDOW_BYTES: usize = 16 << 20;

/// How long a stream may stand still before the move is broken off.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(250);

/// Something that is to lie at one sequence.
pub(super) struct Item {
    pub(super) seq: u64,
    pub(super) subject: String,
    pub(super) payload: Bytes,
    /// The name by which the stream knows it again, where it is young.
    pub(super) name: Option<String>,
}

/// An item that was sent, and what will be heard of it.
struct Flying {
    item: Item,
    ack: Option<PublishAckFuture>,
}

/// One stream while it is filled.
pub(super) struct Load {
    context: Context,
    reads: Reads,
    stream: String,
    /// Up to where it is filled.
    filled: u64,
    /// When it was last seen to have grown.
    grown: Instant,
    /// What was last heard of a write that failed.
    trouble: String,
    window: VecDeque<Flying>,
    window_max: usize,
    bytes: usize,
}

impl Load {
    /// Looks at how far a stream was filled before.
    pub(super) async fn begin(
        context: &Context,
        reads: &Reads,
        stream: String,
        window_max: usize,
    ) -> Result<Self, StoreError> {
        let filled = reads.reach(&stream).await?.last;
        Ok(Self {
            context: context.clone(),
            reads: reads.clone(),
            stream,
            filled,
            grown: Instant::now(),
            trouble: "nothing was heard".to_owned(),
            window: VecDeque::new(),
            window_max,
            bytes: 0,
        })
    }

    /// Whether something lies at a sequence already.
    pub(super) fn has(&self, seq: u64) -> bool {
        seq <= self.filled
    }

    /// Sends an item, in the order of their sequences. Waits while too much is on its way.
    pub(super) async fn put(&mut self, item: Item, watch: &Watch<'_>) -> Result<(), MigrateError> {
        if self.has(item.seq) {
            return Ok(());
        }
        while self.window.len() >= self.window_max || self.bytes >= WINDOW_BYTES {
            self.land(watch).await?;
        }
        self.bytes += item.payload.len();
        let ack = self.send(&item).await.ok();
        self.window.push_back(Flying { item, ack });
        Ok(())
    }

    /// Waits until all is there.
    pub(super) async fn finish(&mut self, watch: &Watch<'_>) -> Result<(), MigrateError> {
        while !self.window.is_empty() {
            self.land(watch).await?;
        }
        Ok(())
    }

    /// Waits for the first that is on its way.
    async fn land(&mut self, watch: &Watch<'_>) -> Result<(), MigrateError> {
        let Some(first) = self.window.front_mut() else { return Ok(()) };
        let outcome = match first.ack.take() {
            Some(ack) => ack.await.map_err(|error| error.to_string()),
            None => Err("it could not be sent".to_owned()),
        };
        match outcome {
            Ok(ack) if ack.sequence == first.item.seq => {
                self.pop();
                Ok(())
            }
            Ok(ack) if ack.duplicate => {
                // Another message of the same name is as young as this one: it keeps it, and
                // this one is the packet that follows it, as with a living client.
                let name = first.item.name.as_deref().unwrap_or_default();
                first.item.name = Some(successor(name, ack.sequence));
                self.again(watch).await
            }
            Ok(ack) => Err(MigrateError::Store(StoreError::Damaged(format!(
                "what was meant for {} of the stream {} lies at {}: somebody else writes to it",
                first.item.seq, self.stream, ack.sequence
            )))),
            Err(trouble) => {
                self.trouble = trouble;
                self.again(watch).await
            }
        }
    }

    fn pop(&mut self) {
        if let Some(landed) = self.window.pop_front() {
            self.bytes = self.bytes.saturating_sub(landed.item.payload.len());
            self.filled = landed.item.seq;
            self.grown = Instant::now();
        }
    }

    /// Asks how far the stream reaches, and sends all behind that anew.
    async fn again(&mut self, watch: &Watch<'_>) -> Result<(), MigrateError> {
        for flying in &mut self.window {
            flying.ack = None;
        }
        loop {
            let waited = self.grown.elapsed();
            if waited > PATIENCE {
                let (stream, why) = (self.stream.clone(), self.trouble.clone());
                return Err(MigrateError::Stalled { stream, why });
            }
            watch(Step::Waiting { stream: &self.stream, waited });
            sleep(AGAIN).await;
            let Ok(reach) = self.reads.glance(&self.stream).await else { continue };
            // A new leader may not have come that far yet.
            if reach.last < self.filled {
                continue;
            }
            while self.window.front().is_some_and(|first| first.item.seq <= reach.last) {
                self.pop();
            }
            if self.send_all().await.is_ok() {
                return Ok(());
            }
        }
    }

    async fn send_all(&mut self) -> Result<(), PublishError> {
        let mut window = std::mem::take(&mut self.window);
        let mut outcome = Ok(());
        for flying in &mut window {
            match self.send(&flying.item).await {
                Ok(ack) => flying.ack = Some(ack),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.window = window;
        outcome
    }

    async fn send(&self, item: &Item) -> Result<PublishAckFuture, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Sequence", (item.seq - 1).to_string());
        if let Some(name) = &item.name {
            headers.insert("Nats-Msg-Id", name.as_str());
        }
        let (subject, payload) = (item.subject.clone(), item.payload.clone());
        let sending = self.context.publish_with_headers(subject, headers, payload);
        // While there is no connection nothing goes out, and the line is soon full.
        timeout(AGAIN * 4, sending)
            .await
            .unwrap_or_else(|_| Err(PublishError::new(PublishErrorKind::TimedOut)))
    }
}
