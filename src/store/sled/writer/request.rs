//! What the writer is asked for.

use tokio::sync::oneshot;

use crate::auth::Revocation;
use crate::ids::{ConnectionId, UserId};
use crate::store::sled::commit::Reply;
use crate::store::sled::reader::Mark;
use crate::store::sled::removal::Piece;
use crate::store::{AppendError, Appended, ClaimedProfile, Draft};

/// Something to be written.
#[derive(Debug)]
pub(in super::super) enum Request {
    Append(Draft, Reply<Appended>),
    /// Asks what an earlier try of the packet came to, where that is known by heart.
    Known(Draft, Reply<Option<Appended>>),
    MarkRead(UserId, Vec<Mark>, Option<ConnectionId>, Reply<()>),
    SetProfile(UserId, ClaimedProfile, Reply<()>),
    /// Takes messages away.
    Remove(Piece, Reply<()>),
    Revoke(Revocation, Reply<()>),
    Enable(UserId, Reply<()>),
    /// Writes what is in line, then ends.
    Close(oneshot::Sender<bool>),
}

impl Request {
    /// Says that nothing is written.
    pub(in super::super) fn refuse(self) {
        match self {
            Self::Append(_, reply) => drop(reply.send(Err(AppendError::Unavailable))),
            Self::Known(_, reply) => drop(reply.send(Err(AppendError::Unavailable))),
            Self::MarkRead(_, _, _, reply)
            | Self::SetProfile(_, _, reply)
            | Self::Remove(_, reply)
            | Self::Revoke(_, reply)
            | Self::Enable(_, reply) => {
                drop(reply.send(Err(AppendError::Unavailable)));
            }
            Self::Close(done) => drop(done.send(false)),
        }
    }
}
