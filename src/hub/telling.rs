//! Who is told of what the store announces, and of who is typing.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use super::{Delivery, Event, Hub, Wants};
use crate::auth::Revocations;
use crate::ids::{ConnectionId, Sender, UserId};
use crate::store::{Announcement, ReadReceipt, Stored, Tail};

impl Hub {
    /// Feeds what the store announces to whom it concerns, until the store is closed.
    /// Revocations concern all who check tokens.
    pub async fn follow(self: Arc<Self>, tail: Tail, revocations: Revocations) {
        feed(tail, |announcement| self.tell(announcement, &revocations)).await;
    }

    fn tell(&self, announcement: Announcement, revocations: &Revocations) {
        match announcement {
            Announcement::Stored(stored) => self.announce(stored),
            Announcement::Read(receipt) => self.announce_read(receipt),
            Announcement::Revoked(revocation) => revocations.add(revocation),
            Announcement::Enabled(user) => revocations.enable(user),
            Announcement::Typing { from, to } => self.typing(from, to),
        }
    }

    pub(super) fn announce(&self, stored: Stored) {
        let message = &stored.entry.message;
        let (to, from, origin) = (message.to, message.from, stored.origin);
        if let Sender::User(from) = from
            && from != to
        {
            // A note to oneself is in the inbox already.
            let mut sent = None;
            self.tell_others(from, origin, || {
                let delivery = || Arc::new(Delivery::new(stored.clone()));
                Event::Sent(Arc::clone(sent.get_or_insert_with(delivery)))
            });
        }
        let mut delivery = None;
        self.at_each(to, |slot| {
            let shared = delivery.get_or_insert_with(|| Arc::new(Delivery::new(stored.clone())));
            slot.put(Event::Message(Arc::clone(shared)));
        });
    }

    fn announce_read(&self, receipt: ReadReceipt) {
        let receipt = Arc::new(receipt);
        let told = || Event::Read(Arc::clone(&receipt));
        self.tell_others(receipt.reader, receipt.origin, told);
        if let Sender::User(from) = receipt.from
            && from != receipt.reader
        {
            self.tell_others(from, None, told);
        }
    }

    /// Tells `to` that `from` is typing.
    pub(super) fn typing(&self, from: UserId, to: UserId) {
        self.tell_others(to, None, || Event::Typing(from));
    }

    /// Tells those connections of `user` that want everything, but for `origin`.
    fn tell_others(
        &self,
        user: UserId,
        origin: Option<ConnectionId>,
        mut event: impl FnMut() -> Event,
    ) {
        self.at_each(user, |slot| {
            if slot.wants == Wants::Everything && origin != Some(slot.connection) {
                slot.put(event());
            }
        });
    }
}

/// Gives each announcement to `tell`, until the store is closed.
async fn feed(mut tail: Tail, tell: impl Fn(Announcement)) {
    while let Some(commit) = tail.recv().await {
        for announcement in commit {
            // A fault of ours in here costs a wake-up, which the next one makes good,
            // and not everybody's.
            let telling = AssertUnwindSafe(|| tell(announcement));
            let _ = panic::catch_unwind(telling);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::hub::About;
    use crate::hub::news::IN_HAND;
    use crate::hub::testing::stored;
    use crate::ids::MessageId;

    #[test]
    fn only_those_who_want_it_hear_of_what_the_user_did_elsewhere() {
        let hub = Hub::new();
        let (writer, reader) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let [here, there] =
            [(); 2].map(|()| hub.subscribe(About::of(writer, "k"), Wants::Everything, 3).unwrap());
        let plain = hub.subscribe(About::of(writer, "k"), Wants::Inbox, 3).unwrap();
        let message = Stored { origin: Some(here.connection()), ..stored(2, 2, 10) };
        hub.announce(message);
        assert!(here.take().events.is_empty(), "it wrote this itself");
        assert!(matches!(there.take().events[..], [Event::Sent(_)]));
        let ids = vec![MessageId::new(2).unwrap()];
        hub.announce_read(ReadReceipt { reader, from: writer.into(), ids, origin: None });
        assert!(matches!(here.take().events[..], [Event::Read(_)]));
        hub.subscribe(About::of(reader, "k"), Wants::Inbox, 3).unwrap().typing(writer);
        assert!(matches!(there.take().events[..], [Event::Read(_), Event::Typing(_)]));
        assert!(plain.take().events.is_empty());
    }

    #[test]
    fn a_connection_that_does_not_listen_keeps_a_flag_and_no_queue() {
        let hub = Hub::new();
        let user = UserId::new(2).unwrap();
        let (idle, large) = (
            hub.subscribe(About::of(user, "k"), Wants::Inbox, 2).unwrap(),
            hub.subscribe(About::of(user, "k"), Wants::Inbox, 2).unwrap(),
        );
        for id in 2..2 + IN_HAND as u64 {
            hub.announce(stored(2, id, 10));
        }
        assert_eq!(large.take().events.len(), IN_HAND);
        hub.announce(stored(2, 100, 10));
        let news = idle.take();
        assert!(news.behind && news.events.is_empty());
        assert!(!idle.take().behind, "taken once");
        for id in 101..110 {
            hub.announce(stored(2, id, 16 * 1024));
        }
        assert!(idle.take().behind, "bytes count too");
    }

    #[test]
    fn who_is_slow_is_told_that_something_was_lost_for_good() {
        let hub = Hub::new();
        let writer = UserId::new(1).unwrap();
        let slow = hub.subscribe(About::of(writer, "k"), Wants::Everything, 1).unwrap();
        for id in 2..2 + IN_HAND as u64 {
            hub.announce(stored(1, id, 10));
        }
        slow.typing(writer);
        hub.announce(stored(1, 100, 10));
        let news = slow.take();
        assert!(news.behind && !news.lost, "the inbox has it all, and typing is for now");
        for id in 101..=101 + IN_HAND as u64 {
            hub.announce(stored(2, id, 10));
        }
        assert!(slow.take().lost);
    }

    #[tokio::test]
    async fn a_fault_of_ours_costs_one_wake_up_and_leaves_no_lock_behind() {
        let (hub, revocations) = (Hub::new(), Revocations::default());
        let [unlucky, other] = [2, 3].map(|user| {
            let about = About::of(UserId::new(user).unwrap(), "k");
            hub.subscribe(about, Wants::Inbox, 1).unwrap()
        });
        let tell = |announcement| {
            if let Announcement::Stored(stored) = &announcement
                && stored.entry.message.id.get() == 2
            {
                hub.at_each(stored.entry.message.to, |_| panic!("a fault of ours"));
            }
            hub.tell(announcement, &revocations);
        };
        let (announce, tail) = mpsc::channel(2);
        let stored = |to, id| Announcement::Stored(stored(to, id, 10));
        announce.send(vec![stored(2, 2), stored(3, 3)]).await.unwrap();
        announce.send(vec![stored(2, 4)]).await.unwrap();
        drop(announce);
        feed(tail, tell).await;
        assert_eq!(other.take().events.len(), 1, "of the same commit");
        // It reads what it missed: the message behind is none that it stands right before.
        let events = unlucky.take().events;
        assert!(matches!(&events[..], [Event::Message(one)] if one.entry().message.id.get() == 4));
    }
}
