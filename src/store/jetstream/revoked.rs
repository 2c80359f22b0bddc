//! Revocations: a stream with one message for each, gone by itself when it is over.

use std::time::SystemTime;

use bytes::Bytes;

use super::log::Log;
use super::names::Names;
use super::raw::Raw;
use super::shared::Shared;
use super::writes::{Write, Written};
use crate::auth::Revocation;
use crate::digest::{digest128, hex};
use crate::epoch;
use crate::ids::UserId;
use crate::store::{Announcement, Line, Record, StoreError};

/// What is kept longer than this is kept for ever, and forgotten by whoever reads it.
const YEARS: u64 = 10 * 365 * 24 * 60 * 60;

/// Kept for so long after its end: clocks differ.
const GRACE: u64 = 60 * 60;

impl Shared {
    /// Keeps a revocation until it is over.
    pub(super) async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError> {
        match write(&self.log.names, revocation, SystemTime::now()) {
            Some(write) => self.put(write).await,
            None => Ok(()),
        }
    }

    /// Takes back that a user is disabled.
    pub(super) async fn enable(&self, user: UserId) -> Result<(), StoreError> {
        let subject = subject(&self.log.names, &Revocation::Disabled { user }, "");
        self.put(Write::new(subject, Bytes::new())).await
    }

    async fn put(&self, write: Write) -> Result<(), StoreError> {
        if let Written::At(seq) = write.put(&self.log).await? {
            self.wrote(&self.log.names.revocations(), seq);
        }
        Ok(())
    }
}

/// What is written to keep a revocation until it is over; nothing where it is.
pub(super) fn write(names: &Names, revocation: &Revocation, now: SystemTime) -> Option<Write> {
    if revocation.is_over(now) {
        return None;
    }
    let line = Line::from(Record::Revocation(revocation.clone())).write();
    let write = Write::new(subject(names, revocation, &line), line.into());
    let left = revocation.until().map(|until| until.saturating_sub(epoch::seconds(now)));
    Some(match left.filter(|left| *left < YEARS) {
        Some(left) => write.for_seconds(left + GRACE),
        None => write,
    })
}

/// What takes back the same thing in the same way replaces one another.
fn subject(names: &Names, revocation: &Revocation, line: &str) -> String {
    match revocation {
        Revocation::Disabled { user } => names.revocation(&user.to_string()),
        _ => names.revocation(&format!("x{}", hex(&digest128(&[line.as_bytes()])))),
    }
}

impl Log {
    /// All revocations in force.
    pub(super) async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let stream = self.names.revocations();
        let kept = self.reads.last_of_each(&stream, &self.names.all_revocations()).await?;
        let now = SystemTime::now();
        let mut revocations = Vec::new();
        for raw in kept.iter().filter(|raw| !raw.payload.is_empty()) {
            let revocation = parse(raw)?;
            if !revocation.is_over(now) {
                revocations.push(revocation);
            }
        }
        Ok(revocations)
    }
}

/// What is to be announced of a message of the stream.
pub(super) fn announced(raw: &Raw) -> Result<Option<Announcement>, StoreError> {
    if raw.payload.is_empty() {
        return Ok(Names::user(&raw.subject).map(Announcement::Enabled));
    }
    let revocation = parse(raw)?;
    Ok(Some(revocation)
        .filter(|revocation| !revocation.is_over(SystemTime::now()))
        .map(Announcement::Revoked))
}

fn parse(raw: &Raw) -> Result<Revocation, StoreError> {
    let damaged = || StoreError::Damaged(format!("{} is no revocation", raw.subject));
    let line = std::str::from_utf8(&raw.payload).map_err(|_| damaged())?;
    match Line::read(line).and_then(Line::record) {
        Ok(Record::Revocation(revocation)) => Ok(revocation),
        _ => Err(damaged()),
    }
}
