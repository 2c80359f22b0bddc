//! Reading an inbox, oldest first: the senders' messages merged by their sequences.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::log::Pair;
use super::read_state::ReadState;
use super::record::Kept;
use super::shared::Shared;
use crate::ids::{Sender, UserId};
use crate::store::{Cursor, Entry, PAGE_BYTES, PAGE_MESSAGES, Page, Span, StoreError};

/// Messages that are read at once: a page may end by its bytes.
const PIECE: usize = 64;

impl Shared {
    /// As the contract says.
    pub(super) async fn read_inbox(&self, inbox: UserId, span: Span) -> Result<Page, StoreError> {
        let names = &self.log.names;
        let part = names.part(inbox);
        let span = self.here(part, span).await?;
        let (heads, states) = self.log.inbox(inbox).await?;
        let head = Cursor(names.number(part, newest(&heads, &states)));
        let end = span.until.map_or(head, |until| until.min(head));
        let gone = Cursor(names.number(part, last_gone(&states)));
        let complete = span.unread_only || gone <= span.after;
        let mut page = Page { entries: Vec::new(), up_to: end.max(span.after), head, complete };
        if end <= span.after {
            return Ok(page);
        }
        let after = names.seq_up_to(part, span.after.get());
        let until = names.seq_up_to(part, end.get());
        let mut wanted = Vec::new();
        for (peer, head) in heads {
            let state = states.get(&peer);
            let seqs = self.wanted(&head, state, after, span.unread_only).await?;
            let seqs = seqs.into_iter().filter(|seq| *seq <= until);
            wanted.extend(seqs.map(|seq| (seq, peer)));
        }
        wanted.sort_unstable();
        let mut bytes = 0;
        for (number, piece) in wanted.chunks(PIECE).enumerate() {
            let seqs: Vec<u64> = piece.iter().map(|(seq, _)| *seq).collect();
            let mut found = self.log.messages(part, &seqs).await?.into_iter().peekable();
            for (at, (seq, from)) in piece.iter().enumerate() {
                if number * PIECE + at == PAGE_MESSAGES || bytes >= PAGE_BYTES {
                    page.up_to = Cursor(names.number(part, *seq).saturating_sub(1));
                    return Ok(page);
                }
                let kept = match found.next_if(|kept| kept.seq == *seq) {
                    Some(kept) => Some(kept),
                    None => self.log.chained(Pair { to: inbox, from: *from }, &[*seq]).await?.pop(),
                };
                // It was erased meanwhile.
                let Some(kept) = kept else { continue };
                bytes += kept.message.content.len();
                page.entries.push(Arc::new(self.entry(kept).await?));
            }
        }
        Ok(page)
    }

    /// The same span where its beginning is an id from before a move.
    async fn here(&self, part: u64, span: Span) -> Result<Span, StoreError> {
        let names = &self.log.names;
        if !names.is_old(span.after.get()) {
            return Ok(span);
        }
        let seq = self.log.reached(part, span.after.get()).await?;
        Ok(Span { after: Cursor(names.number(part, seq)), ..span })
    }

    /// The newest message of an inbox, kept or gone.
    pub(super) async fn inbox_head(&self, inbox: UserId) -> Result<Cursor, StoreError> {
        let names = &self.log.names;
        let part = names.part(inbox);
        let stream = names.messages(part);
        let newest = self.log.reads.last(&stream, &names.inbox(inbox)).await?;
        let states = self.log.states(inbox).await?;
        let newest = newest.map_or(0, |raw| raw.seq).max(last_gone(&states));
        Ok(Cursor(names.number(part, newest)))
    }

    /// A message with what is known of its sender.
    pub(super) async fn entry(&self, kept: Kept) -> Result<Entry, StoreError> {
        let sender = self.profile(kept.message.from).await?;
        Ok(Entry { message: kept.message, sender, client_id: kept.client_id })
    }

    /// The sequences of one sender's messages behind `after`, rising.
    async fn wanted(
        &self,
        head: &Kept,
        state: Option<&ReadState>,
        after: u64,
        unread_only: bool,
    ) -> Result<Vec<u64>, StoreError> {
        let (none, newest) = (ReadState::default(), head.chain.ordinal);
        let state = state.unwrap_or(&none);
        let first = match unread_only {
            true => state.read.gaps_up_to(newest).first().map(|(first, _)| *first),
            false => Some(1),
        };
        let Some(first) = first.filter(|_| head.seq > after) else { return Ok(Vec::new()) };
        let steps = self.log.trail(head, first.max(state.gone + 1), after).await?;
        let wanted =
            steps.into_iter().filter(|(ordinal, _)| !unread_only || !state.is_read(*ordinal));
        Ok(wanted.map(|(_, seq)| seq).collect())
    }
}

fn newest(heads: &BTreeMap<Sender, Kept>, states: &BTreeMap<Sender, ReadState>) -> u64 {
    let newest = heads.values().map(|head| head.seq).max().unwrap_or_default();
    newest.max(last_gone(states))
}

fn last_gone(states: &BTreeMap<Sender, ReadState>) -> u64 {
    states.values().map(|state| state.gone_seq).max().unwrap_or_default()
}
