//! The rows of revocations: `V`, until when, the kind and what it is about.
//!
//! With the time in front they lie in the order in which they are over, so that
//! forgetting is a look at the first of them. Before them all, under `V` alone, stands how
//! many there are: sled may lose a row, and a token that was taken back must not come to
//! life again by that.

use std::time::SystemTime;

use sled::Tree;

use super::census::Damage;
use super::codec::{Decoder, Encoder};
use super::keys::REVOCATIONS;
use super::rows::Rows;
use crate::auth::{Revocation, TokenId};
use crate::epoch;
use crate::ids::UserId;
use crate::store::StoreError;

/// So many are forgotten at once, to hold up no message.
pub(super) const PIECE: usize = 256;

const TOKEN: u8 = b't';
const SUBJECT: u8 = b's';
const DISABLED: u8 = b'd';

/// The layout version of the values.
const REVOCATION: u8 = 1;

pub(super) fn key(revocation: &Revocation) -> Vec<u8> {
    let mut key = REVOCATIONS.to_vec();
    key.extend(revocation.until().unwrap_or(u64::MAX).to_be_bytes());
    match revocation {
        Revocation::Token { jti, .. } => {
            key.push(TOKEN);
            key.extend(jti.as_str().as_bytes());
        }
        Revocation::Subject { user, .. } => {
            key.push(SUBJECT);
            key.extend(user.get().to_be_bytes());
        }
        Revocation::Disabled { user } => {
            key.push(DISABLED);
            key.extend(user.get().to_be_bytes());
        }
    }
    key
}

pub(super) fn encode(key: &[u8], revocation: &Revocation) -> Vec<u8> {
    let mut value = Encoder::new(REVOCATION, 16);
    if let Revocation::Subject { issued_up_to, .. } = revocation {
        value.number(*issued_up_to);
    }
    value.seal(key)
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Revocation> {
    let mut read = Decoder::open(REVOCATION, key, value)?;
    let (until, rest) = key.strip_prefix(REVOCATIONS)?.split_first_chunk::<8>()?;
    let until = u64::from_be_bytes(*until);
    let (kind, what) = rest.split_first()?;
    let user = || UserId::new(u64::from_be_bytes(what.try_into().ok()?));
    let revocation = match *kind {
        TOKEN => Revocation::Token { jti: TokenId::new(str::from_utf8(what).ok()?)?, until },
        SUBJECT => Revocation::Subject { user: user()?, issued_up_to: read.number()?, until },
        // It has no end; one that has would be swept away with it.
        DISABLED if until == u64::MAX => Revocation::Disabled { user: user()? },
        _ => return None,
    };
    read.at_end().then_some(revocation)
}

/// How many revocations there are, and how often that was changed by somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    /// Revocations and their contraries; what is over and forgotten does not count.
    pub(super) decrees: u64,
}

impl Tally {
    pub(super) fn read(tree: &Tree) -> Result<Self, Damage> {
        let damage = || "the count of the revocations is not whole".to_owned();
        match tree.get(REVOCATIONS).map_err(|error| error.to_string())? {
            Some(value) => Self::decode(&value).ok_or_else(damage),
            None => Ok(Self::default()),
        }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut value = Encoder::new(REVOCATION, 16);
        value.number(self.rows).number(self.decrees);
        value.seal(REVOCATIONS)
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut read = Decoder::open(REVOCATION, REVOCATIONS, value)?;
        let (rows, decrees) = (read.number()?, read.number()?);
        read.at_end().then_some(Self { rows, decrees })
    }

    /// Enters that a row is there now which was, or was not, before; or the contrary.
    pub(super) fn change(&mut self, before: bool, now: bool) {
        self.decrees += 1;
        match (before, now) {
            (false, true) => self.rows += 1,
            (true, false) => self.rows = self.rows.saturating_sub(1),
            _ => {}
        }
    }
}

/// All that are not over.
pub(super) fn in_force(tree: &Tree) -> Result<Vec<Revocation>, StoreError> {
    let now = SystemTime::now();
    let mut found = rows(tree).map_err(StoreError::Damaged)?;
    found.retain(|revocation| !revocation.is_over(now));
    Ok(found)
}

/// Every row must be there and whole. Gives how often somebody changed them.
pub(super) fn check(tree: &Tree) -> Result<u64, Damage> {
    let (rows, tally) = (rows(tree)?.len() as u64, Tally::read(tree)?);
    if rows != tally.rows {
        return Err(format!("{} revocations are in force, but {rows} are there", tally.rows));
    }
    Ok(tally.decrees)
}

/// All rows, also of those that are over and not forgotten yet.
pub(super) fn rows(tree: &Tree) -> Result<Vec<Revocation>, Damage> {
    // Behind the count.
    let first = [REVOCATIONS, &[0]].concat();
    let rows = tree
        .range(first..)
        .take_while(|row| row.as_ref().map_or(true, |(key, _)| key.starts_with(REVOCATIONS)));
    let rows = rows.map(|row| {
        let (key, value) = row.map_err(|error| error.to_string())?;
        decode(&key, &value)
            .ok_or_else(|| format!("the revocation record under {key:02x?} is not whole"))
    });
    rows.collect()
}

/// What removes some of those that are over; says how many that are.
pub(super) fn sweep(
    tree: &Tree,
    tally: &mut Tally,
    now: SystemTime,
) -> sled::Result<(Rows, usize)> {
    let now = epoch::seconds(now);
    let first = [REVOCATIONS, &[0; 8]].concat();
    let end = [REVOCATIONS, &now.saturating_add(1).to_be_bytes()].concat();
    let mut rows = Rows::default();
    for row in tree.range(first..end).take(PIECE) {
        let (key, _) = row?;
        rows.remove(key);
    }
    let count = rows.len();
    if count > 0 {
        // They are counted.
        rows.show_at_once();
        tally.rows = tally.rows.saturating_sub(count as u64);
        rows.insert(REVOCATIONS, tally.encode());
    }
    Ok((rows, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ID_END;
    use proptest::prelude::*;

    fn revocation() -> impl Strategy<Value = Revocation> {
        let user = || (1..ID_END).prop_map(|id| UserId::new(id).unwrap());
        prop_oneof![
            ("\\PC{1,32}", any::<u64>()).prop_map(|(jti, until)| {
                Revocation::Token { jti: TokenId::new(&jti).unwrap(), until }
            }),
            (user(), any::<u64>(), any::<u64>()).prop_map(|(user, issued_up_to, until)| {
                Revocation::Subject { user, issued_up_to, until }
            }),
            user().prop_map(|user| Revocation::Disabled { user }),
        ]
    }

    proptest! {
        #[test]
        fn a_revocation_comes_back(revocation in revocation()) {
            let key = key(&revocation);
            let value = encode(&key, &revocation);
            prop_assert_eq!(decode(&key, &value), Some(revocation));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = (decode(&key, &value), Tally::decode(&value));
        }
    }
}
