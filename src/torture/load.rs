//! The load: senders and recipients who write down what they are told, and connect again
//! now and then, until the server is dead.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use super::ledger::{Ledger, RECIPIENTS, SENDERS, WITNESS, content, names, packet_of, recipient};
use super::report::Fault;
use super::wire::{Client, Frame, Gone, Opening, Packet};
use super::{Place, TortureError};

/// Packets that a sender has on their way at once.
const IN_FLIGHT: usize = 8;

/// Messages after which a recipient marks some as read.
const MARK_EVERY: usize = 20;

/// One in so many answers is followed by a new connection.
const RECONNECT: u32 = 300;

/// One in so many named packets is sent twice at once.
const DOUBLE: u32 = 20;

type Outcome = Result<Vec<Fault>, TortureError>;

/// The load, under way.
pub(super) struct Load {
    ledger: Arc<Mutex<Ledger>>,
    tasks: JoinSet<Outcome>,
}

/// What everybody needs who takes part.
#[derive(Clone)]
struct Stage {
    place: Arc<Place>,
    address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
    /// Only what is open is to be answered.
    settling: bool,
}

impl Load {
    /// Begins: everybody goes on where the ledger says.
    pub(super) fn begin(
        place: &Arc<Place>,
        address: SocketAddr,
        ledger: &Ledger,
        random: &mut fastrand::Rng,
    ) -> Self {
        let (mut load, stage) = Self::on(place, address, ledger, false);
        for sender in SENDERS {
            load.tasks.spawn(stage.clone().send(sender, random.fork()));
        }
        for recipient in RECIPIENTS {
            load.tasks.spawn(stage.clone().receive(recipient, random.fork()));
        }
        load
    }

    /// Has everything answered that is open, and ends by itself.
    pub(super) fn settle(place: &Arc<Place>, address: SocketAddr, ledger: &Ledger) -> Self {
        let (mut load, stage) = Self::on(place, address, ledger, true);
        for sender in SENDERS {
            load.tasks.spawn(stage.clone().send(sender, fastrand::Rng::with_seed(sender)));
        }
        load
    }

    fn on(
        place: &Arc<Place>,
        address: SocketAddr,
        ledger: &Ledger,
        settling: bool,
    ) -> (Self, Stage) {
        let ledger = Arc::new(Mutex::new(ledger.clone()));
        let place = Arc::clone(place);
        let stage = Stage { place, address, ledger: Arc::clone(&ledger), settling };
        (Self { ledger, tasks: JoinSet::new() }, stage)
    }

    /// What is known at this moment.
    pub(super) fn noted(&self) -> Ledger {
        locked(&self.ledger).clone()
    }

    /// Waits until everybody has noticed that the server is dead, or has all answers.
    pub(super) async fn end(mut self) -> Result<(Ledger, Vec<Fault>), TortureError> {
        let mut faults = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.map_err(|error| TortureError::Broken(error.to_string()))?;
            faults.extend(ended?);
        }
        Ok((self.noted(), faults))
    }
}

fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a connection's work is over.
enum End {
    /// The connection is gone: perhaps there is another one to be had.
    Gone,
    /// Everything is answered.
    Done,
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Stage {
    async fn connect(&self, user: u64, opening: Opening) -> Result<Client, Gone> {
        Client::connect(&self.place, self.address, user, opening).await
    }

    /// Sends until the server is dead: first what has no answer, then new packets.
    async fn send(self, sender: u64, mut random: fastrand::Rng) -> Outcome {
        let mut faults = Vec::new();
        let opening = if names(sender) { Opening::V2 } else { Opening::Plain };
        while let Ok(mut client) = self.connect(sender, opening).await {
            let sending = self.send_on(&mut client, sender, &mut random, &mut faults).await?;
            if let End::Done = sending {
                break;
            }
            locked(&self.ledger).reconnects += 1;
        }
        Ok(faults)
    }

    /// Sends on one connection, until that is gone or dropped by chance.
    async fn send_on(
        &self,
        client: &mut Client,
        sender: u64,
        random: &mut fastrand::Rng,
        faults: &mut Vec<Fault>,
    ) -> Result<End, TortureError> {
        let mut again = self.open(sender);
        let mut waiting = VecDeque::new();
        loop {
            while waiting.len() < IN_FLIGHT {
                let (number, resend) = match again.pop_front() {
                    Some(number) => (number, true),
                    None if self.settling => break,
                    None => (self.fresh(sender), false),
                };
                let double = names(sender) && random.u32(..DOUBLE) == 0;
                let times = if double { &[resend, true][..] } else { &[resend] };
                for &resend in times {
                    waiting.push_back(number);
                    if self.put(client, sender, number, resend).await.is_err() {
                        return Ok(End::Gone);
                    }
                }
            }
            let Some(&number) = waiting.front() else {
                return Ok(End::Done);
            };
            let Ok(frame) = client.next().await else {
                return Ok(End::Gone);
            };
            match frame.kind {
                0 => {
                    waiting.pop_front();
                    faults.extend(self.acknowledged(sender, number, &frame)?);
                }
                1 if frame.code() == "store_unavailable" => return Ok(End::Gone),
                1 => {
                    let code = frame.code();
                    return Err(TortureError::Broken(format!("a good packet failed: {code}")));
                }
                // What `im.v2` tells besides.
                _ => continue,
            }
            if !self.settling && random.u32(..RECONNECT) == 0 {
                return Ok(End::Gone);
            }
        }
    }

    fn open(&self, sender: u64) -> VecDeque<u64> {
        locked(&self.ledger).sent.entry(sender).or_default().open.clone()
    }

    /// The next packet that was never sent.
    fn fresh(&self, sender: u64) -> u64 {
        let mut ledger = locked(&self.ledger);
        let sent = ledger.sent.entry(sender).or_default();
        let number = sent.next;
        sent.next += 1;
        sent.open.push_back(number);
        number
    }

    async fn put(
        &self,
        client: &mut Client,
        sender: u64,
        number: u64,
        resend: bool,
    ) -> Result<(), Gone> {
        locked(&self.ledger).resent += u64::from(resend);
        let (content, text) = (content(sender, number), number.to_string());
        let name = names(sender).then_some((text.as_str(), resend));
        let to = recipient(sender, number);
        let packet = Packet { from: sender, to, content: &content, timestamp: &text, name };
        client.send(&packet).await
    }

    /// Writes an acknowledgement down.
    fn acknowledged(
        &self,
        sender: u64,
        number: u64,
        frame: &Frame,
    ) -> Result<Option<Fault>, TortureError> {
        if frame.timestamp != number.to_string() {
            let other = &frame.timestamp;
            let what = format!("packet {number} of {sender} was answered as {other:?}");
            return Err(TortureError::Broken(what));
        }
        let mut ledger = locked(&self.ledger);
        let sent = ledger.sent.entry(sender).or_default();
        sent.open.retain(|open| *open != number);
        let before = sent.acknowledged.insert(number, frame.id()).flatten();
        let other = before.is_some_and(|before| frame.id().is_some_and(|id| id != before));
        Ok(other.then(|| Fault::Twice(format!("packet {number} of {sender} got two ids"))))
    }

    /// Receives until the server is dead, and marks some of it.
    async fn receive(self, user: u64, mut random: fastrand::Rng) -> Outcome {
        let mut faults = Vec::new();
        while let Ok(mut client) = self.connect(user, Opening::Plain).await {
            match self.receive_on(&mut client, user, &mut random, &mut faults).await {
                End::Done => break,
                End::Gone => locked(&self.ledger).reconnects += 1,
            }
        }
        Ok(faults)
    }

    async fn receive_on(
        &self,
        client: &mut Client,
        user: u64,
        random: &mut fastrand::Rng,
        faults: &mut Vec<Fault>,
    ) -> End {
        let (mut last, mut fresh, mut marking) = (0, Vec::new(), VecDeque::new());
        while let Ok(frame) = client.next().await {
            let id = frame.id().unwrap_or(0);
            if frame.kind == 0 {
                // The mark before the witness was written.
                let marked: Vec<u64> = marking.pop_front().unwrap_or_default();
                locked(&self.ledger).received.entry(user).or_default().marked.extend(marked);
                continue;
            }
            if frame.kind != 2 {
                return End::Gone;
            }
            if id <= last {
                faults.push(Fault::Disorder(format!("{user} was sent {id} after {last}")));
            }
            last = id;
            faults.extend(self.saw(user, id, &frame));
            fresh.push(id);
            if fresh.len() == MARK_EVERY {
                // Some stay unread for ever, some are marked later than newer ones.
                let (picked, rest): (Vec<u64>, Vec<u64>) =
                    fresh.drain(..).partition(|_| random.u8(..4) > 0);
                fresh.extend(rest.into_iter().filter(|_| random.bool()));
                if self.mark(client, user, &picked, last).await.is_err() {
                    return End::Gone;
                }
                marking.push_back(picked);
            }
            if random.u32(..RECONNECT) == 0 {
                return End::Gone;
            }
        }
        End::Gone
    }

    /// Marks, and sends a packet whose success says that the marks are written.
    async fn mark(
        &self,
        client: &mut Client,
        user: u64,
        ids: &[u64],
        last: u64,
    ) -> Result<(), Gone> {
        client.mark(user, ids).await?;
        let timestamp = last.to_string();
        let witness = Packet {
            from: user,
            to: WITNESS,
            content: "marked",
            timestamp: &timestamp,
            name: None,
        };
        client.send(&witness).await
    }

    /// Writes down that a message was shown.
    fn saw(&self, user: u64, id: u64, frame: &Frame) -> Option<Fault> {
        let Some((sender, number)) = packet_of(&frame.content) else {
            return Some(Fault::Lost(format!("message {id} of {user} says something else")));
        };
        let mut ledger = locked(&self.ledger);
        let received = ledger.received.entry(user).or_default();
        if received.marked.contains(&id) {
            return Some(Fault::Unmarked(format!("message {id} of {user} was sent again")));
        }
        let first = *received.seen.entry((sender, number)).or_insert(id);
        let twice = || Fault::Twice(format!("packet {number} of {sender} is {first} and {id}"));
        (first != id).then(twice)
    }
}
