//! The stream of the audit log: what lies in it is none of the store's business, but that it
//! lies there in one order, and that tokens are found by their names.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use super::batch::Between;
use super::log::Log;
use super::names::Names;
use super::raw::Raw;
use super::reads::Reads;
use super::refusal::OpenError;
use super::replies::Replies;
use super::writes::{Write, Written};
use super::{JetStream, connect, deployment};
use crate::config;
use crate::digest::{digest128, hex};
use crate::metrics::StoreMetrics;
use crate::store::StoreError;

/// The stream that all nodes write their acts to.
#[derive(Clone)]
pub struct AuditStream {
    log: Log,
    /// What sorts the answers, where no store does.
    _sorting: Option<Arc<TaskTracker>>,
}

/// What an act is about, by which it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A token that was issued.
    Token {
        /// Whose.
        sub: u64,
        /// Its name.
        jti: String,
    },
    /// Anything else.
    Act,
}

/// What lies in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// Where.
    pub seq: u64,
    /// What was written.
    pub text: Bytes,
    subject: String,
}

impl fmt::Debug for AuditStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditStream").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl From<Raw> for Filed {
    fn from(raw: Raw) -> Self {
        Self { seq: raw.seq, text: raw.payload, subject: raw.subject }
    }
}

impl JetStream {
    /// The stream of the audit log.
    pub fn audit(&self) -> AuditStream {
        AuditStream::of(self.0.shared.log.clone())
    }
}

impl AuditStream {
    /// Connects to the servers for nothing but the audit log, within a runtime that goes on
    /// for as long as this is used.
    ///
    /// # Errors
    /// Says what is in the way and what to do. Nothing was changed.
    pub async fn connect(config: &config::Store) -> Result<Self, OpenError> {
        let metrics = StoreMetrics::unseen().cluster;
        let names = Names::new(&config.jetstream.prefix, config.jetstream.partitions);
        let connection = connect::connect(&config.jetstream, metrics).await?;
        deployment::find(&connection.context, &names, config, &names.audit()).await?;
        let (client, context) = (connection.client, connection.context);
        let (replies, sorting) =
            Replies::new(&client).await.map_err(|_| StoreError::Unavailable)?;
        let tasks = TaskTracker::new();
        tasks.spawn(sorting);
        let reads = Reads::new(client, context.clone(), replies);
        Ok(Self {
            log: Log { names, reads, context, outcomes: Arc::default() },
            _sorting: Some(Arc::new(tasks)),
        })
    }

    /// The stream, for who has connected already.
    pub(super) fn of(log: Log) -> Self {
        Self { log, _sorting: None }
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.log.names.audit()
    }

    /// The last of what lies there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], as with all that follows.
    pub async fn last(&self) -> Result<Option<Filed>, StoreError> {
        let found = self.log.reads.last(&self.name(), &self.log.names.all_audit()).await?;
        Ok(found.map(Filed::from))
    }

    /// Puts a text behind what lies at `after`, 0: at the beginning, and says whether that
    /// was the last then. `name` is the write's own, by which its second try is known.
    ///
    /// # Errors
    /// Perhaps it was written.
    pub async fn write(
        &self,
        after: u64,
        topic: &Topic,
        text: String,
        name: &str,
    ) -> Result<bool, StoreError> {
        let write = Write::new(self.subject(topic), text.into()).at_end(after).named(name);
        Ok(write.put(&self.log).await? != Written::Lost)
    }

    /// How far it reaches.
    ///
    /// # Errors
    /// As [`AuditStream::last`].
    pub async fn reach(&self) -> Result<u64, StoreError> {
        Ok(self.log.reads.reach(&self.name()).await?.last)
    }

    /// Up to `limit` of what lies at `from` and behind it, up to `until`: nothing in between
    /// is left out that is there, whatever a replica says.
    ///
    /// # Errors
    /// As [`AuditStream::last`].
    pub async fn some(
        &self,
        from: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<Filed>, StoreError> {
        let (reads, name, filter) = (&self.log.reads, self.name(), self.log.names.all_audit());
        match reads.between(&name, &filter, (from, until), limit).await? {
            Between::Some(found) => Ok(found.into_iter().map(Filed::from).collect()),
            Between::Nothing => Ok(Vec::new()),
            // Nothing is ever taken out of it.
            Between::NotYet => Err(StoreError::Unavailable),
        }
    }

    /// What was filed of a token.
    ///
    /// # Errors
    /// As [`AuditStream::last`].
    pub async fn issue_of(&self, jti: &str) -> Result<Option<Filed>, StoreError> {
        let subject = self.log.names.audit_of_token("*", &digits(jti));
        Ok(self.log.reads.last(&self.name(), &subject).await?.map(Filed::from))
    }

    /// Whether something is filed as what it is about.
    pub fn lies_at(&self, filed: &Filed, topic: &Topic) -> bool {
        filed.subject == self.subject(topic)
    }

    /// Where what is about this lies.
    pub(super) fn subject(&self, topic: &Topic) -> String {
        match topic {
            Topic::Token { sub, jti } => {
                self.log.names.audit_of_token(&sub.to_string(), &digits(jti))
            }
            Topic::Act => self.log.names.audit_of_act(),
        }
    }
}

/// A name as a word of a subject, which it need not be.
fn digits(jti: &str) -> String {
    hex(&digest128(&[jti.as_bytes()]))
}
