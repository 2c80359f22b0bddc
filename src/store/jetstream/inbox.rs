//! Reading an inbox, oldest first: the senders' messages merged by their sequences.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join;

use super::log::Pair;
use super::read_state::ReadState;
use super::record::Kept;
use super::rests::{Rest, Stop};
use super::shared::Shared;
use super::trail::Step;
use crate::ids::{Sender, UserId};
use crate::store::{Cursor, Entry, PAGE_BYTES, PAGE_MESSAGES, Page, Span, StoreError};

/// Messages that are read at once, and at the beginning of a page, when nobody knows what they
/// weigh.
const PIECE: usize = 64;
const FIRST: usize = 16;

impl Shared {
    /// As the contract says.
    pub(super) async fn read_inbox(&self, inbox: UserId, span: Span) -> Result<Page, StoreError> {
        let names = &self.log.names;
        let part = names.part(inbox);
        let span = self.here(part, span).await?;
        let Look { newest, states, rest } = match self.rests.take(inbox, span) {
            Some(rest) => self.look_on(inbox, rest, span.unread_only).await?,
            None => self.look(inbox, span).await?,
        };
        let Rest { mut stops, mut each } = rest;
        let head = Cursor(names.number(part, newest));
        let end = span.until.map_or(head, |until| until.min(head));
        let gone = Cursor(names.number(part, last_gone(&states)));
        let complete = span.unread_only || gone <= span.after;
        let mut page = Page { entries: Vec::new(), up_to: end.max(span.after), head, complete };
        let (mut at, mut bytes) = (0, 0);
        while let Some(next) = stops.get(at) {
            if at >= PAGE_MESSAGES || bytes >= PAGE_BYTES {
                page.up_to = Cursor(names.number(part, next.seq).saturating_sub(1));
                let next = Span { after: page.up_to, until: Some(end), ..span };
                self.rests.keep(inbox, next, Rest { stops: stops.split_off(at), each });
                break;
            }
            let piece: Vec<_> = stops.iter().skip(at).take(next_piece(at, bytes, each)).collect();
            let seqs: Vec<u64> = piece.iter().map(|stop| stop.seq).collect();
            let mut found = self.log.messages(part, &seqs).await?.into_iter().peekable();
            for Stop { seq, pair, .. } in piece {
                if bytes >= PAGE_BYTES {
                    break;
                }
                at += 1;
                let kept = match found.next_if(|kept| kept.seq == *seq) {
                    Some(kept) => Some(kept),
                    None => self.log.chained(*pair, &[*seq]).await?.pop(),
                };
                // It was erased meanwhile.
                let Some(kept) = kept else { continue };
                bytes += kept.message.content.len();
                page.entries.push(Arc::new(self.entry(kept).await?));
            }
            each = bytes.checked_div(page.entries.len()).unwrap_or_default();
        }
        Ok(page)
    }

    /// Looks through an inbox for what lies in a span.
    async fn look(&self, inbox: UserId, span: Span) -> Result<Look, StoreError> {
        let names = &self.log.names;
        let part = names.part(inbox);
        let (heads, states) = self.log.inbox(inbox).await?;
        let newest = heads.values().map(|head| head.seq).max().unwrap_or_default();
        let newest = newest.max(last_gone(&states));
        let after = names.seq_up_to(part, span.after.get());
        let until = span.until.map_or(newest, |until| names.seq_up_to(part, until.get()));
        let each = mean(heads.values().map(|head| head.message.content.len()));
        let mut stops = Vec::new();
        for (peer, head) in heads.into_iter().filter(|_| after < until) {
            let (pair, state) = (Pair { to: inbox, from: peer }, states.get(&peer));
            let steps = self.wanted(&head, state, after, span.unread_only).await?;
            let steps = steps.into_iter().filter(|(_, seq)| *seq <= until);
            stops.extend(steps.map(|(ordinal, seq)| Stop { seq, pair, ordinal }));
        }
        stops.sort_unstable();
        Ok(Look { newest, states, rest: Rest { stops, each } })
    }

    /// What is still to be read of what the page before has left.
    async fn look_on(
        &self,
        inbox: UserId,
        mut rest: Rest,
        unread_only: bool,
    ) -> Result<Look, StoreError> {
        let (newest, states) = self.reach(inbox).await?;
        rest.stops.retain(|stop| match states.get(&stop.pair.from) {
            Some(state) => {
                state.gone < stop.ordinal && !(unread_only && state.is_read(stop.ordinal))
            }
            None => true,
        });
        Ok(Look { newest, states, rest })
    }

    /// The last sequence of an inbox, kept or gone, and what of it is read and gone.
    async fn reach(&self, inbox: UserId) -> Result<(u64, BTreeMap<Sender, ReadState>), StoreError> {
        let names = &self.log.names;
        let (stream, all) = (names.messages(names.part(inbox)), names.inbox(inbox));
        let newest = self.log.reads.last(&stream, &all);
        let (newest, states) = try_join(newest, self.log.states(inbox)).await?;
        Ok((newest.map_or(0, |raw| raw.seq).max(last_gone(&states)), states))
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
        let (newest, _) = self.reach(inbox).await?;
        Ok(Cursor(names.number(names.part(inbox), newest)))
    }

    /// A message with what is known of its sender.
    pub(super) async fn entry(&self, kept: Kept) -> Result<Entry, StoreError> {
        let sender = self.profile(kept.message.from).await?;
        Ok(Entry { message: kept.message, sender, client_id: kept.client_id })
    }

    /// One sender's messages behind `after`, rising.
    async fn wanted(
        &self,
        head: &Kept,
        state: Option<&ReadState>,
        after: u64,
        unread_only: bool,
    ) -> Result<Vec<Step>, StoreError> {
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
        Ok(wanted.collect())
    }
}

/// What is known of an inbox before a page of it is read.
struct Look {
    /// The last sequence in it, kept or gone.
    newest: u64,
    states: BTreeMap<Sender, ReadState>,
    rest: Rest,
}

/// How many messages are read next for a page that has seen `at` of them, with so many bytes, where
/// they weigh about as much as `each`: as many as fill it. What is read beyond its end is read in
/// vain, and everybody who comes at once reads; large messages would be read again for each page.
fn next_piece(at: usize, bytes: usize, each: usize) -> usize {
    let fill = PAGE_BYTES.saturating_sub(bytes).div_ceil(each.max(1));
    let most = if at == 0 { FIRST } else { PIECE };
    fill.min(PAGE_MESSAGES.saturating_sub(at)).clamp(1, most)
}

/// What a message weighs on average; 0 where there is none.
fn mean(bytes: impl Iterator<Item = usize>) -> usize {
    let (count, sum) = bytes.fold((0, 0), |(count, sum): (usize, usize), bytes| {
        (count.saturating_add(1), sum.saturating_add(bytes))
    });
    sum.checked_div(count).unwrap_or_default()
}

fn last_gone(states: &BTreeMap<Sender, ReadState>) -> u64 {
    states.values().map(|state| state.gone_seq).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_fills_a_page() {
        const LARGE: usize = 16_000;
        assert_eq!(next_piece(0, 0, LARGE), 5, "80,000 bytes close a page");
        assert_eq!(next_piece(4, 4 * LARGE, LARGE), 1);
        assert_eq!(next_piece(0, 0, PAGE_BYTES * 2), 1);
        // Of small ones as many as may be, once it is known that they are.
        assert_eq!((next_piece(0, 0, 200), next_piece(FIRST, FIRST * 200, 200)), (FIRST, PIECE));
        assert_eq!((next_piece(0, 0, 0), next_piece(PAGE_MESSAGES - 1, 0, 0)), (FIRST, 1));
        assert_eq!((mean([].into_iter()), mean([1, 2, 6].into_iter())), (0, 3));
    }
}
