//! Whether what is written is taken: a node whose writes the servers refuse, or leave without
//! an answer, is not ready, though every stream has its leader.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::connect::Patience;
use super::log::Log;
use super::permissions::Told;
use super::tries::Vain;
use super::writes::{Answered, Write, Written};
use crate::ticks::every;

/// How long nothing may succeed before that is a fault: a new leader takes up to nine seconds.
const LONG: Duration = Duration::from_secs(10);

/// How often it is tried whether it works again, while it does not.
const AGAIN: Duration = Duration::from_secs(1);

/// What was tried in vain, and nothing else since: by the stream that should have taken it.
#[derive(Default)]
pub(super) struct Outcomes {
    failing: Mutex<HashMap<String, Failing>>,
    /// What is not allowed, which the servers say beside the answers.
    denied: Option<Told>,
}

#[derive(Clone, Debug)]
struct Failing {
    since: Instant,
    subject: String,
    why: String,
    /// It was refused, and may be again though a write of nothing is not.
    is_full: bool,
    /// Whether the log has it.
    told: bool,
}

impl Outcomes {
    pub(super) fn new(denied: Told) -> Self {
        Self { failing: Mutex::default(), denied: Some(denied) }
    }

    /// A try was in vain.
    pub(super) fn failed(&self, subject: &str, vain: &Vain) {
        let Vain { why, is_full } = vain;
        let mut all = self.failing();
        let failing = all.entry(stream_of(subject).to_owned()).or_insert_with(|| Failing {
            since: Instant::now(),
            subject: subject.to_owned(),
            why: String::new(),
            is_full: false,
            told: false,
        });
        // That no answer came says less than the one that came before.
        if *is_full || !failing.is_full {
            failing.why.clone_from(why);
            failing.is_full = *is_full;
        }
    }

    /// A try had an outcome. Where nothing was written, that says nothing of whether there is room.
    pub(super) fn succeeded(&self, subject: &str, written: bool) {
        let mut all = self.failing();
        let stream = stream_of(subject);
        if !all.is_empty() && all.get(stream).is_some_and(|it| written || !it.is_full) {
            over(all.remove(stream), stream);
        }
    }

    /// Those that fail for so long, and says it once where it is a fault.
    fn longer_than(&self, time: Duration) -> Vec<(String, Failing)> {
        let mut all = self.failing();
        for (stream, failing) in all.iter_mut() {
            if !failing.told && failing.since.elapsed() >= LONG {
                failing.told = true;
                warn!(stream, why = failing.why, "nothing can be stored");
            }
        }
        let long = all.iter().filter(|(_, failing)| failing.since.elapsed() >= time);
        long.map(|(stream, failing)| (stream.clone(), failing.clone())).collect()
    }

    /// Why nothing can be written, where that is so for long.
    pub(super) fn trouble(&self) -> Option<String> {
        let all = self.failing();
        let worst = all.iter().min_by_key(|(_, failing)| failing.since);
        let (stream, failing) = worst.filter(|(_, it)| it.since.elapsed() >= LONG)?;
        let denied = self.denied.as_ref().map(|told| told.borrow());
        let denied = denied.as_deref().and_then(Option::as_ref);
        let denied =
            denied.filter(|it| it.at >= failing.since && stream_of(&it.subject) == stream.as_str());
        let why = denied.map_or_else(|| failing.why.clone(), ToString::to_string);
        let room = if failing.is_full { " (is there room left below max_file_store?)" } else { "" };
        Some(format!(
            "nothing was stored below {stream} for {} s: {why}{room}",
            failing.since.elapsed().as_secs()
        ))
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<String, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn over(failing: Option<Failing>, stream: &str) {
    if let Some(Failing { since, told: true, .. }) = failing {
        info!(stream, seconds = since.elapsed().as_secs(), "writes succeed again");
    }
}

/// What the subjects of a stream begin with: for a partition with its number.
fn stream_of(subject: &str) -> &str {
    let mut dots = subject.match_indices('.').map(|(at, _)| at);
    let (first, second) = (dots.next(), dots.next());
    let kind = first.and_then(|at| subject.get(at..second.unwrap_or(subject.len())));
    let end = if matches!(kind, Some(".msg" | ".rd")) { dots.next() } else { second };
    end.and_then(|end| subject.get(..end)).unwrap_or(subject)
}

/// Tries from time to time whether what was in vain would succeed now. Nobody else may do it:
/// to a node that is not ready nobody is sent.
pub(super) async fn run(log: Log) {
    let mut times = every(AGAIN);
    loop {
        times.tick().await;
        for (stream, failing) in log.outcomes.longer_than(AGAIN) {
            if would_succeed(&log, &failing).await {
                over(log.outcomes.failing().remove(&stream), &stream);
            }
        }
    }
}

async fn would_succeed(log: &Log, failing: &Failing) -> bool {
    let answer = Patience::default().now();
    let knocked = Write::knock(&log.context, &failing.subject, answer).await;
    if !matches!(knocked, Answered::Yes) {
        return false;
    }
    if !failing.is_full {
        return true;
    }
    // A server that keeps a stream alone says to what must not be written that it must not, also
    // where it has no room. So something is written, which goes by itself and means nothing.
    let trial = Write::new(log.names.spent_ticket("trial"), "".into()).for_seconds(1);
    matches!(trial.once(&log.context, answer).await, Ok(Written::At(_)))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn a_subject_tells_its_stream() {
        for (subject, stream) in [
            ("im.msg.3.7.8", "im.msg.3"),
            ("im.rd.0.7.8", "im.rd.0"),
            ("im.pr.7", "im.pr"),
            ("im.au.token.7.abc", "im.au"),
            ("im", "im"),
        ] {
            assert_eq!(stream_of(subject), stream);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_long_is_told_until_it_succeeds() {
        let outcomes = Outcomes::default();
        let vain = |why: &str, is_full| Vain { why: why.to_owned(), is_full };
        outcomes.failed("im.msg.0.7.8", &vain("timed out", false));
        advance(LONG - AGAIN).await;
        outcomes.failed("im.msg.0.7.9", &vain("timed out again", false));
        assert_eq!(outcomes.trouble(), None);
        advance(AGAIN).await;
        outcomes.succeeded("im.msg.1.7.8", true);
        let told = outcomes.trouble().unwrap();
        assert_eq!(told, "nothing was stored below im.msg.0 for 10 s: timed out again");
        outcomes.failed("im.msg.0.7.9", &vain("insufficient resources", true));
        outcomes.failed("im.msg.0.7.9", &vain("timed out", false));
        outcomes.succeeded("im.msg.0.1.2", false);
        assert!(outcomes.trouble().unwrap().contains("insufficient resources (is there room"));
        outcomes.succeeded("im.msg.0.1.2", true);
        assert_eq!(outcomes.trouble(), None);
    }
}
