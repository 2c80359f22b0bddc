//! What is known of users: one small stream, and what of it was asked for in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::codec::{Reader, Writer};
use super::log::Log;
use super::names::Names;
use super::raw::Raw;
use super::shared::Shared;
use super::writes::{Write, Written};
use crate::ids::{Sender, UserId};
use crate::message::Profile;
use crate::store::{ClaimedProfile, StoreError};

/// The version of this form.
const VERSION: u8 = 1;

/// Profiles that are kept in mind; past it all are read anew.
const PROFILES: usize = 50_000;

/// How often others may get in between before it is given up.
const TRIES: usize = 100;

/// What was read of profiles, kept fresh by what is heard.
#[derive(Default)]
pub(super) struct Profiles(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_user: HashMap<UserId, (u64, Arc<Profile>)>,
    /// How often all was forgotten: what was read before may be stale.
    age: u64,
}

impl Profiles {
    /// How often all was forgotten: to be asked before a read.
    fn age(&self) -> u64 {
        self.known().age
    }

    /// Takes what was read at `seq`, before which all had been forgotten `age` times.
    fn learn(&self, age: u64, user: UserId, seq: u64, profile: &Arc<Profile>) {
        let mut known = self.known();
        // Else something newer may have been heard meanwhile, and forgotten again.
        if known.age == age {
            known.take(user, seq, profile);
        }
    }

    /// Takes what was heard.
    pub(super) fn heard(&self, raw: &Raw) {
        if let Ok(Some((user, profile))) = parse(raw) {
            self.known().take(user, raw.seq, &Arc::new(profile));
        }
    }

    /// Something was missed.
    pub(super) fn forget(&self) {
        self.known().forget();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes what lies at `seq`, unless something newer is known.
    fn take(&mut self, user: UserId, seq: u64, profile: &Arc<Profile>) {
        if self.by_user.len() >= PROFILES && !self.by_user.contains_key(&user) {
            self.forget();
        }
        let held = self.by_user.entry(user).or_insert_with(|| (seq, Arc::clone(profile)));
        if held.0 < seq {
            *held = (seq, Arc::clone(profile));
        }
    }

    fn forget(&mut self) {
        self.by_user.clear();
        self.age += 1;
    }
}

impl Shared {
    /// The same as [`Shared::profile`], where nothing has to be asked for it.
    pub(super) fn known_profile(&self, of: Sender) -> Option<Arc<Profile>> {
        match of {
            Sender::User(user) => {
                self.profiles.known().by_user.get(&user).map(|(_, profile)| Arc::clone(profile))
            }
            Sender::System => Some(Arc::default()),
        }
    }

    /// What is known of who sent something; empty for the system and for strangers.
    pub(super) async fn profile(&self, of: Sender) -> Result<Arc<Profile>, StoreError> {
        let Sender::User(user) = of else { return Ok(Arc::default()) };
        let age = {
            let known = self.profiles.known();
            if let Some((_, profile)) = known.by_user.get(&user) {
                return Ok(Arc::clone(profile));
            }
            known.age
        };
        let (seq, profile) = self.log.profile_at(user).await?;
        let profile = Arc::new(profile);
        self.profiles.learn(age, user, seq, &profile);
        Ok(profile)
    }

    /// Remembers what a token says of a user.
    pub(super) async fn set_profile(
        &self,
        user: UserId,
        claimed: &ClaimedProfile,
    ) -> Result<(), StoreError> {
        if *claimed == ClaimedProfile::default() {
            return Ok(());
        }
        // Mostly it says what it said at the last connect.
        let known = self.profile(user.into()).await?;
        if claimed.over(&known) == *known {
            return Ok(());
        }
        for _ in 0..TRIES {
            let age = self.profiles.age();
            let (seq, known) = self.log.profile_at(user).await?;
            let profile = claimed.over(&known);
            if profile == known {
                self.profiles.learn(age, user, seq, &Arc::new(profile));
                return Ok(());
            }
            let subject = self.log.names.profile(user);
            let write = Write::new(subject, encode(&profile)).after(seq);
            if let Written::At(seq) = write.put(&self.log).await? {
                self.profiles.learn(age, user, seq, &Arc::new(profile));
                return Ok(());
            }
        }
        Err(StoreError::Unavailable)
    }
}

impl Log {
    /// What is known of a user, as the leader knows it.
    pub(super) async fn profile(&self, user: UserId) -> Result<Arc<Profile>, StoreError> {
        Ok(Arc::new(self.profile_at(user).await?.1))
    }

    /// The same with its sequence; 0: there is nothing.
    async fn profile_at(&self, user: UserId) -> Result<(u64, Profile), StoreError> {
        let subject = self.names.profile(user);
        let Some(raw) = self.reads.last(&self.names.profiles(), &subject).await? else {
            return Ok((0, Profile::default()));
        };
        let profile = parse(&raw)?.map(|(_, profile)| profile).unwrap_or_default();
        Ok((raw.seq, profile))
    }

    /// Reads what lies in the stream of profiles; nothing where it is something else or
    /// where nothing is known.
    pub(super) fn known(&self, raw: &Raw) -> Result<Option<(UserId, Profile)>, StoreError> {
        Ok(parse(raw)?.filter(|(_, profile)| *profile != Profile::default()))
    }
}

pub(super) fn encode(profile: &Profile) -> Bytes {
    let mut to = Writer::default();
    to.0.push(VERSION);
    to.bytes(profile.name.as_bytes());
    to.bytes(profile.picture.as_bytes());
    to.0.into()
}

/// Reads a profile; nothing where another thing lies there.
fn parse(raw: &Raw) -> Result<Option<(UserId, Profile)>, StoreError> {
    if !Names::is_profile(&raw.subject) {
        return Ok(None);
    }
    let read = || {
        let user = Names::user(&raw.subject)?;
        let mut bytes = Reader(&raw.payload);
        let known = bytes.byte()? == VERSION;
        let (name, picture) = (bytes.text()?.to_owned(), bytes.text()?.to_owned());
        known.then_some((user, Profile { name, picture }))
    };
    let damaged = || StoreError::Damaged(format!("{} is no profile of this version", raw.subject));
    read().map(Some).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For want of room they were forgotten without a word: who was reading one meanwhile then
    /// put what they had read in the place of the newer one that had been heard, for good.
    #[test]
    fn what_was_read_before_all_was_forgotten_is_not_learned() {
        let user = |id| UserId::new(id).unwrap();
        let called = |name: &str| Arc::new(Profile { name: name.to_owned(), ..Profile::default() });
        let profiles = Profiles::default();
        let name =
            |id| profiles.known().by_user.get(&user(id)).map(|(_, known)| known.name.clone());
        let age = profiles.age();
        profiles.known().take(user(1), 6, &called("new"));
        profiles.learn(age, user(1), 5, &called("old"));
        assert_eq!(name(1).as_deref(), Some("new"));
        for other in 2..=PROFILES as u64 {
            profiles.known().take(user(other), 10 + other, &called("other"));
        }
        // One who is known takes no room.
        profiles.learn(age, user(1), 5, &called("old"));
        assert_eq!(name(1).as_deref(), Some("new"));
        profiles.known().take(user(1 + PROFILES as u64), 7, &called("other"));
        assert_eq!(name(1), None);
        profiles.learn(age, user(1), 5, &called("old"));
        assert_eq!(name(1), None);
        profiles.learn(profiles.age(), user(1), 6, &called("new"));
        assert_eq!(name(1).as_deref(), Some("new"));
    }
}
