//! Who is typing, told to the other nodes: no stream, no answer, and lost where the network
//! loses it.
//!
//! What is heard comes from whoever may publish below our prefix, so it is looked at as what a
//! client sends is: a few bytes of one form, and nothing else of it is believed.

use std::sync::Arc;

use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::codec::{Reader, Writer};
use super::shared::Shared;
use crate::ids::UserId;
use crate::store::{Announcement, StoreError};

/// The version of this form.
const VERSION: u8 = 1;

/// The longest of this form: version, node, two numbers below 2^53.
const LONGEST: usize = 1 + 8 + 8 + 8;

/// What waits to be told; past it, it is dropped.
const WAITING: usize = 256;

/// That `from` is typing to `to`, seen by a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    node: [u8; 8],
    from: UserId,
    to: UserId,
}

/// The way out.
pub(super) struct Typing {
    node: [u8; 8],
    out: mpsc::Sender<Seen>,
}

impl Typing {
    /// Begins to listen. The future tells others, and tells the tail of what they tell.
    pub(super) async fn new(
        shared: &Arc<Shared>,
        announce: mpsc::Sender<Vec<Announcement>>,
    ) -> Result<(Self, impl Future<Output = ()> + use<>), StoreError> {
        let (client, subject) = (shared.client.clone(), shared.log.names.typing());
        let heard = client.subscribe(subject.clone()).await;
        let heard = heard.map_err(|_| StoreError::Unavailable)?;
        let node = fastrand::u64(..).to_le_bytes();
        let (out, waiting) = mpsc::channel(WAITING);
        let telling = tell(client, subject, waiting);
        let hearing = hear(heard, node, announce);
        let running = async move {
            tokio::join!(telling, hearing);
        };
        Ok((Self { node, out }, running))
    }

    /// Tells the other nodes.
    pub(super) fn tell(&self, from: UserId, to: UserId) {
        // Dropped rather than queued: by then nobody is typing any more.
        let _ = self.out.try_send(Seen { node: self.node, from, to });
    }
}

async fn tell(client: Client, subject: String, mut waiting: mpsc::Receiver<Seen>) {
    while let Some(seen) = waiting.recv().await {
        // Else it would wait for the next connection, and come when it is over.
        if client.connection_state() == State::Connected {
            let _ = client.publish(subject.clone(), seen.write()).await;
        }
    }
}

async fn hear(mut heard: Subscriber, node: [u8; 8], announce: mpsc::Sender<Vec<Announcement>>) {
    while let Some(Message { payload, .. }) = heard.next().await {
        // What this node told is told here already.
        if let Some(Seen { from, to, .. }) = Seen::read(&payload).filter(|seen| seen.node != node) {
            let _ = announce.try_send(vec![Announcement::Typing { from, to }]);
        }
    }
}

impl Seen {
    fn write(self) -> Bytes {
        let mut to = Writer(vec![VERSION]);
        to.0.extend_from_slice(&self.node);
        to.number(self.from.get());
        to.number(self.to.get());
        to.0.into()
    }

    /// Nothing where it is not of this form, to the letter.
    fn read(payload: &[u8]) -> Option<Self> {
        if payload.len() > LONGEST {
            return None;
        }
        let mut bytes = Reader(payload);
        if bytes.byte()? != VERSION {
            return None;
        }
        let node = bytes.fixed(8)?.try_into().ok()?;
        let (from, to) = (UserId::new(bytes.number()?)?, UserId::new(bytes.number()?)?);
        (from != to && bytes.0.is_empty()).then_some(Self { node, from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ID_END;

    #[test]
    fn what_is_told_is_understood_and_nothing_else() {
        let user = |id| UserId::new(id).unwrap();
        let seen = Seen { node: [7; 8], from: user(1), to: user(ID_END - 1) };
        let told = seen.write();
        assert_eq!(Seen::read(&told), Some(seen));
        let largest = Seen { from: user(ID_END - 2), ..seen };
        assert_eq!(Seen::read(&largest.write()), Some(largest));
        for end in 0..told.len() {
            assert_eq!(Seen::read(&told[..end]), None, "{end}");
        }
        let more = [&told[..], &[0]].concat();
        let mut other = told.to_vec();
        other[0] = VERSION + 1;
        let form = |from: u64, to: u64| {
            let mut written = Writer(vec![VERSION]);
            written.0.extend_from_slice(&[7; 8]);
            written.number(from);
            written.number(to);
            written.0
        };
        let of_nobody = [form(0, 2), form(2, 0), form(2, 2), form(ID_END, 2), form(2, u64::MAX)];
        for bad in of_nobody.into_iter().chain([more, other, vec![0xff; 4096]]) {
            assert_eq!(Seen::read(&bad), None, "{bad:?}");
        }
    }
}
