//! Reading the streams from end to end, and comparing them with what the folder holds.

use std::collections::HashMap;
use std::time::SystemTime;

use super::super::export::Source;
use super::super::log::{Log, Pair};
use super::super::names::Names;
use super::super::read_state::ReadState;
use super::super::record::{Chain, Kept, print};
use super::holdings::Holdings;
use super::plan::Plan;
use super::target::Target;
use super::{Comparison, MigrateError, Step, Watch};
use crate::ids::MessageId;
use crate::store::{Gone, Line, Record, StoreError};

/// Messages and states that are read at once.
const BATCH: usize = 1000;

/// How often it is told how far it has come, in messages.
const EVERY: u64 = 1000;

/// Reads what was moved, and says in what it differs. What came later is passed over.
pub(super) async fn run(
    target: &Target,
    plan: &Plan,
    watch: &Watch<'_>,
) -> Result<Comparison, MigrateError> {
    let log = target.log();
    let before = plan.gone.values();
    let before = before.map(|it| ((Pair { to: it.to, from: it.from }, it.ordinal), it.id));
    let (before, holdings) = (before.collect(), Holdings::default());
    let mut found = Found { plan, log: &log, holdings, before, watch };
    found.profiles().await?;
    for part in 0..log.names.partitions() {
        let states = found.states(part).await?;
        found.messages(part, &states).await?;
    }
    for revocation in log.revocations().await? {
        found.holdings.add(Record::Revocation(revocation));
    }
    let mut differences = plan.holdings.differences(&found.holdings);
    // What has passed while both were read is no difference.
    let now = SystemTime::now();
    let passed: Vec<String> = plan
        .holdings
        .revocations
        .difference(&found.holdings.revocations)
        .filter(|line| match Line::read(line).and_then(Line::record) {
            Ok(Record::Revocation(revocation)) => revocation.is_over(now),
            _ => false,
        })
        .cloned()
        .collect();
    differences.retain(|difference| !passed.iter().any(|line| difference.ends_with(line.as_str())));
    let all = plan.holdings.digest.messages();
    watch(Step::Comparing { done: all, all });
    Ok(Comparison {
        messages: all,
        pairs: plan.holdings.pairs.len() as u64,
        acts: 0,
        digest: plan.holdings.digest.to_string(),
        differences,
    })
}

struct Found<'a> {
    plan: &'a Plan,
    log: &'a Log,
    holdings: Holdings,
    /// The ids of what is gone, by pairs and ordinals.
    before: HashMap<(Pair, u64), MessageId>,
    watch: &'a Watch<'a>,
}

impl Found<'_> {
    async fn profiles(&mut self) -> Result<(), StoreError> {
        let stream = self.log.names.profiles();
        let filter = self.log.names.all_profiles();
        let mut seq = 1;
        loop {
            let found = self.read(&stream, &filter, seq).await?;
            let Some(last) = found.last() else { return Ok(()) };
            seq = last.seq + 1;
            for raw in &found {
                if let Some((user, profile)) = self.log.known(raw)? {
                    self.holdings.add(Record::Profile(user, profile));
                }
            }
        }
    }

    /// What is read and gone of the pairs of a partition.
    async fn states(&mut self, part: u64) -> Result<HashMap<Pair, ReadState>, StoreError> {
        let (stream, filter) = (self.log.names.reads(part), self.log.names.all_reads(part));
        let (mut states, mut seq) = (HashMap::new(), 1);
        loop {
            let found = self.read(&stream, &filter, seq).await?;
            let Some(last) = found.last() else { return Ok(states) };
            seq = last.seq + 1;
            for raw in &found {
                let Some((to, from)) = Names::pair(&raw.subject) else { continue };
                let (pair, state) = (Pair { to, from }, ReadState::parse(&raw.payload)?);
                self.gone(part, pair, &state);
                states.insert(pair, state);
            }
        }
    }

    fn gone(&mut self, part: u64, pair: Pair, state: &ReadState) {
        if state.gone == 0 {
            return;
        }
        let there = self.log.names.id(part, state.gone_seq);
        // With several partitions the place is another one, and no id was kept of it.
        let id = match self.log.names.partitions() {
            1 => there,
            _ => self.before.get(&(pair, state.gone)).copied().or(there),
        };
        if let Some(id) = id {
            let Pair { to, from } = pair;
            self.holdings.add(Record::Gone(Gone { from, to, ordinal: state.gone, id }));
        }
    }

    async fn messages(
        &mut self,
        part: u64,
        states: &HashMap<Pair, ReadState>,
    ) -> Result<(), StoreError> {
        let reach = self.log.reads.reach(&self.log.names.messages(part)).await?;
        let mut source = Source::new(part, reach, BATCH);
        let mut chains: HashMap<Pair, Chain> = HashMap::new();
        let none = ReadState::default();
        loop {
            source.fill(self.log).await?;
            if source.ahead.is_empty() {
                break;
            }
            while let Some(mut kept) = source.ahead.pop_front() {
                if !self.was_moved(&kept) {
                    continue;
                }
                let pair = Pair { to: kept.message.to, from: kept.message.from };
                let state = states.get(&pair).unwrap_or(&none);
                let chain = chains.entry(pair).or_insert_with(|| Chain::first(state.gone + 1));
                let next = chain.next(kept.seq, print(kept.client_id.as_ref()));
                if std::mem::replace(chain, next) != kept.chain {
                    self.holdings.pairs.entry(pair).or_default().broken += 1;
                }
                if let Some(id) = kept.old.and_then(MessageId::new) {
                    kept.message.id = id;
                }
                let read = state.is_read(kept.chain.ordinal);
                self.holdings.add(Record::Message(kept.exported(read)));
                let done = self.holdings.digest.messages();
                if done.is_multiple_of(EVERY) {
                    let all = self.plan.holdings.digest.messages();
                    (self.watch)(Step::Comparing { done, all });
                }
            }
        }
        // What is counted must be what is shown.
        for (pair, chain) in &chains {
            let newest = chain.ordinal - 1;
            let counted = states.get(pair).unwrap_or(&none).unread(newest);
            let holding = self.holdings.pairs.entry(*pair).or_default();
            if holding.unread != counted {
                holding.broken += 1;
            }
        }
        Ok(())
    }

    /// Whether a message was in the folder; others have come since.
    fn was_moved(&self, kept: &Kept) -> bool {
        match self.log.names.partitions() {
            1 => kept.message.id.get() <= self.plan.last_id,
            _ => kept.old.is_some(),
        }
    }

    /// Some of a stream from `seq` on; nothing at its end, as its leader knows it.
    async fn read(
        &self,
        stream: &str,
        filter: &str,
        seq: u64,
    ) -> Result<Vec<super::super::raw::Raw>, StoreError> {
        self.log.reads.from(stream, filter, seq, BATCH).await
    }
}
