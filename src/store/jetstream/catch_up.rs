//! What was missed of a stream that is followed: noticed, read, and passed over where it is gone.
//!
//! Nothing is passed over but what is gone, and only the leader of a stream knows that: where
//! it has something further on, there is nothing before that; where it has nothing further on, it
//! may not know of it yet.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::warn;

use super::batch::Between;
use super::extent::Reach;
use super::follow::Follower;
use super::followed::{Followed, Kind, Nothing};
use super::look::Seen;
use super::raw::Raw;
use super::telling::BATCH;
use crate::store::StoreError;

/// How long one question to the servers may take: nothing else is told meanwhile, and it is
/// asked again later.
const QUESTION: Duration = Duration::from_secs(2);

impl Follower {
    /// Reads what was waited for in vain.
    pub(super) async fn read_what_is_missing(&mut self) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for number in 0..self.streams.len() {
            let Some(stream) = self.streams.get(number) else { break };
            let is_over = stream.patience().is_some_and(|until| until <= Instant::now());
            let Some(last) = stream.last_early().filter(|_| is_over) else { continue };
            outcome = self.catch_up(number, last).await.and(outcome);
            if let Some(stream) = self.streams.get_mut(number) {
                stream.wait_again(Instant::now());
            }
        }
        self.patience = self.streams.iter().filter_map(Followed::patience).min();
        outcome
    }

    /// What was missed is missed for good where nothing was heard since the last look.
    pub(super) async fn compare(&mut self, (number, last): Seen) -> Result<(), StoreError> {
        let Some(stream) = self.streams.get_mut(number) else { return Ok(()) };
        let behind = last.saturating_add(1).saturating_sub(stream.next);
        self.shared.metrics.cluster.behind(&stream.name, behind);
        if stream.kind == Kind::Revocations {
            // Also where it is on its way: it is looked at once, however it comes.
            return self.catch_up(number, last).await;
        }
        let before = stream.behind.take().filter(|(next, _)| *next == stream.next);
        stream.behind = (last >= stream.next).then_some((stream.next, last));
        match before {
            Some((_, last)) => self.catch_up(number, last).await,
            None => Ok(()),
        }
    }

    /// Takes everything up to `until`, and reads what is missing of it.
    pub(super) async fn catch_up(&mut self, number: usize, until: u64) -> Result<(), StoreError> {
        let Some(stream) = self.streams.get(number) else { return Ok(()) };
        let (kind, from) = (stream.kind, stream.next);
        let mut read = 0;
        let outcome = self.read_up_to(number, until, &mut read).await;
        if read > 0 && kind != Kind::Revocations {
            let stream = self.streams.get(number).map(|stream| stream.name.as_str());
            warn!(stream, from, until, read, "announcements were missed");
            self.shared.metrics.cluster.gap(read);
        }
        outcome
    }

    async fn read_up_to(
        &mut self,
        number: usize,
        until: u64,
        read: &mut u64,
    ) -> Result<(), StoreError> {
        loop {
            self.take_due(number).await?;
            let Some(missed) = self.missed(number, until).await? else { return Ok(()) };
            if *read == 0 {
                // What was in between may be written over: nobody knows what it said.
                match self.streams.get(number).map(|stream| stream.kind) {
                    Some(Kind::Reads(part)) => {
                        self.shared.tallies.forget(&self.shared.log.names, part);
                    }
                    Some(Kind::Profiles) => self.shared.profiles.forget(),
                    Some(Kind::Messages(_) | Kind::Revocations) | None => {}
                }
            }
            for raw in &missed {
                self.take(number, raw).await?;
                *read += 1;
            }
            if self.telling.is_full() {
                self.telling.tell().await;
            }
        }
    }

    /// Reads some of what is missing up to `until`, and passes over what is gone; nothing where
    /// nothing is missing, or is to be had now.
    pub(super) async fn missed(
        &mut self,
        number: usize,
        until: u64,
    ) -> Result<Option<Vec<Raw>>, StoreError> {
        let Some(stream) = self.streams.get(number) else { return Ok(None) };
        let Some(places) = stream.missing(until) else { return Ok(None) };
        let reads = &self.shared.log.reads;
        let (from, until) = places.into_inner();
        let reading = reads.between(&stream.name, &stream.filter, (from, until), BATCH);
        match in_time(reading).await? {
            Between::Some(found) => return Ok(Some(found)),
            Between::Nothing => {}
            Between::NotYet => {
                // It may not lead any more: nobody else says so, and it is asked again.
                let reach = in_time(reads.reach(&stream.name)).await?;
                if !self.is_gone(number, until, reach) {
                    return Ok(None);
                }
            }
        }
        self.pass_over(number, until);
        Ok(Some(Vec::new()))
    }

    /// Whether everything up to `until` is gone of which a leader knows nothing.
    fn is_gone(&mut self, number: usize, until: u64, reach: Reach) -> bool {
        let Some(stream) = self.streams.get_mut(number) else { return false };
        if reach.last < until {
            // Nobody has written that, whoever told of it.
            stream.drop_early_behind(reach.last);
            return false;
        }
        if reach.first > until {
            return true;
        }
        let (said, from) = (stream.has_nothing(until, Instant::now()), stream.next);
        let stream = &stream.name;
        match said {
            Nothing::Now => warn!(stream, from, until, "its leader has nothing there: is it gone?"),
            Nothing::Still => {}
            Nothing::ForLong => warn!(stream, from, until, "nothing lies there any more"),
        }
        said == Nothing::ForLong
    }

    /// Goes on behind a place up to which nothing lies in a stream.
    fn pass_over(&mut self, number: usize, until: u64) {
        if let Some(Kind::Messages(part)) = self.streams.get(number).map(|stream| stream.kind) {
            self.telling.passed_over(part);
        }
        self.pass(number, until);
    }
}

async fn in_time<T>(
    question: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(QUESTION, question).await.unwrap_or(Err(StoreError::Unavailable))
}
