//! The roll: which connections there are, for those who look after the service, and the
//! way to send one of them away.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::{Hub, Slot, Wants, locked};
use crate::auth::TokenRef;
#[cfg(test)]
use crate::auth::{Alg, Fingerprint};
use crate::ids::{ConnectionId, UserId};

/// What is known of a connection from its first moment on.
#[derive(Debug)]
pub struct About {
    /// The token that it was opened with.
    pub token: Arc<TokenRef>,
    /// Where it came from.
    pub address: IpAddr,
    /// When.
    pub since: SystemTime,
}

/// A connection on the roll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// By which it is sent away.
    pub id: ConnectionId,
    /// The token that it was opened with, and so whose it is.
    pub token: Arc<TokenRef>,
    /// Where it came from.
    pub address: IpAddr,
    /// When.
    pub since: SystemTime,
    /// What it speaks.
    pub wants: Wants,
}

/// Which connections are meant: all for which everything holds that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those that live by a token which this key signed.
    pub kid: Option<String>,
    /// This one.
    pub id: Option<ConnectionId>,
}

impl Wanted {
    fn is(&self, slot: &Slot) -> bool {
        let id = self.id.is_none_or(|id| id == slot.connection);
        let user = self.user.is_none_or(|user| user == slot.about.token.user);
        id && user && self.kid.as_deref().is_none_or(|kid| slot.lives_by(kid))
    }
}

impl Slot {
    fn lives_by(&self, kid: &str) -> bool {
        let signed = |token: &TokenRef| token.kid.as_deref() == Some(kid);
        signed(&self.about.token) || locked(&self.refreshed).iter().any(|token| signed(token))
    }
}

impl Hub {
    /// Up to `limit` connections of those `wanted` behind `after`, by their ids, and how many
    /// there are of them in all.
    pub fn roll(
        &self,
        wanted: &Wanted,
        after: Option<ConnectionId>,
        limit: usize,
    ) -> (Vec<Connected>, usize) {
        let (mut found, mut total) = (Vec::new(), 0);
        self.at_all(wanted, |slot| {
            total += 1;
            if after.is_none_or(|after| slot.connection > after) {
                found.push(Connected {
                    id: slot.connection,
                    token: Arc::clone(&slot.about.token),
                    address: slot.about.address,
                    since: slot.about.since,
                    wants: slot.wants,
                });
            }
        });
        found.sort_unstable_by_key(|connected| connected.id);
        found.truncate(limit);
        (found, total)
    }

    /// Tells the connections that are `wanted` to answer what is under way, and to go; says
    /// how many they are.
    pub fn send_away(&self, wanted: &Wanted) -> usize {
        let mut told = 0;
        self.at_all(wanted, |slot| {
            slot.sent_away.store(true, Ordering::Release);
            slot.wake.notify_one();
            told += 1;
        });
        told
    }

    fn at_all(&self, wanted: &Wanted, mut work: impl FnMut(&Slot)) {
        let mut look = |slots: &[Arc<Slot>]| {
            slots.iter().filter(|slot| wanted.is(slot)).for_each(|slot| work(slot));
        };
        let Some(user) = wanted.user else {
            // One shard at a time: nobody who comes or goes waits for the whole roll.
            for shard in &self.shards {
                locked(shard).values().for_each(|slots| look(slots));
            }
            return;
        };
        if let Some(shard) = self.shard(user)
            && let Some(slots) = locked(shard).get(&user)
        {
            look(slots);
        }
    }
}

#[cfg(test)]
impl About {
    /// A connection of `user` by a token of the key `kid`.
    pub(crate) fn of(user: UserId, kid: &str) -> Self {
        let kid = Some(kid.into());
        let key = Fingerprint::of(Alg::Hs256, [b"a key", b""]);
        let token = TokenRef { user, jti: None, issued_at: None, kid, key, ends_at: u64::MAX };
        Self { token: Arc::new(token), address: [127, 0, 0, 1].into(), since: SystemTime::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roll_is_read_in_pages_and_by_user_and_by_key() {
        let hub = Hub::new();
        let user = |id| UserId::new(id).unwrap();
        let inside: Vec<_> = (0..10)
            .map(|number| {
                let kid = if number < 3 { "old" } else { "new" };
                let about = About::of(user(1 + number % 5), kid);
                hub.subscribe(about, Wants::Inbox, 9).unwrap()
            })
            .collect();
        let all = Wanted::default();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (page, total) = hub.roll(&all, after, 3);
            assert_eq!(total, 10);
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            seen.extend(page);
        }
        assert_eq!(seen.len(), 10);
        assert!(seen.is_sorted_by(|a, b| a.id < b.id));
        let of = |user, kid: Option<&str>| {
            let wanted = Wanted { user, kid: kid.map(str::to_owned), id: None };
            hub.roll(&wanted, None, 100).1
        };
        assert_eq!((of(Some(user(2)), None), of(Some(user(9)), None)), (2, 0));
        assert_eq!((of(None, Some("old")), of(None, Some("none"))), (3, 0));
        assert_eq!(of(Some(user(1)), Some("old")), 1);
        inside[9].refreshed(About::of(user(5), "old").token);
        assert_eq!(of(None, Some("old")), 4, "a connection lives by all its tokens");
        assert_eq!(hub.users(), 5);
    }

    #[tokio::test]
    async fn who_is_sent_away_is_woken_to_hear_of_it() {
        let hub = Hub::new();
        let user = UserId::new(1).unwrap();
        let [goes, stays] =
            [(); 2].map(|()| hub.subscribe(About::of(user, "k"), Wants::Inbox, 9).unwrap());
        let one = Wanted { id: Some(goes.connection()), ..Wanted::default() };
        assert_eq!(hub.send_away(&one), 1);
        goes.woken().await;
        assert!(goes.is_sent_away() && !stays.is_sent_away());
        assert_eq!(hub.send_away(&Wanted { user: Some(user), ..Wanted::default() }), 2);
        stays.woken().await;
        drop((goes, stays));
        assert_eq!(hub.send_away(&Wanted::default()), 0);
    }
}
