//! The part of a commit by which messages go.

use foldhash::HashMap;

use super::super::keys::{self, Pair};
use super::super::reader;
use super::super::removal::{Parting, Piece};
use super::{Answer, Commit, Reply};
use crate::ids::{Sender, UserId};
use crate::message::Profile;
use crate::store::{AppendError, StoreError};

impl Commit<'_> {
    /// Adds a step of a removal.
    ///
    /// What is decided here and not in the plan is what others may have changed since: read
    /// flags, and whether a conversation has begun anew.
    pub(in super::super) fn remove(
        &mut self,
        piece: Piece,
        reply: Reply<()>,
    ) -> Result<(), StoreError> {
        for parting in piece.pairs.iter().filter(|parting| !parting.unread) {
            // Its read flags were seen, but not made durable: the plan does not hold.
            if reader::floor(&self.books.log, parting.pair)?.ordinal < parting.gone.ordinal {
                drop(reply.send(Err(AppendError::Unavailable)));
                return Ok(());
            }
        }
        for &parting in &piece.pairs {
            self.part(parting)?;
        }
        self.rows.show_at_once();
        self.taken.extend(piece.taken);
        let gone: HashMap<Pair, u64> =
            piece.pairs.iter().map(|parting| (parting.pair, parting.gone.ordinal)).collect();
        self.rows.extend(piece.rows);
        for (user, peer) in piece.parted {
            self.part_peers(user, peer, &gone)?;
        }
        if let Some(user) = piece.forgotten {
            self.books.set_profile(user, Profile::default());
        }
        self.answers.push(Answer::Done(reply));
        Ok(())
    }

    fn part(
        &mut self,
        Parting { pair, gone, messages, unread }: Parting,
    ) -> Result<(), StoreError> {
        let key = keys::gone(pair);
        let value = gone.encode(&key);
        self.insert(key, value);
        self.gone += messages;
        self.books.removed(pair.to);
        if unread {
            // Counted before the marks of this group, as in `mark_read`.
            self.books.inbox(pair.to)?;
            let (state, log) = self.read_state(pair)?;
            let load = |chunk| reader::islands(log, pair, chunk);
            let newly = state.raise_to(gone.ordinal, gone.id, load)?;
            self.books.read(pair.to, newly);
            self.newly_read += newly;
        }
        Ok(())
    }

    /// Forgets that the two wrote to each other, if nothing of it is left behind what is
    /// `gone` with this step or before it.
    fn part_peers(
        &mut self,
        user: UserId,
        peer: Sender,
        gone: &HashMap<Pair, u64>,
    ) -> Result<(), StoreError> {
        let pairs = reader::pairs(user, peer);
        for &pair in &pairs {
            let gone = match gone.get(&pair) {
                Some(&ordinal) => ordinal,
                None => reader::gone(&self.books.log, pair)?.ordinal,
            };
            if self.books.newest(pair)?.ordinal > gone {
                return Ok(());
            }
        }
        for pair in pairs {
            self.books.parted(pair);
        }
        self.delete(keys::peer(user, peer));
        if let Sender::User(peer) = peer {
            self.delete(keys::peer(peer, user.into()));
        }
        Ok(())
    }
}
