//! The way from the newest message of a pair back to those before it.

use std::collections::VecDeque;

use super::log::Log;
use super::record::Kept;
use crate::store::StoreError;

/// A message on the way: its ordinal and its sequence.
pub(super) type Step = (u64, u64);

impl Log {
    /// The messages of a pair from the ordinal `first` on that lie behind the sequence
    /// `after`, rising, without those that are gone. `head` is its newest one.
    pub(super) async fn trail(
        &self,
        head: &Kept,
        first: u64,
        after: u64,
    ) -> Result<Vec<Step>, StoreError> {
        let mut steps = VecDeque::new();
        let mut at = Some(head.clone());
        while let Some(kept) = at {
            let before = kept.chain.before;
            let mut ordinal = kept.chain.ordinal;
            let page = kept.chain.page.iter().rev().copied();
            for seq in std::iter::once(kept.seq).chain(page) {
                if ordinal < first || seq <= after {
                    return Ok(steps.into());
                }
                steps.push_front((ordinal, seq));
                ordinal = ordinal.saturating_sub(1);
            }
            if before <= after || ordinal < first {
                break;
            }
            at = self.chained(head.into(), &[before]).await?.pop();
        }
        Ok(steps.into())
    }

    /// The sequences of those messages of a pair whose names have this print, the newest
    /// first.
    pub(super) async fn printed(&self, head: &Kept, print: u32) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        let mut at = Some(head.clone());
        while let Some(kept) = at {
            if super::record::print(kept.client_id.as_ref()) == print {
                found.push(kept.seq);
            }
            let page = kept.chain.page.iter().zip(&kept.chain.prints).rev();
            found.extend(page.filter(|(_, known)| **known == print).map(|(seq, _)| *seq));
            at = match kept.chain.before {
                0 => None,
                before => self.chained(head.into(), &[before]).await?.pop(),
            };
        }
        Ok(found)
    }
}
