//! What was read, and what is gone, of every pair: each once, in the order of the pairs.

use super::super::log::Log;
use super::super::read_state::ReadState;
use super::load::{Item, Load, WINDOW_SMALL};
use super::plan::Plan;
use super::seats::Departed;
use super::target::Target;
use super::{MigrateError, Step, Watch};
use crate::store::sled::Departure;

/// How often it is told how far it has come, in pairs.
const EVERY: u64 = 500;

/// Writes it, or what is left of it.
pub(super) async fn run(
    target: &Target,
    log: &Log,
    from: &Departure,
    plan: &Plan,
    departed: &Departed,
    watch: &Watch<'_>,
) -> Result<(), MigrateError> {
    let names = &log.names;
    let mut parts = Vec::new();
    for part in 0..names.partitions() {
        let load = Load::begin(target.context(), &log.reads, names.reads(part), WINDOW_SMALL);
        parts.push((load.await?, 0));
    }
    let pairs = plan.states();
    let all = pairs.len() as u64;
    for (pair, done) in pairs.into_iter().zip(1u64..) {
        let Some((load, seq)) = parts.get_mut(names.part(pair.to) as usize) else { continue };
        *seq += 1;
        if !load.has(*seq) {
            let mut state = ReadState::default();
            for (first, last) in from.read_of(pair.to, pair.from)? {
                state.read.add(first, last);
            }
            let (gone, gone_seq) = departed.get(&pair).copied().unwrap_or_default();
            let state = state.with_gone(gone, gone_seq);
            let (subject, payload) = (names.read(pair.to, pair.from), state.write());
            load.put(Item { seq: *seq, subject, payload, name: None }, watch).await?;
        }
        if done.is_multiple_of(EVERY) || done == all {
            watch(Step::Marking { done, all });
        }
    }
    for (load, _) in &mut parts {
        load.finish(watch).await?;
    }
    Ok(())
}
