//! What a house holds, pair by pair, as counts and digests: to be compared with another one.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::super::log::Pair;
use crate::digest::digest128;
use crate::ids::UserId;
use crate::message::Profile;
use crate::store::{Digest, Exported, Line, Record};

/// All that a store holds.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub(super) pairs: HashMap<Pair, Holding>,
    /// A digest of each profile.
    pub(super) profiles: HashMap<UserId, u128>,
    /// The lines of the revocations.
    pub(super) revocations: BTreeSet<String>,
    /// Over everything, as an export gives it.
    pub(super) digest: Digest,
}

/// The messages of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) messages: u64,
    pub(super) unread: u64,
    /// The sum of the digests of the messages: ids, ordinals, times, names, contents, and
    /// whether each was read.
    pub(super) content: u128,
    /// How many went before these.
    pub(super) gone: u64,
    /// Messages that do not know those before them, or whose reading is counted wrong.
    pub(super) broken: u64,
}

impl Holdings {
    /// Adds what an export says.
    pub(super) fn add(&mut self, record: Record) {
        // A profile of which nothing is known is none.
        if matches!(&record, Record::Profile(_, profile) if *profile == Profile::default()) {
            return;
        }
        let (pair, unread) = match &record {
            Record::Message(Exported { message, read, .. }) => {
                (Some(Pair { to: message.to, from: message.from }), u64::from(!read))
            }
            Record::Gone(gone) => {
                let pair = Pair { to: gone.to, from: gone.from };
                self.pairs.entry(pair).or_default().gone = gone.ordinal;
                (None, 0)
            }
            _ => (None, 0),
        };
        let user = match &record {
            Record::Profile(user, _) => Some(*user),
            _ => None,
        };
        let is_revocation = matches!(record, Record::Revocation(_));
        let line = Line::from(record);
        let written = line.write();
        self.digest.add(&line, &written);
        let digest = || u128::from_le_bytes(digest128(&[written.as_bytes()]));
        if let Some(pair) = pair {
            let holding = self.pairs.entry(pair).or_default();
            holding.messages += 1;
            holding.unread += unread;
            holding.content = holding.content.wrapping_add(digest());
        }
        if let Some(user) = user {
            self.profiles.insert(user, digest());
        }
        if is_revocation {
            self.revocations.insert(written);
        }
    }

    /// In what `there` differs, in words for people; nothing where they agree.
    pub(super) fn differences(&self, there: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let pairs: BTreeSet<&Pair> = self.pairs.keys().chain(there.pairs.keys()).collect();
        for pair in pairs {
            let [here, there] = [self, there].map(|holdings| holdings.pairs.get(pair));
            let [here, there] = [here, there].map(|holding| holding.copied().unwrap_or_default());
            if here != there {
                let (from, to) = (pair.from.get(), pair.to);
                let what =
                    format!("from {from} to {to}: the folder has {here}, the streams {there}");
                differences.push(what);
            }
        }
        let users: BTreeSet<&UserId> = self.profiles.keys().chain(there.profiles.keys()).collect();
        for user in users {
            if self.profiles.get(user) != there.profiles.get(user) {
                differences.push(format!("the profile of user {user} is another one"));
            }
        }
        for line in self.revocations.difference(&there.revocations) {
            differences.push(format!("a revocation is missing in the streams: {line}"));
        }
        for line in there.revocations.difference(&self.revocations) {
            differences.push(format!("a revocation is in the streams alone: {line}"));
        }
        differences
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, unread, content, gone, broken } = self;
        write!(f, "{messages} messages ({unread} unread, {gone} gone, digest {content:032x}")?;
        match broken {
            0 => f.write_str(")"),
            broken => write!(f, ", {broken} not in their places)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MessageId, Sender};
    use crate::message::{Message, StoredAt};

    fn message(id: u64, content: &str, read: bool) -> Record {
        let message = Message {
            id: MessageId::new(id).unwrap(),
            from: Sender::System,
            to: UserId::new(2).unwrap(),
            ordinal: id,
            stored_at: StoredAt(9),
            timestamp: "1".to_owned(),
            content: content.to_owned(),
        };
        Record::Message(Exported { message, client_id: None, read })
    }

    #[test]
    fn whatever_differs_is_named_with_its_pair() {
        let of = |records: Vec<Record>| {
            let mut holdings = Holdings::default();
            records.into_iter().for_each(|record| holdings.add(record));
            holdings
        };
        let here = || vec![message(1, "a", true), message(2, "b", false)];
        assert_eq!(of(here()).differences(&of(here())), Vec::<String>::new());
        for other in [
            vec![message(1, "a", true)],
            vec![message(1, "a", true), message(2, "c", false)],
            vec![message(1, "a", true), message(2, "b", true)],
            vec![message(1, "a", true), message(3, "b", false)],
        ] {
            let differences = of(here()).differences(&of(other));
            assert_eq!(differences.len(), 1, "{differences:?}");
            assert!(differences[0].starts_with("from 0 to 2: the folder has 2 messages (1 unread"));
        }
        let user = UserId::new(7).unwrap();
        let named = |name: &str| {
            Record::Profile(user, Profile { name: name.to_owned(), picture: String::new() })
        };
        assert_eq!(of(vec![named("")]).differences(&of(Vec::new())), Vec::<String>::new());
        let differences = of(vec![named("明")]).differences(&of(vec![named("红")]));
        assert_eq!(differences, ["the profile of user 7 is another one"]);
    }
}
