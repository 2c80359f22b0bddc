//! The part of a commit by which tokens and users are taken back, and users let in again.

use std::time::SystemTime;

use super::{Answer, Commit, Reply};
use crate::auth::Revocation;
use crate::ids::UserId;
use crate::store::sled::{keys, revoked};
use crate::store::{Announcement, StoreError};

impl Commit<'_> {
    /// Adds a revocation, unless it is over.
    pub(in super::super) fn revoke(
        &mut self,
        revocation: Revocation,
        reply: Reply<()>,
    ) -> Result<(), StoreError> {
        if !revocation.is_over(SystemTime::now()) {
            let key = revoked::key(&revocation);
            self.decree(&key, true)?;
            let value = revoked::encode(&key, &revocation);
            self.insert(key, value);
            self.decrees.push(Announcement::Revoked(revocation));
        }
        self.answers.push(Answer::Done(reply));
        Ok(())
    }

    /// Takes the revocation of a whole user back, if there is one.
    pub(in super::super) fn enable(
        &mut self,
        user: UserId,
        reply: Reply<()>,
    ) -> Result<(), StoreError> {
        let key = revoked::key(&Revocation::Disabled { user });
        self.decree(&key, false)?;
        self.delete(key);
        self.decrees.push(Announcement::Enabled(user));
        self.answers.push(Answer::Done(reply));
        Ok(())
    }

    /// Counts whether a revocation `is` there from now on.
    fn decree(&mut self, key: &[u8], is: bool) -> Result<(), StoreError> {
        let there = || self.books.log.contains_key(key);
        let was = match self.revoked.get(key) {
            Some(&was) => was,
            None => there().map_err(|error| StoreError::Damaged(error.to_string()))?,
        };
        self.books.revoked.change(was, is);
        self.revoked.insert(key.to_owned(), is);
        Ok(())
    }

    /// Adds the row that counts the revocations, where it changes.
    pub(super) fn write_decrees(&mut self) {
        if !self.decrees.is_empty() {
            // They are counted.
            self.rows.show_at_once();
            let value = self.books.revoked.encode();
            self.insert(keys::REVOCATIONS.to_vec(), value);
        }
    }
}
