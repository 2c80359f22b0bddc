//! Cursors as clients hold them: opaque text, good where it was given out.
//!
//! The checksum is no secret, and needs none: a cursor opens nothing. Every reading is
//! bound to the caller's own conversations by their token, and the worst that a cursor
//! made by hand can do is to begin at another place in them. It keeps honest mistakes
//! apart: the cursor of another list or user, a truncated or an edited one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::digest128;
use crate::ids::{Sender, UserId};
use crate::server::refusal::Refusal;
use crate::store::HistoryCursor;

/// The form of cursors; another one makes those of before invalid.
const VERSION: u8 = 1;

/// Version, two numbers, checksum.
const LENGTH: usize = 1 + 8 + 8 + 16;

/// What a cursor is a place in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// All conversations of a user.
    Conversations(UserId),
    /// What a user and a peer wrote.
    Messages(UserId, Sender),
}

impl List {
    /// Writes a cursor into this list.
    pub(super) fn encode(self, cursor: HistoryCursor) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes(cursor))
    }

    /// Reads a cursor into this list.
    ///
    /// # Errors
    /// It was not given out for this list.
    pub(super) fn decode(self, text: &str) -> Result<HistoryCursor, Refusal> {
        // Padding and unused bits are refused: a cursor has one spelling.
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::BadCursor)?;
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_be_bytes).ok_or(Refusal::BadCursor)
        };
        let cursor = HistoryCursor([number(1)?, number(9)?]);
        if bytes == self.bytes(cursor) { Ok(cursor) } else { Err(Refusal::BadCursor) }
    }

    fn bytes(self, cursor: HistoryCursor) -> Vec<u8> {
        let HistoryCursor([first, second]) = cursor;
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend(first.to_be_bytes());
        bytes.extend(second.to_be_bytes());
        let digest = match self {
            Self::Conversations(user) => {
                digest128(&[b"conversations", &user.get().to_be_bytes(), &bytes])
            }
            Self::Messages(user, peer) => {
                let (user, peer) = (user.get().to_be_bytes(), peer.get().to_be_bytes());
                digest128(&[b"messages", &user, &peer, &bytes])
            }
        };
        bytes.extend(digest);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    proptest! {
        #[test]
        fn a_cursor_is_good_where_it_was_given_out(first: u64, second: u64, other in 1..99u64) {
            let cursor = HistoryCursor([first, second]);
            let lists = [
                List::Conversations(user(100)),
                List::Conversations(user(other)),
                List::Messages(user(100), Sender::System),
                List::Messages(user(100), user(other).into()),
                List::Messages(user(other), user(100).into()),
            ];
            for (at, list) in lists.iter().enumerate() {
                let text = list.encode(cursor);
                for (elsewhere, list) in lists.iter().enumerate() {
                    let expected = if at == elsewhere { Ok(cursor) } else { Err(Refusal::BadCursor) };
                    prop_assert_eq!(list.decode(&text), expected);
                }
            }
        }

        #[test]
        fn no_text_is_a_cursor_by_chance(text: String) {
            prop_assert_eq!(List::Conversations(user(1)).decode(&text), Err(Refusal::BadCursor));
        }
    }

    #[test]
    fn an_edited_cursor_is_none() {
        let list = List::Messages(user(1), user(2).into());
        let text = list.encode(HistoryCursor([7, 8]));
        assert_eq!(text.len(), 44, "whole groups: no unused bits to respell");
        for at in 0..text.len() {
            for to in ["A", "B", "-", "", "AA"] {
                let mut edited = text.clone();
                edited.replace_range(at..=at, to);
                if edited != text {
                    assert_eq!(list.decode(&edited), Err(Refusal::BadCursor), "{edited}");
                }
            }
        }
        for odd in [format!("{text}="), format!("{text}A"), format!(" {text}"), String::new()] {
            assert_eq!(list.decode(&odd), Err(Refusal::BadCursor), "{odd}");
        }
    }
}
