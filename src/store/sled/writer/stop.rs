//! Why nothing is written any more.

use std::io;

use crate::store::sled::room::is_full;

/// Why nothing is written any more: the books and the disk may disagree.
#[derive(Debug)]
pub(in super::super) enum Stop {
    /// A write found no room; once there is some again, everything is opened anew.
    Full(String),
    /// For good, in this process.
    Final(String),
}

impl Stop {
    pub(super) fn io(error: &io::Error, what: String) -> Self {
        if is_full(error) { Self::Full(what) } else { Self::Final(what) }
    }

    pub(super) fn into_error(self) -> io::Error {
        let (Self::Full(why) | Self::Final(why)) = self;
        io::Error::other(why)
    }
}

impl From<sled::Error> for Stop {
    fn from(error: sled::Error) -> Self {
        match &error {
            sled::Error::Io(cause) => Self::io(cause, error.to_string()),
            _ => Self::Final(error.to_string()),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::io(&error, error.to_string())
    }
}
