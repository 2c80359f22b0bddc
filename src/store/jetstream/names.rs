//! What the streams and subjects are called, and which number stands where.
//!
//! An inbox lies in one partition, which its user's id alone decides. A message id names
//! partition and sequence: `id = sequence * partitions + partition`. So the number of
//! partitions can never change.

use std::sync::Arc;

use async_nats::Subject;

use super::jumps::Jumps;
use crate::ids::{MessageId, Sender, UserId};

/// The names of one deployment.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    partitions: u64,
    /// Where what each stream of messages takes in is told to every node: made once, for every
    /// write says it.
    live_messages: Arc<[Subject]>,
    /// What was moved in here once.
    moved: Arc<Moved>,
}

/// What the ids of messages that were moved in have to do with their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// With one partition: where ids go ahead of the sequences.
    pub(super) jumps: Jumps,
    /// Up to this id, it was given before the move.
    pub(super) last_id: u64,
    /// Up to this id, it had lapsed before the move.
    pub(super) lapsed: u64,
}

impl Names {
    pub(super) fn new(prefix: &str, partitions: u16) -> Self {
        let partitions = u64::from(partitions.max(1));
        let (prefix, live_messages, moved) = (prefix.to_owned(), Arc::default(), Arc::default());
        let names = Self { prefix, partitions, live_messages, moved };
        let live = |part| names.live(&names.messages(part)).into();
        Self { live_messages: (0..partitions).map(live).collect(), ..names }
    }

    /// The same names, for streams into which something was moved.
    pub(super) fn with(&self, moved: Moved) -> Self {
        Self { moved: Arc::new(moved), ..self.clone() }
    }

    /// The last id that was given before the move; 0: nothing was moved in.
    pub(super) fn last_old(&self) -> u64 {
        self.moved.last_id
    }

    /// Up to which id no message has, or had, it here: not before the move either.
    pub(super) fn lapsed(&self) -> u64 {
        self.moved.lapsed
    }

    /// Whether an id was given before the move.
    pub(super) fn is_from_before(&self, id: u64) -> bool {
        (1..=self.moved.last_id).contains(&id)
    }

    /// Whether it is one that a message has no more: with several partitions.
    pub(super) fn is_old(&self, id: u64) -> bool {
        self.partitions > 1 && self.is_from_before(id)
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> u64 {
        self.partitions
    }

    /// The partition of a user's inbox and read state.
    pub(super) fn part(&self, user: UserId) -> u64 {
        mixed(user.get()) % self.partitions
    }

    /// The id of what lies at `seq` of a partition.
    pub(super) fn id(&self, part: u64, seq: u64) -> Option<MessageId> {
        MessageId::new(self.number(part, seq))
    }

    /// The id of `seq` as a plain number, for cursors; 0 is before all.
    pub(super) fn number(&self, part: u64, seq: u64) -> u64 {
        match seq {
            0 => 0,
            seq => self.moved.jumps.id(seq).saturating_mul(self.partitions).saturating_add(part),
        }
    }

    /// Where an id lies: partition and sequence; the sequence 0 where it can be nobody's.
    pub(super) fn place(&self, id: u64) -> (u64, u64) {
        let seq = self.moved.jumps.seq(id / self.partitions);
        (id % self.partitions, seq.unwrap_or_default())
    }

    /// The highest sequence of `part` whose id is at or below `id`.
    pub(super) fn seq_up_to(&self, part: u64, id: u64) -> u64 {
        let seq = self.moved.jumps.seq_up_to(id / self.partitions);
        if id % self.partitions >= part { seq } else { seq.saturating_sub(1) }
    }

    /// The first sequence of every partition into which something was moved: its id is larger
    /// than all old ones.
    pub(super) fn first_new(&self) -> u64 {
        match self.moved.last_id {
            0 => 1,
            last => last / self.partitions + 2,
        }
    }

    /// The stream with the messages of a partition.
    pub(super) fn messages(&self, part: u64) -> String {
        format!("{}-msg-{part}", self.prefix)
    }

    /// Whether a stream is one with messages.
    pub(super) fn is_messages(&self, stream: &str) -> bool {
        stream.starts_with(&format!("{}-msg-", self.prefix))
    }

    /// The stream with the read state of a partition.
    pub(super) fn reads(&self, part: u64) -> String {
        format!("{}-rd-{part}", self.prefix)
    }

    /// The stream with the profiles.
    pub(super) fn profiles(&self) -> String {
        format!("{}-profiles", self.prefix)
    }

    /// The stream with the revocations.
    pub(super) fn revocations(&self) -> String {
        format!("{}-revoked", self.prefix)
    }

    /// The stream with what nodes must know of each other's tickets.
    pub(super) fn tickets(&self) -> String {
        format!("{}-tickets", self.prefix)
    }

    /// The stream with the audit log.
    pub(super) fn audit(&self) -> String {
        format!("{}-audit", self.prefix)
    }

    /// Where a message of `from` to `to` is published.
    pub(super) fn message(&self, to: UserId, from: Sender) -> String {
        format!("{}.msg.{}.{to}.{}", self.prefix, self.part(to), from.get())
    }

    /// All messages to a user.
    pub(super) fn inbox(&self, to: UserId) -> String {
        format!("{}.msg.{}.{to}.*", self.prefix, self.part(to))
    }

    /// What is published where there is no message, to be removed again: nobody's inbox.
    pub(super) fn nothing(&self, part: u64) -> String {
        format!("{}.msg.{part}.0.0", self.prefix)
    }

    /// All messages of a partition.
    pub(super) fn all_messages(&self, part: u64) -> String {
        format!("{}.msg.{part}.*.*", self.prefix)
    }

    /// All messages of a user in a partition.
    pub(super) fn sent(&self, part: u64, from: UserId) -> String {
        format!("{}.msg.{part}.*.{from}", self.prefix)
    }

    /// What `reader` has read of `peer`.
    pub(super) fn read(&self, reader: UserId, peer: Sender) -> String {
        format!("{}.rd.{}.{reader}.{}", self.prefix, self.part(reader), peer.get())
    }

    /// All that a user has read.
    pub(super) fn read_by(&self, reader: UserId) -> String {
        format!("{}.rd.{}.{reader}.*", self.prefix, self.part(reader))
    }

    /// All read state of a partition.
    pub(super) fn all_reads(&self, part: u64) -> String {
        format!("{}.rd.{part}.*.*", self.prefix)
    }

    /// A user's profile.
    pub(super) fn profile(&self, user: UserId) -> String {
        format!("{}.pr.{user}", self.prefix)
    }

    /// All profiles.
    pub(super) fn all_profiles(&self) -> String {
        format!("{}.pr.*", self.prefix)
    }

    /// That a user is being erased.
    pub(super) fn erasure(&self, user: UserId) -> String {
        format!("{}.er.{user}", self.prefix)
    }

    /// All users that are being erased.
    pub(super) fn all_erasures(&self) -> String {
        format!("{}.er.*", self.prefix)
    }

    /// A revocation, by a word for what it takes back.
    pub(super) fn revocation(&self, word: &str) -> String {
        format!("{}.rv.{word}", self.prefix)
    }

    /// All revocations.
    pub(super) fn all_revocations(&self) -> String {
        format!("{}.rv.*", self.prefix)
    }

    /// The key that checks the tickets of one node. `kid` is a word without dots.
    pub(super) fn ticket_key(&self, kid: &str) -> String {
        format!("{}.tk.{kid}", self.prefix)
    }

    /// All such keys.
    pub(super) fn all_ticket_keys(&self) -> String {
        format!("{}.tk.*", self.prefix)
    }

    /// That a ticket is used, by the digits of its digest.
    pub(super) fn spent_ticket(&self, digits: &str) -> String {
        format!("{}.tu.{digits}", self.prefix)
    }

    /// All used tickets.
    pub(super) fn all_spent_tickets(&self) -> String {
        format!("{}.tu.*", self.prefix)
    }

    /// All acts.
    pub(super) fn all_audit(&self) -> String {
        format!("{}.au.>", self.prefix)
    }

    /// An act that is looked for by nothing.
    pub(super) fn audit_of_act(&self) -> String {
        format!("{}.au.act", self.prefix)
    }

    /// That a token was issued, by its user and by the digits of its name.
    pub(super) fn audit_of_token(&self, sub: &str, digits: &str) -> String {
        format!("{}.au.token.{sub}.{digits}", self.prefix)
    }

    /// Where nodes tell each other who is typing.
    pub(super) fn typing(&self) -> String {
        format!("{}.typing", self.prefix)
    }

    /// Where nodes say that they are there.
    pub(super) fn presence(&self) -> String {
        format!("{}.nodes.here", self.prefix)
    }

    /// Where nodes ask all others.
    pub(super) fn questions(&self) -> String {
        format!("{}.nodes.asked", self.prefix)
    }

    /// Below what a node is answered. Not an inbox: nodes need not be allowed to write to others'.
    pub(super) fn answers(&self, node: u64) -> String {
        format!("{}.nodes.told.{node:016x}", self.prefix)
    }

    /// Whether a subject is below some node's [`Names::answers`].
    pub(super) fn is_answer(&self, subject: &str) -> bool {
        let rest = subject.strip_prefix(&self.prefix);
        rest.is_some_and(|rest| rest.starts_with(".nodes.told."))
    }

    /// Where what a stream takes in is told to every node.
    pub(super) fn live(&self, stream: &str) -> String {
        format!("{}.live.{stream}", self.prefix)
    }

    /// The same for the messages of a partition, of which there are so many.
    pub(super) fn live_messages(&self, part: u64) -> Option<Subject> {
        self.live_messages.get(usize::try_from(part).ok()?).cloned()
    }

    /// Reads the two users at the end of a subject: the owner, and the other.
    pub(super) fn pair(subject: &str) -> Option<(UserId, Sender)> {
        let mut tokens = subject.rsplit('.');
        let other = Sender::new(tokens.next()?.parse().ok()?)?;
        Some((UserId::parse(tokens.next()?)?, other))
    }

    /// Whether a subject is that of a profile.
    pub(super) fn is_profile(subject: &str) -> bool {
        subject.rsplit('.').nth(1) == Some("pr")
    }

    /// Reads the user at the end of a subject.
    pub(super) fn user(subject: &str) -> Option<UserId> {
        UserId::parse(subject.rsplit('.').next()?)
    }
}

/// Spreads neighbouring numbers (the finalizer of SplitMix64). Kept for ever, as the
/// partitions are.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_place() {
        for partitions in [1, 3, 64] {
            let names = Names::new("im", partitions);
            for (part, seq) in [(0, 1), (u64::from(partitions) - 1, 7)] {
                let id = names.id(part, seq).unwrap().get();
                assert_eq!(names.place(id), (part, seq));
                assert_eq!(names.seq_up_to(part, id), seq);
                assert_eq!(names.seq_up_to(part, id - 1), seq - 1);
            }
        }
    }

    #[test]
    fn where_users_lie_never_changes() {
        let names = Names::new("im", 64);
        let parts = [1, 2, 3, 1000, (1 << 53) - 1].map(|id| names.part(UserId::new(id).unwrap()));
        assert_eq!(parts, [37, 10, 48, 23, 3]);
    }

    #[test]
    fn a_subject_names_its_users() {
        let names = Names::new("im", 64);
        let (user, system) = (UserId::new(7).unwrap(), Sender::System);
        assert_eq!(Names::pair(&names.message(user, system)), Some((user, system)));
        assert_eq!(Names::pair(&names.read(user, user.into())), Some((user, user.into())));
        assert_eq!(Names::user(&names.profile(user)), Some(user));
        assert_eq!(Names::pair("im.msg"), None);
        assert!(names.is_answer(&format!("{}.1", names.answers(7))));
        assert!(!names.is_answer("in.nodes.told.7.1") && !names.is_answer(&names.profile(user)));
        assert_eq!(Names::pair(&names.nothing(3)), None);
        let live = names.live_messages(63).unwrap();
        assert_eq!((live.as_str(), names.live_messages(64)), ("im.live.im-msg-63", None));
    }
}
