//! The revocations in force: tokens taken back before their end, and users who are let in no
//! more.
//!
//! The store keeps each revocation until no token that it covers can be alive; this
//! is the set of those in force, in memory, where every token is looked up that comes
//! in (`docs/adr/0011-revocation-and-rotation.md`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::claims::Identity;
use super::refused::Refused;
use super::revocation::{Revocation, TokenId, TokenRef};
use crate::epoch::{seconds, sober_now};
use crate::ids::UserId;

/// How often what is over is forgotten: it does no harm meanwhile.
const TIDY_EVERY: Duration = Duration::from_secs(10 * 60);

/// How soon what is in the log is in force.
const SETTLED: Duration = Duration::from_secs(1);

/// The revocations in force, shared by all who check tokens.
///
/// Looking one up takes a lock that is held for a hash; that is done once for every
/// token that comes in, and for a connection only when `watch` says that
/// there is something new.
#[derive(Clone)]
pub struct Revocations(Arc<Shared>);

struct Shared {
    set: RwLock<Set>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Set {
    /// Nothing is known yet, so nobody is believed.
    pending: bool,
    tokens: HashMap<TokenId, u64>,
    subjects: HashMap<UserId, Subject>,
    disabled: HashSet<UserId>,
}

struct Subject {
    issued_up_to: u64,
    until: u64,
}

impl Default for Revocations {
    /// Nothing is taken back.
    fn default() -> Self {
        Self::with(Set::default())
    }
}

impl Revocations {
    /// Nothing is known yet: until [`Revocations::load`] every token counts as taken back.
    pub fn pending() -> Self {
        Self::with(Set { pending: true, ..Set::default() })
    }

    fn with(set: Set) -> Self {
        Self(Arc::new(Shared { set: RwLock::new(set), changed: watch::Sender::new(()) }))
    }

    /// Puts what the store holds in force.
    pub fn load(&self, known: impl IntoIterator<Item = Revocation>) {
        self.change(|set| {
            set.pending = false;
            known.into_iter().for_each(|revocation| set.add(revocation));
        });
    }

    /// Whether nothing is known yet.
    pub fn are_pending(&self) -> bool {
        self.read(|set| set.pending)
    }

    /// Puts one more in force. Adding it again changes nothing.
    pub fn add(&self, revocation: Revocation) {
        self.change(|set| set.add(revocation));
    }

    /// Lets a disabled user in again.
    pub fn enable(&self, user: UserId) {
        self.change(|set| {
            set.disabled.remove(&user);
        });
    }

    /// Waits until a revocation that the store keeps is in force here.
    ///
    /// Who made it should not put it in force: two of one user at once must be so in the
    /// order of the log. Not for long, since another may have taken it back meanwhile.
    pub async fn in_force(&self, revocation: &Revocation) {
        self.settle(|set| set.holds(revocation)).await;
    }

    /// Waits until the user is let in here.
    pub async fn enabled(&self, user: UserId) {
        self.settle(|set| !set.disabled.contains(&user)).await;
    }

    async fn settle(&self, is: impl Fn(&Set) -> bool) {
        let mut changed = self.watch();
        let settled = async { while !self.read(&is) && changed.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(SETTLED, settled).await;
    }

    /// Forgets what is over, now and then and for ever.
    pub async fn keep_tidy(self) {
        loop {
            self.forget(sober_now());
            tokio::time::sleep(TIDY_EVERY).await;
        }
    }

    /// Forgets those that cover nothing which could be alive.
    pub fn forget(&self, now: SystemTime) {
        let now = seconds(now);
        let mut set = self.0.set.write().unwrap_or_else(PoisonError::into_inner);
        set.tokens.retain(|_, until| *until > now);
        set.subjects.retain(|_, subject| subject.until > now);
        set.tokens.shrink_to_fit();
    }

    fn change(&self, work: impl FnOnce(&mut Set)) {
        work(&mut self.0.set.write().unwrap_or_else(PoisonError::into_inner));
        // Behind the change: whoever is woken by it finds it.
        self.0.changed.send_replace(());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read(|set| set.tokens.len() + set.subjects.len() + set.disabled.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a token is taken back.
    pub fn cover(&self, token: &TokenRef) -> bool {
        self.covers(token.user, token.jti.as_deref(), token.issued_at)
    }

    /// The same of a token of which no more is known, as of one in the ledger.
    pub fn covers(&self, user: UserId, jti: Option<&str>, issued_at: Option<u64>) -> bool {
        self.read(|set| set.covers(user, jti, issued_at))
    }

    pub(super) fn check(&self, identity: &Identity) -> Result<(), Refused> {
        let issued_at = identity.issued_at.map(seconds);
        if self.covers(identity.user, identity.token_id(), issued_at) {
            Err(Refused::Revoked)
        } else {
            Ok(())
        }
    }

    fn read<T>(&self, work: impl FnOnce(&Set) -> T) -> T {
        work(&self.0.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }
}

impl Set {
    fn add(&mut self, revocation: Revocation) {
        match revocation {
            Revocation::Token { jti, until } => {
                let known = self.tokens.entry(jti).or_default();
                *known = until.max(*known);
            }
            Revocation::Subject { user, issued_up_to, until } => {
                let known =
                    self.subjects.entry(user).or_insert(Subject { issued_up_to: 0, until: 0 });
                known.issued_up_to = issued_up_to.max(known.issued_up_to);
                known.until = until.max(known.until);
            }
            Revocation::Disabled { user } => {
                self.disabled.insert(user);
            }
        }
    }

    fn holds(&self, revocation: &Revocation) -> bool {
        match revocation {
            Revocation::Token { jti, until } => {
                self.tokens.get(jti).is_some_and(|known| known >= until)
            }
            Revocation::Subject { user, issued_up_to, until } => self
                .subjects
                .get(user)
                .is_some_and(|known| known.issued_up_to >= *issued_up_to && known.until >= *until),
            Revocation::Disabled { user } => self.disabled.contains(user),
        }
    }

    fn covers(&self, user: UserId, jti: Option<&str>, issued_at: Option<u64>) -> bool {
        self.pending
            || jti.is_some_and(|jti| self.tokens.contains_key(jti))
            || self.disabled.contains(&user)
            || self.subjects.get(&user).is_some_and(|subject| {
                issued_at.is_none_or(|issued_at| issued_at <= subject.issued_up_to)
            })
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::auth::alg::Alg;
    use crate::auth::fingerprint::Fingerprint;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn token(of: u64, jti: &str, issued_at: Option<u64>) -> TokenRef {
        let jti = (!jti.is_empty()).then(|| jti.into());
        let key = Fingerprint::of(Alg::Hs256, [b"a key", b""]);
        TokenRef { user: user(of), jti, issued_at, kid: None, key, ends_at: 1000 }
    }

    fn one(jti: &str, until: u64) -> Revocation {
        Revocation::Token { jti: TokenId::new(jti).unwrap(), until }
    }

    #[test]
    fn a_token_is_taken_back_by_its_name_alone() {
        let revocations = Revocations::default();
        revocations.add(one("a", 100));
        assert!(revocations.cover(&token(1, "a", Some(5))));
        assert!(!revocations.cover(&token(1, "b", Some(5))));
        assert!(!revocations.cover(&token(1, "", None)));
    }

    #[test]
    fn each_of_a_hundred_thousand_is_in_force() {
        let revocations = Revocations::default();
        let name = |number: u64| format!("leaked-{number}");
        revocations.load((0..100_000).map(|number| one(&name(number), 1000)));
        assert_eq!(revocations.len(), 100_000);
        for number in 0..100_000 {
            assert!(revocations.covers(user(1), Some(&name(number)), Some(5)), "{number}");
            assert!(!revocations.covers(user(1), Some(&(name(number) + "x")), Some(5)), "{number}");
        }
    }

    #[test]
    fn a_subject_loses_what_was_issued_up_to_then() {
        let revocations = Revocations::default();
        let up_to =
            |issued_up_to, until| Revocation::Subject { user: user(1), issued_up_to, until };
        revocations.add(up_to(50, 100));
        // An earlier one takes nothing of it away.
        revocations.add(up_to(20, 70));
        assert!(revocations.cover(&token(1, "a", Some(50))));
        assert!(revocations.cover(&token(1, "", None)), "it may have been issued before");
        assert!(!revocations.cover(&token(1, "a", Some(51))));
        assert!(!revocations.cover(&token(2, "a", Some(50))));
        revocations.forget(UNIX_EPOCH + Duration::from_secs(99));
        assert!(revocations.cover(&token(1, "a", Some(50))));
        revocations.forget(UNIX_EPOCH + Duration::from_secs(100));
        assert!(revocations.is_empty());
    }

    #[test]
    fn a_disabled_user_stays_out_until_enabled() {
        let revocations = Revocations::default();
        revocations.add(Revocation::Disabled { user: user(1) });
        revocations.forget(SystemTime::now());
        assert!(revocations.cover(&token(1, "a", Some(u64::MAX))));
        revocations.enable(user(1));
        assert!(!revocations.cover(&token(1, "a", Some(5))));
    }

    #[test]
    fn before_anything_is_known_nobody_is_believed() {
        let revocations = Revocations::pending();
        assert!(revocations.are_pending());
        assert!(revocations.cover(&token(1, "a", Some(5))));
        revocations.load([one("b", 100)]);
        assert!(!revocations.are_pending());
        assert!(!revocations.cover(&token(1, "a", Some(5))));
        assert!(revocations.cover(&token(1, "b", Some(5))));
    }

    #[test]
    fn a_hundred_thousand_are_looked_through_in_far_less_than_a_millisecond() {
        let revocations = Revocations::default();
        revocations.load((0..100_000).map(|number| one(&number.to_string(), u64::MAX)));
        assert_eq!(revocations.len(), 100_000);
        let (began, looks) = (std::time::Instant::now(), 10_000);
        for number in 0..looks {
            let jti = (95_000 + number).to_string();
            assert_eq!(revocations.cover(&token(1, &jti, Some(5))), number < 5_000);
        }
        let each = began.elapsed() / looks;
        assert!(each < Duration::from_millis(1), "{each:?}");
    }

    #[test]
    fn who_watches_hears_of_every_change() {
        let revocations = Revocations::default();
        let mut watch = revocations.watch();
        assert!(!watch.has_changed().unwrap());
        revocations.add(one("a", 100));
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        revocations.enable(user(1));
        assert!(watch.has_changed().unwrap());
    }
}
