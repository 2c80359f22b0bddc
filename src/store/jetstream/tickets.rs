//! What nodes must know of each other's tickets: one small stream, in which all of it goes
//! by itself. A key is written by its node again and again; that a ticket is used is written
//! where nothing is, which one alone can do.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::JetStream;
use super::writes::{Write, Written};
use crate::auth::{BookUnavailable, KEY_LIFE, Spent, TicketBook};
use crate::digest::hex;
use crate::store::StoreError;

/// How long, in seconds, it is kept in mind that a ticket is used once its time is over: its
/// node, this one and the servers may each have another clock, as far apart as a start
/// allows.
const GRACE: u64 = 60;

impl TicketBook for JetStream {
    fn announce<'a>(
        &'a self,
        kid: &'a str,
        key: String,
    ) -> BoxFuture<'a, Result<(), BookUnavailable>> {
        async move {
            let subject = self.0.shared.log.names.ticket_key(kid);
            let write = Write::new(subject, key.into()).for_seconds(KEY_LIFE.as_secs());
            self.put(write).await.map(drop)
        }
        .boxed()
    }

    fn key<'a>(&'a self, kid: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, BookUnavailable>> {
        async move {
            let log = &self.0.shared.log;
            let subject = log.names.ticket_key(kid);
            let found = self.read(log.reads.last(&log.names.tickets(), &subject)).await;
            Ok(found.map_err(|_| BookUnavailable)?.map(|raw| raw.payload.to_vec()))
        }
        .boxed()
    }

    fn spend(&self, spent: Spent) -> BoxFuture<'_, Result<bool, BookUnavailable>> {
        async move {
            let subject = self.0.shared.log.names.spent_ticket(&hex(&spent.ticket));
            // By its name a write is known again whose answer was lost.
            let name = hex(&fastrand::u128(..).to_le_bytes());
            let left = spent.exp.saturating_sub(spent.now).saturating_add(GRACE);
            let write = Write::new(subject, Bytes::new()).after(0).named(&name).for_seconds(left);
            Ok(self.put(write).await? != Written::Lost)
        }
        .boxed()
    }
}

impl JetStream {
    async fn put(&self, write: Write) -> Result<Written, BookUnavailable> {
        let shared = &self.0.shared;
        let putting = async {
            shared.open()?;
            write.put(&shared.log).await
        };
        putting.await.map_err(|_: StoreError| BookUnavailable)
    }
}
