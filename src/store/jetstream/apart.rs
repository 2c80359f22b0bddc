//! One message by itself, and whether it was written before.

use tokio::time::Instant;

use super::claims::{Claimed, is_young};
use super::clock::sober_now;
use super::lanes::{Head, Lane};
use super::line::Waiting;
use super::log::Pair;
use super::packets::{body, client_id, name_of, successor};
use super::record::{Kept, print};
use super::writes::{Write, Written};
use crate::message::StoredAt;
use crate::store::{AppendError, Appended, Draft, ResendKey, StoreError};

/// How often others may get in between before it is given up.
const TRIES: usize = 1000;

impl Lane {
    /// Appends a message; `claimed` says what came of taking its name, and `name` by which one
    /// it was perhaps written, where that was done.
    pub(super) async fn append(
        &self,
        waiting: &Waiting,
        claimed: Option<Claimed>,
        name: Option<String>,
    ) -> Result<Appended, AppendError> {
        let (draft, end) = (&waiting.draft, waiting.end());
        let name = name.unwrap_or_else(|| name_of(draft));
        let ResendKey::Client { id, again } = &draft.resend else {
            return self.write(draft, end, name).await;
        };
        let take = || self.shared.claims.take(draft.from, id, draft.to);
        let claimed = claimed.unwrap_or_else(take);
        if claimed == Claimed::Elsewhere {
            return Err(AppendError::IdReused);
        }
        let first = match again {
            false => Ok(None),
            true => self.named(draft).await,
        };
        let mut is_over = false;
        let outcome = match first {
            Ok(Some(first)) => {
                let window = self.shared.rules.dedup_window;
                is_over = !is_young(first.message.stored_at, sober_now(), window);
                same(draft, &first)
            }
            Ok(None) => self.write(draft, end, name).await,
            Err(_) => Err(AppendError::Unavailable),
        };
        // A message from before the window keeps its name from nobody.
        if claimed == Claimed::Now && (is_over || is_refused(&outcome)) {
            self.shared.claims.give_back(draft.from, id);
        }
        outcome
    }

    /// The newest message of a pair with the name of `draft`, however old.
    async fn named(&self, draft: &Draft) -> Result<Option<Kept>, StoreError> {
        let ResendKey::Client { id, .. } = &draft.resend else { return Ok(None) };
        let log = &self.shared.log;
        let Some(head) = log.head(Pair { to: draft.to, from: draft.from }).await? else {
            return Ok(None);
        };
        for seq in log.printed(&head, print(Some(id))).await? {
            let kept = log.chained(Pair::from(&head), &[seq]).await?.pop();
            if let Some(kept) = kept.filter(|kept| kept.client_id.as_ref() == Some(id)) {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    async fn write(
        &self,
        draft: &Draft,
        end: Instant,
        name: String,
    ) -> Result<Appended, AppendError> {
        let outcome = self.try_write(draft, end, name).await;
        outcome.unwrap_or_else(|error| {
            tracing::warn!(%error, "a message could not be stored");
            Err(AppendError::Unavailable)
        })
    }

    async fn try_write(
        &self,
        draft: &Draft,
        end: Instant,
        mut name: String,
    ) -> Result<Result<Appended, AppendError>, StoreError> {
        let pair = Pair { to: draft.to, from: draft.from };
        let log = &self.shared.log;
        let subject = log.names.message(draft.to, draft.from);
        let is_full = self.is_full(draft.to).await?;
        for _ in 0..TRIES {
            if is_full {
                // Nothing is written, but a resend is still known.
                let known = Write::find(&self.shared.log, &subject, &name).await?;
                match known {
                    None => return Ok(Err(AppendError::InboxFull)),
                    Some(seq) => match self.known(draft, seq).await? {
                        Known::Same(outcome) => return Ok(outcome),
                        Known::Over => name = successor(&name, seq),
                    },
                }
                continue;
            }
            let head = self.head(pair).await?;
            let stored_at = self.shared.clock.stamp(pair, head.stored_at);
            let payload = body(draft, &head.next, stored_at, None);
            let write = log.message_write(pair, payload).after(head.seq).named(&name).until(end);
            let began = Instant::now();
            match write.put(log).await? {
                Written::At(seq) => {
                    // Every message is a commit of its own.
                    self.shared.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
                    return self.stored(draft, &head, seq, stored_at).map(Ok);
                }
                Written::Before(seq) => {
                    // Perhaps this very one, whose answer was lost.
                    self.forget_head(pair);
                    match self.known(draft, seq).await? {
                        Known::Same(outcome) => return Ok(outcome),
                        Known::Over => name = successor(&name, seq),
                    }
                }
                Written::Lost => {
                    self.shared.metrics.cluster.overtaken.inc();
                    self.forget_head(pair);
                }
            }
        }
        Err(StoreError::Unavailable)
    }

    /// Takes note of what was written.
    fn stored(
        &self,
        draft: &Draft,
        head: &Head,
        seq: u64,
        stored_at: StoredAt,
    ) -> Result<Appended, StoreError> {
        let shared = &self.shared;
        let part = shared.log.names.part(draft.to);
        shared.wrote(&shared.log.names.messages(part), seq);
        shared.metrics.stored(1, shared.log.names.number(part, seq));
        shared.tallies.stored(draft.to, draft.from, head.next.ordinal);
        let next = head.next.next(seq, print(client_id(draft)));
        let pair = Pair { to: draft.to, from: draft.from };
        self.shared.clock.heard(pair, stored_at);
        self.learn_head(pair, Head { seq, next, stored_at });
        Ok(Appended { id: self.id(part, seq)?, duplicate: false })
    }

    /// Whether what lies at `seq` under the name of a draft is the same packet.
    async fn known(&self, draft: &Draft, seq: u64) -> Result<Known, StoreError> {
        let shared = &self.shared;
        let part = shared.log.names.part(draft.to);
        let duplicate = Appended { id: self.id(part, seq)?, duplicate: true };
        let pair = Pair { to: draft.to, from: draft.from };
        let Some(first) = shared.log.chained(pair, &[seq]).await?.pop() else {
            // Of a message that is gone nobody knows any more what it said, nor when.
            return Ok(Known::Same(Ok(duplicate)));
        };
        let window = match &draft.resend {
            // The name was drawn for this try alone.
            ResendKey::None => {
                return Ok(Known::Same(Ok(Appended { duplicate: false, ..duplicate })));
            }
            ResendKey::Packet(_) => shared.rules.resend_window,
            ResendKey::Client { .. } => shared.rules.dedup_window,
        };
        if !is_young(first.message.stored_at, sober_now(), window) {
            return Ok(Known::Over);
        }
        Ok(Known::Same(same(draft, &first)))
    }
}

/// Whether a name stands for nothing that was written. It does stand for what was written
/// before, perhaps by a first try of the same call whose answer was lost, and for what perhaps
/// was.
fn is_refused(outcome: &Result<Appended, AppendError>) -> bool {
    matches!(outcome, Err(AppendError::IdReused | AppendError::InboxFull))
}

/// What a name that is known stands for.
enum Known {
    /// The same packet, or another one that may not have this name.
    Same(Result<Appended, AppendError>),
    /// One from before its window.
    Over,
}

/// The outcome of a try of `first`, which is another message where the contents differ.
fn same(draft: &Draft, first: &Kept) -> Result<Appended, AppendError> {
    let is_named = matches!(draft.resend, ResendKey::Client { .. });
    if is_named && first.message.content != draft.content {
        return Err(AppendError::IdReused);
    }
    Ok(Appended { id: first.message.id, duplicate: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;

    #[test]
    fn a_name_is_given_back_only_where_nothing_was_written() {
        let id = MessageId::new(1).unwrap();
        for duplicate in [false, true] {
            assert!(!is_refused(&Ok(Appended { id, duplicate })), "{duplicate}");
        }
        assert!(!is_refused(&Err(AppendError::Unavailable)));
        for refused in [AppendError::IdReused, AppendError::InboxFull] {
            assert!(is_refused(&Err(refused)));
        }
    }
}
