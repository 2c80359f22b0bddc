//! Reading every inbox from its first message to its last, and comparing it with the ledger.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::ledger::{Ledger, RECIPIENTS, content, packet_of};
use super::report::{Fault, Report};
use super::wire::{Client, Frame, Opening};
use super::{Place, TortureError};

/// Compares all that the server has with what it said.
pub(super) async fn compare(
    place: &Place,
    address: SocketAddr,
    ledger: &Ledger,
    report: &mut Report,
) -> Result<(), TortureError> {
    for recipient in RECIPIENTS {
        let all = read(place, address, recipient, Opening::All).await?;
        report.note(&whole(ledger, recipient, &all));
        let unread = read(place, address, recipient, Opening::V2).await?;
        report.note(&still_read(ledger, recipient, &unread));
    }
    Ok(())
}

/// Everything that is replayed, up to the word that there is no more.
async fn read(
    place: &Place,
    address: SocketAddr,
    recipient: u64,
    opening: Opening,
) -> Result<Vec<Frame>, TortureError> {
    let broken = |what: &str| TortureError::Broken(format!("the inbox of {recipient} {what}"));
    let connecting = Client::connect(place, address, recipient, opening);
    let mut client = connecting.await.map_err(|_| broken("cannot be read: nobody comes in"))?;
    let mut frames = Vec::new();
    loop {
        let frame = client.next().await.map_err(|_| broken("ends in the middle of a replay"))?;
        match frame.kind {
            2 => frames.push(frame),
            6 => return Ok(frames),
            _ => return Err(broken("is read with an answer that nobody asked for")),
        }
    }
}

/// What of an inbox is not as it must be.
fn whole(ledger: &Ledger, recipient: u64, frames: &[Frame]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut found: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    let mut before = 0;
    for frame in frames {
        let id = frame.id().unwrap_or(0);
        if id <= before {
            faults.push(Fault::Disorder(format!("{recipient} gets {id} after {before}")));
        }
        before = id;
        let Some((sender, number)) = packet_of(&frame.content) else {
            faults.push(Fault::Lost(format!("message {id} of {recipient} says something else")));
            continue;
        };
        if frame.content != content(sender, number) {
            faults.push(Fault::Lost(format!("message {id} of {recipient} is not whole")));
        }
        let first = *found.entry((sender, number)).or_insert(id);
        if first != id {
            let twice = format!("packet {number} of {sender} is both {first} and {id}");
            faults.push(Fault::Twice(twice));
            continue;
        }
        if newest.insert(sender, number).is_some_and(|newest| newest > number) {
            faults.push(Fault::Disorder(format!("packet {number} of {sender} comes late")));
        }
    }
    for ((sender, number), told) in ledger.owed(recipient) {
        match found.get(&(sender, number)) {
            None => faults.push(Fault::Lost(format!("packet {number} of {sender} is gone"))),
            Some(id) if told.is_some_and(|told| told != *id) => {
                faults.push(Fault::Twice(format!("packet {number} of {sender} has another id")));
            }
            Some(_) => {}
        }
    }
    faults
}

/// What was marked as read, and is shown as unread.
fn still_read(ledger: &Ledger, recipient: u64, unread: &[Frame]) -> Vec<Fault> {
    let Some(received) = ledger.received.get(&recipient) else {
        return Vec::new();
    };
    let again = unread.iter().filter_map(Frame::id).filter(|id| received.marked.contains(id));
    again.map(|id| Fault::Unmarked(format!("message {id} of {recipient}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Received, Sent, recipient};
    use super::*;

    fn frame(id: u64, content: &str) -> Frame {
        let describe = format!("{{\"messageId\":\"{id}\"}}");
        let frame = serde_json::json!({
            "type": 2, "content": content, "timestamp": "", "Describe": describe,
        });
        serde_json::from_value(frame).unwrap()
    }

    /// Packets of one sender to one recipient, and these as they should arrive.
    fn good() -> (Ledger, u64, Vec<Frame>) {
        let sender = 1;
        let to = recipient(sender, 0);
        let numbers: Vec<u64> = (0..100).filter(|n| recipient(sender, *n) == to).collect();
        let mut ledger = Ledger::default();
        let acknowledged = numbers.iter().map(|number| (*number, Some(number + 1))).collect();
        ledger.sent.insert(sender, Sent { next: 100, acknowledged, ..Sent::default() });
        let frames = numbers.iter().map(|n| frame(n + 1, &content(sender, *n))).collect();
        (ledger, to, frames)
    }

    #[test]
    fn every_kind_of_broken_promise_is_found() {
        let (ledger, to, frames) = good();
        assert!(whole(&ledger, to, &frames).is_empty());
        let mut gone = frames.clone();
        gone.remove(3);
        assert!(matches!(whole(&ledger, to, &gone)[..], [Fault::Lost(_)]));
        let mut twice = frames.clone();
        twice.push(frame(900, &frames[0].content));
        assert!(matches!(whole(&ledger, to, &twice)[..], [Fault::Twice(_)]));
        let mut late = frames.clone();
        let first = late.remove(0);
        late.push(frame(900, &first.content));
        assert!(matches!(whole(&ledger, to, &late)[..], [Fault::Disorder(_), Fault::Twice(_)]));
        let mut changed = frames.clone();
        changed[5].content.push('!');
        assert!(matches!(whole(&ledger, to, &changed)[..], [Fault::Lost(_)]));
        let mut back = frames;
        back.swap(1, 2);
        assert!(whole(&ledger, to, &back).iter().any(|f| matches!(f, Fault::Disorder(_))));
    }

    #[test]
    fn what_was_marked_and_comes_again_is_found() {
        let (mut ledger, to, frames) = good();
        let marked = [frames[2].id().unwrap()].into();
        ledger.received.insert(to, Received { marked, ..Received::default() });
        assert!(still_read(&ledger, to, &frames[..2]).is_empty());
        assert!(matches!(still_read(&ledger, to, &frames)[..], [Fault::Unmarked(_)]));
    }
}
