//! What a node tells all nodes of what it has written: a whole group in one message, and as it
//! lies in the stream, so that nobody has to read it there.
//!
//! The servers could tell by themselves (`republish`), but one by one, which costs them and
//! every node about a quarter of what a message costs (ADR 25). A hint, as everything live: it
//! may be lost, and come behind that of a node that wrote later.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use tokio::time::timeout;

use super::codec::{Reader, Writer};
use super::raw::Raw;
use super::writes::Write;
use crate::ids::ID_END;

/// The version of this form.
const VERSION: u8 = 1;

/// Bytes in one message, and one write more: servers take 512 KB at the least.
const BYTES: usize = 64 * 1024;

/// How long it may take to be on its way. By then a connection is being lost.
const SENT: Duration = Duration::from_millis(300);

/// Tells all nodes, on `subject`, what lies in a stream from `first` on.
pub(super) async fn tell(client: &Client, subject: &Subject, first: u64, writes: &[&Write]) {
    let telling = async {
        for news in pack(first, writes) {
            // Else it would wait for the next connection, and come when it was missed and read.
            if client.connection_state() != State::Connected {
                return;
            }
            let _ = client.publish(subject.clone(), news).await;
        }
    };
    let _ = timeout(SENT, telling).await;
}

/// Writes that lie one behind the other, as messages of not too many bytes.
fn pack(first: u64, writes: &[&Write]) -> Vec<Bytes> {
    let mut packed = Vec::new();
    let (mut body, mut begin) = (Writer::default(), first);
    for (write, number) in writes.iter().zip(1..) {
        body.bytes(write.subject.as_bytes());
        body.bytes(&write.payload);
        if body.0.len() >= BYTES {
            packed.push(finished(begin, std::mem::take(&mut body)));
            begin = first.saturating_add(number);
        }
    }
    if !body.0.is_empty() {
        packed.push(finished(begin, body));
    }
    packed
}

fn finished(first: u64, body: Writer) -> Bytes {
    let mut news = Writer(Vec::with_capacity(1 + 10 + body.0.len()));
    news.0.push(VERSION);
    news.number(first);
    news.0.extend_from_slice(&body.0);
    news.0.into()
}

/// What a message tells: what lies one behind the other, or one thing that a server told by
/// itself. Nothing where it is in no form of this version.
pub(super) fn heard(message: Message) -> Vec<Raw> {
    match message.headers {
        Some(_) => Raw::from_message(message).into_iter().collect(),
        None => unpack(&message.payload).unwrap_or_default(),
    }
}

fn unpack(news: &Bytes) -> Option<Vec<Raw>> {
    let mut bytes = Reader(news);
    if bytes.byte()? != VERSION {
        return None;
    }
    let mut seq = bytes.number()?;
    let mut raws = Vec::new();
    while !bytes.0.is_empty() {
        if seq >= ID_END {
            return None;
        }
        let subject = bytes.text()?.to_owned();
        let payload = news.slice_ref(bytes.bytes()?);
        raws.push(Raw { subject, seq, payload });
        seq += 1;
    }
    Some(raws)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(lengths: &[usize]) -> Vec<Write> {
        let write =
            |length: &usize| Write::new(format!("im.msg.0.{length}.7"), vec![7; *length].into());
        lengths.iter().map(write).collect()
    }

    fn packed(first: u64, writes: &[Write]) -> Vec<Bytes> {
        pack(first, &writes.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_was_written_is_heard_in_its_order() {
        let writes = writes(&[0, 200, BYTES - 300, 100, BYTES, 2 * BYTES, 1]);
        let news = packed(40, &writes);
        assert_eq!(news.len(), 4, "not more than so many bytes, and one write");
        let raws: Vec<Raw> = news.iter().flat_map(|news| unpack(news).unwrap()).collect();
        assert_eq!(raws.len(), writes.len());
        for ((seq, raw), write) in (40..).zip(&raws).zip(&writes) {
            assert_eq!(
                (raw.seq, &raw.subject, &raw.payload),
                (seq, &write.subject, &write.payload)
            );
        }
        assert!(packed(7, &[]).is_empty());
    }

    #[test]
    fn what_is_cut_off_or_in_another_form_tells_nothing() {
        let [news]: [Bytes; 1] = packed(40, &writes(&[3, 4])).try_into().unwrap();
        let whole = unpack(&news).unwrap();
        for end in 0..news.len() {
            let cut = unpack(&news.slice(..end));
            // Where it ends between two writes, that is the first of them.
            assert!(cut.is_none_or(|raws| whole.starts_with(&raws)), "{end}");
        }
        let mut other = news.to_vec();
        other[0] = VERSION + 1;
        assert_eq!(unpack(&other.into()), None);
    }

    #[test]
    fn no_place_is_believed_that_no_message_can_have() {
        for first in [ID_END - 1, ID_END, u64::MAX] {
            let [news]: [Bytes; 1] = packed(first, &writes(&[3, 4])).try_into().unwrap();
            assert_eq!(unpack(&news), None, "{first}");
        }
    }
}
