//! Of whom is known by heart that their token says nothing new of them, so that who comes back
//! with the same name and picture needs no read.
//!
//! As with inboxes: readers enter what they found, unless something changed meanwhile, and the
//! writer takes out whom a commit changed, once it is durable.

use std::sync::{Mutex, MutexGuard, PoisonError};

// Seeded, since it is clients who choose what goes into it.
use foldhash::HashMap;

use crate::digest::digest128;
use crate::ids::UserId;
use crate::store::ClaimedProfile;

/// Users of whom it is kept, in some 13 MB. With more, all are forgotten.
const KEPT: usize = if cfg!(test) { 64 } else { 1 << 18 };

/// What a token says of its bearer, made short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print([u8; 16]);

impl Print {
    pub(super) fn of(claimed: &ClaimedProfile) -> Self {
        let claims = [&claimed.name, &claimed.picture];
        let said = claims.map(|text| u8::from(text.is_some()));
        let [name, picture] = claims.map(|text| text.as_deref().unwrap_or_default().as_bytes());
        Self(digest128(&[&said, name, picture]))
    }
}

#[derive(Debug, Default)]
struct Table {
    prints: HashMap<UserId, Print>,
    /// How often something was told to have changed.
    changes: u64,
}

/// What is known of the tokens of those who came to one open database.
#[derive(Debug, Default)]
pub(super) struct Claims {
    table: Mutex<Table>,
}

impl Claims {
    /// Whether it is certain that what is known of the user says the same.
    pub(super) fn say_nothing_new(&self, user: UserId, print: Print) -> bool {
        self.table().prints.get(&user) == Some(&print)
    }

    /// How often something changed: to be asked before a read whose outcome is to be entered.
    pub(super) fn changes(&self) -> u64 {
        self.table().changes
    }

    /// Enters that a read found the same, before which there had been so many `changes`.
    pub(super) fn found_the_same(&self, user: UserId, print: Print, changes: u64) {
        let mut table = self.table();
        if table.changes != changes {
            return;
        }
        if table.prints.len() >= KEPT {
            table.prints = HashMap::default();
        }
        table.prints.insert(user, print);
    }

    /// Takes out those of whom a commit changed what is known. It is durable.
    pub(super) fn changed(&self, users: impl ExactSizeIterator<Item = UserId>) {
        if users.len() == 0 {
            return;
        }
        let mut table = self.table();
        table.changes += 1;
        for user in users {
            table.prints.remove(&user);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing under this lock can be left half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn print(name: Option<&str>, picture: Option<&str>) -> Print {
        let [name, picture] = [name, picture].map(|text| text.map(str::to_owned));
        Print::of(&ClaimedProfile { name, picture })
    }

    #[test]
    fn no_two_claims_are_the_same_in_short() {
        let texts = [None, Some(""), Some("a"), Some("b"), Some("ab")];
        let all: Vec<_> =
            texts.iter().flat_map(|&name| texts.map(|picture| print(name, picture))).collect();
        for (at, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(at));
        }
    }

    #[test]
    fn what_a_read_found_counts_only_where_nothing_changed_meanwhile() {
        let (claims, ann, bob) = (Claims::default(), print(Some("Ann"), None), print(None, None));
        let before = claims.changes();
        claims.found_the_same(user(1), ann, before);
        assert!(claims.say_nothing_new(user(1), ann));
        assert!(!claims.say_nothing_new(user(1), bob) && !claims.say_nothing_new(user(2), ann));
        claims.changed([user(1)].into_iter());
        assert!(!claims.say_nothing_new(user(1), ann));
        claims.found_the_same(user(1), ann, before);
        assert!(!claims.say_nothing_new(user(1), ann), "it was read before the change");
        claims.changed([].into_iter());
        claims.found_the_same(user(1), ann, before + 1);
        assert!(claims.say_nothing_new(user(1), ann));
        // It does not grow for ever.
        for id in 2..=1 + KEPT as u64 {
            claims.found_the_same(user(id), ann, claims.changes());
        }
        assert!(!claims.say_nothing_new(user(1), ann));
        assert!(claims.say_nothing_new(user(1 + KEPT as u64), ann));
    }
}
