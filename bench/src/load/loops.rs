//! What a connection does all day.

use std::pin::pin;

use anyhow::Result;

use super::{Load, Pair};
use crate::frame::{Recognised, write_mark_read};
use crate::pacer::Pacer;
use crate::scan::{Incoming, scan};
use crate::wire::{MASK, Wire};

/// Read messages are marked in lists of so many; the contract allows 1,000.
const MARK_READ_AT: usize = 64;

impl Load {
    pub(super) async fn closed_loop(
        &self,
        pair: &Pair,
        mut wire: Wire,
        window: u64,
        budget: u64,
    ) -> Result<()> {
        let template = pair.template();
        loop {
            {
                let mut ledger = pair.ledger.borrow_mut();
                let now = self.now();
                while ledger.in_flight() < window
                    && ledger.tally().sent < budget
                    && !self.stop_sending.get()
                {
                    template.write(ledger.send(now), wire.out());
                }
                if ledger.in_flight() == 0 {
                    break;
                }
            }
            wire.exchange().await?;
            self.take_answers(pair, &mut wire)?;
        }
        wire.close().await;
        Ok(())
    }

    pub(super) async fn open_loop(
        &self,
        pair: &Pair,
        mut wire: Wire,
        pacer: &Pacer,
        index: u64,
    ) -> Result<()> {
        let template = pair.template();
        loop {
            // In this order: when it has ended, all that is due is due by now.
            let ended = pacer.ended();
            let due = pacer.due(index);
            {
                let mut ledger = pair.ledger.borrow_mut();
                let now = self.now();
                while ledger.tally().sent < due {
                    let scheduled = pacer.scheduled(index, ledger.tally().sent);
                    self.record(&self.lateness, scheduled, now);
                    template.write(ledger.send(scheduled), wire.out());
                }
                if ended && ledger.in_flight() == 0 {
                    break;
                }
            }
            tokio::select! {
                () = pacer.changed(index) => {}
                done = wire.exchange() => {
                    done?;
                    self.take_answers(pair, &mut wire)?;
                }
            }
        }
        wire.close().await;
        Ok(())
    }

    pub(super) async fn receive_loop(
        &self,
        pair: &Pair,
        mut wire: Wire,
        mark_read: bool,
    ) -> Result<()> {
        let mut finished = pin!(self.finish.cancelled());
        let mut unread = Vec::new();
        loop {
            let finish = tokio::select! {
                () = &mut finished => true,
                done = wire.exchange() => { done?; false }
            };
            let now = self.now();
            while let Some(text) = wire.next_text()? {
                self.count(&self.frames);
                if let Some(id) = self.take_delivery(pair, text, now) {
                    unread.push(id);
                }
            }
            if mark_read && (unread.len() >= MARK_READ_AT || (finish && !unread.is_empty())) {
                for ids in unread.chunks(MARK_READ_AT) {
                    write_mark_read(pair.recipient, ids, MASK, wire.out());
                }
                unread.clear();
            }
            if finish {
                wire.close().await;
                return Ok(());
            }
        }
    }

    fn take_answers(&self, pair: &Pair, wire: &mut Wire) -> Result<()> {
        let now = self.now();
        while let Some(text) = wire.next_text()? {
            self.count(&self.frames);
            match scan(text) {
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
        }
        Ok(())
    }

    /// Enters a delivery; gives the id to mark read, whoever's message it was.
    fn take_delivery(&self, pair: &Pair, text: &[u8], now: u64) -> Option<u64> {
        let Incoming::Message { id, content } = scan(text) else {
            self.trouble("unexpected frame at a receiver".to_owned());
            return None;
        };
        let mut ledger = pair.ledger.borrow_mut();
        match pair.content.recognise(&content) {
            Recognised::Sequence(sequence) => {
                if let Some(sent_at) = ledger.deliver(sequence, id) {
                    self.count(&self.delivered);
                    self.record(&self.to_delivery, sent_at, now);
                }
            }
            Recognised::Corrupt => ledger.corrupt(),
            Recognised::Foreign => {}
        }
        Some(id)
    }
}
