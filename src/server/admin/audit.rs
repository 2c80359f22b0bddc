//! `GET /admin/audit`: the log of what administrators did, as it stands on the disk or on the
//! servers that all nodes share.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tracing::error;

use super::answer::{self, Broken, Flow};
use super::{Admin, Call};
use crate::admin::audit::{AuditError, Fault, Line, Lines};
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;

/// Who is sent the audit log, or the ledger in it, at once. Each takes a thread for as long as
/// they like to read, of those that also read messages.
const READERS: usize = 4;

/// Places for them.
pub(in crate::server) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(READERS))
}

impl Admin {
    /// Every line, or those of one act (`?act=`).
    pub(super) async fn audit(self: &Arc<Self>, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let act = call.query.get("act")?.map(str::to_owned);
        let wanted =
            move |line: Line| act.as_ref().is_none_or(|act| *act == line.act).then_some(line.text);
        self.lines_of_audit(wanted).await
    }

    /// Streams what `each` makes of every line of the log.
    pub(super) async fn lines_of_audit(
        self: &Arc<Self>,
        each: impl Fn(Line) -> Option<String> + Send + 'static,
    ) -> Result<Answer, Refusal> {
        let place = Arc::clone(&self.audit_readers).try_acquire_owned();
        let place = place.map_err(|_| {
            Refusal::TooMany("others are being sent the audit log; ask again when they have it")
        })?;
        let audit = self.log()?;
        let opening = move || audit.lines();
        let opened = tokio::task::spawn_blocking(opening).await;
        let lines = opened.map_err(|_| unreadable())?.map_err(|cause: AuditError| {
            error!(error = %cause, "the audit log cannot be read");
            unreadable()
        })?;
        let (flow, answer) = answer::flowing(answer::LINES);
        self.calls.spawn_blocking(move || {
            send(lines, each, &flow);
            drop(place);
        });
        Ok(answer)
    }
}

fn send(lines: Lines, each: impl Fn(Line) -> Option<String>, flow: &Flow) {
    for line in lines {
        let piece = match line {
            Ok(line) => match each(line) {
                Some(text) => Ok(Bytes::from(text + "\n")),
                None => continue,
            },
            // Nothing of it was reported as done; the next act sets it aside.
            Err((_, Fault::Torn)) => return,
            Err((number, why)) => {
                error!(line = number, error = %why, "the audit log is broken");
                Err(Broken)
            }
        };
        // A client that is gone wants no more.
        if flow.blocking_send(piece).is_err() {
            return;
        }
    }
}

fn unreadable() -> Refusal {
    Refusal::Unavailable("the audit log cannot be read; the server's log says why")
}
