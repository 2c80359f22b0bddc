//! What a connection does all day.

use std::pin::pin;

use anyhow::Result;

use super::{Load, Pair};
use crate::frame::Recognised;
use crate::link::{Incoming, Link};
use crate::pacer::Pacer;

/// Read messages are marked in lists of so many; the contract allows 1,000.
const MARK_READ_AT: usize = 64;

impl Load {
    pub(super) async fn closed_loop(
        &self,
        pair: &Pair,
        mut link: Link,
        window: u64,
        budget: u64,
    ) -> Result<()> {
        link.address(pair.recipient, &pair.content);
        loop {
            {
                let mut ledger = pair.ledger.borrow_mut();
                let now = self.now();
                let room = window.saturating_sub(ledger.in_flight());
                let left = budget.saturating_sub(ledger.tally().sent);
                let next = if self.stop_sending.get() { 0 } else { room.min(left) };
                link.say((0..next).map(|_| ledger.send(now)));
                if ledger.in_flight() == 0 {
                    break;
                }
            }
            link.exchange().await?;
            self.take_answers(pair, &mut link)?;
        }
        link.close().await;
        Ok(())
    }

    pub(super) async fn open_loop(
        &self,
        pair: &Pair,
        mut link: Link,
        pacer: &Pacer,
        index: u64,
    ) -> Result<()> {
        link.address(pair.recipient, &pair.content);
        loop {
            // In this order: when it has ended, all that is due is due by now.
            let ended = pacer.ended();
            let due = pacer.due(index);
            {
                let mut ledger = pair.ledger.borrow_mut();
                let now = self.now();
                let sent = ledger.tally().sent;
                link.say((sent..due).map(|next| {
                    let scheduled = pacer.scheduled(index, next);
                    self.record(&self.lateness, scheduled, now);
                    ledger.send(scheduled)
                }));
                if ended && ledger.in_flight() == 0 {
                    break;
                }
            }
            tokio::select! {
                () = pacer.changed(index) => {}
                done = link.exchange() => {
                    done?;
                    self.take_answers(pair, &mut link)?;
                }
            }
        }
        link.close().await;
        Ok(())
    }

    pub(super) async fn receive_loop(
        &self,
        pair: &Pair,
        mut link: Link,
        mark_read: bool,
    ) -> Result<()> {
        let mut finished = pin!(self.finish.cancelled());
        let mut unread = Vec::new();
        loop {
            let finish = tokio::select! {
                () = &mut finished => true,
                done = link.exchange() => { done?; false }
            };
            let now = self.now();
            link.hear(|incoming| {
                self.count(&self.frames);
                unread.extend(self.take_delivery(pair, &incoming, now));
            })?;
            if mark_read && (unread.len() >= MARK_READ_AT || (finish && !unread.is_empty())) {
                for ids in unread.chunks(MARK_READ_AT) {
                    link.mark_read(ids);
                }
                unread.clear();
            }
            if finish {
                link.close().await;
                return Ok(());
            }
        }
    }

    fn take_answers(&self, pair: &Pair, link: &mut Link) -> Result<()> {
        let now = self.now();
        link.hear(|incoming| {
            self.count(&self.frames);
            match incoming {
                Incoming::Success(sequence) => {
                    if let Some(sent_at) = pair.ledger.borrow_mut().acknowledge(sequence) {
                        self.count(&self.acknowledged);
                        self.record(&self.to_success, sent_at, now);
                    }
                }
                Incoming::Failure(sequence, code) => {
                    self.trouble(format!("failure {code}"));
                    pair.ledger.borrow_mut().fail(sequence.unwrap_or(u64::MAX));
                }
                Incoming::Message { .. } if pair.mutual => {}
                Incoming::Message { .. } | Incoming::Unknown => {
                    self.trouble("unexpected frame at a sender".to_owned());
                }
            }
        })
    }

    /// Enters a delivery; gives the id to mark read, whoever's message it was.
    fn take_delivery(&self, pair: &Pair, incoming: &Incoming<'_>, now: u64) -> Option<u64> {
        let Incoming::Message { id, content } = incoming else {
            self.trouble("unexpected frame at a receiver".to_owned());
            return None;
        };
        let mut ledger = pair.ledger.borrow_mut();
        match pair.content.recognise(content) {
            Recognised::Sequence(sequence) => {
                if let Some(sent_at) = ledger.deliver(sequence, *id) {
                    self.count(&self.delivered);
                    self.record(&self.to_delivery, sent_at, now);
                }
            }
            Recognised::Corrupt => ledger.corrupt(),
            Recognised::Foreign => {}
        }
        Some(*id)
    }
}
