//! The audit log of the one machine, which comes along: its line N lies at the sequence N, so
//! that the chain goes on where it was.

use super::super::audit::{AuditStream, Topic};
use super::load::{Item, Load, WINDOW_SMALL};
use super::target::Target;
use super::{MigrateError, Watch};

/// Lines that are read at once.
const BATCH: usize = 500;

/// The lines of an audit log in their order, each with what it is about. An error says what is
/// wrong and what to do.
pub type Lines = Box<dyn Iterator<Item = Result<(Topic, String), String>> + Send>;

/// Where they come from: from the first one on at each call, and the same ones again.
pub type Acts<'a> = dyn Fn() -> Result<Lines, String> + Send + Sync + 'a;

fn lines(acts: &Acts<'_>) -> Result<Lines, MigrateError> {
    acts().map_err(MigrateError::Acts)
}

/// How many there are, which are all good.
pub(super) fn count(acts: &Acts<'_>) -> Result<u64, MigrateError> {
    let mut count = 0;
    for line in lines(acts)? {
        line.map_err(MigrateError::Acts)?;
        count += 1;
    }
    Ok(count)
}

/// Moves them, or those that are left of them.
pub(super) async fn run(
    target: &Target,
    acts: &Acts<'_>,
    watch: &Watch<'_>,
) -> Result<(), MigrateError> {
    let (log, audit) = (target.log(), AuditStream::of(target.log()));
    let mut load = Load::begin(target.context(), &log.reads, audit.name(), WINDOW_SMALL).await?;
    for (seq, line) in (1..).zip(lines(acts)?) {
        let (topic, text) = line.map_err(MigrateError::Acts)?;
        let subject = audit.subject(&topic);
        load.put(Item { seq, subject, payload: text.into(), name: None }, watch).await?;
    }
    load.finish(watch).await
}

/// In what the stream differs from them. What nodes have written behind them since is none where
/// they `serve`.
pub(super) async fn differences(
    target: &Target,
    acts: &Acts<'_>,
    serve: bool,
) -> Result<Vec<String>, MigrateError> {
    let audit = AuditStream::of(target.log());
    let reach = audit.reach().await?;
    let (mut read, mut count) = (Vec::new().into_iter(), 0);
    for (seq, line) in (1..).zip(lines(acts)?) {
        let (topic, text) = line.map_err(MigrateError::Acts)?;
        count = seq;
        if read.len() == 0 {
            read = audit.some(seq, reach, BATCH).await?.into_iter();
        }
        let same = read.next().is_some_and(|filed| {
            filed.seq == seq && filed.text == text && audit.lies_at(&filed, &topic)
        });
        if !same {
            let what = format!("the line {seq} of the audit log is another one, or missing");
            return Ok(vec![what]);
        }
    }
    match reach > count && !serve {
        true => Ok(vec![format!("the audit log has {} lines more there", reach - count)]),
        false => Ok(Vec::new()),
    }
}
