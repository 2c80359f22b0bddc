//! What a store holds, one thing at a time, and each as a line of JSON: the form in which
//! data leave imserver for people and other programs, and come back.

use serde::{Deserialize, Serialize};

use crate::auth::{Revocation, TokenId, check_name, check_picture};
use crate::ids::{MessageId, Sender, UserId};
use crate::message::{ClientMsgId, Message, Profile, StoredAt, TIMESTAMP_MAX};

/// The version of these lines.
pub const LINES_VERSION: u64 = 1;

/// One thing that a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// What is known of a user.
    Profile(UserId, Profile),
    /// The first messages of one to another are gone.
    Gone(Gone),
    /// Tokens that are taken back, or a user who is let in no more.
    Revocation(Revocation),
    /// A message.
    Message(Exported),
}

/// The messages of a pair are gone up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Who wrote them.
    pub from: Sender,
    /// To whom.
    pub to: UserId,
    /// How many they were.
    pub ordinal: u64,
    /// The id of the last one.
    pub id: MessageId,
}

/// A message with all that is kept about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The message.
    pub message: Message,
    /// The sender's own name for it.
    pub client_id: Option<ClientMsgId>,
    /// Marked as read.
    pub read: bool,
}

/// A line as it is written, between the first and the last as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum Line {
    /// The first line: what follows.
    Export {
        /// The version of the lines.
        version: u64,
        /// When it was made, in milliseconds since the Unix epoch.
        made: u64,
        /// The user whose data it is; nothing where it is everybody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<u64>,
        /// The highest message id that was given, or is given to a message here.
        last_id: String,
        /// Up to here ids have lapsed: messages had them where these were before, and none has
        /// them any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lapsed_up_to: Option<String>,
    },
    /// A profile.
    Profile {
        /// Whose.
        user_id: u64,
        /// The name; empty when unknown.
        user_name: String,
        /// The address of the picture; empty when unknown.
        #[serde(rename = "headURL")]
        head_url: String,
    },
    /// Messages that are gone.
    Gone {
        /// Who wrote them; 0 is the system.
        from_id: u64,
        /// To whom.
        to_id: u64,
        /// How many they were.
        ordinal: u64,
        /// The last one.
        message_id: String,
    },
    /// A token that is taken back.
    RevokedToken {
        /// Its id.
        jti: String,
        /// Until when it is kept in mind, in seconds since the Unix epoch.
        until: u64,
    },
    /// Tokens of a user that are taken back.
    RevokedTokens {
        /// Whose.
        user_id: u64,
        /// Up to which `iat`.
        issued_up_to: u64,
        /// Until when they are kept in mind, in seconds since the Unix epoch.
        until: u64,
    },
    /// A user who is let in no more.
    Disabled {
        /// Who.
        user_id: u64,
    },
    /// A message.
    Message {
        /// Its id.
        message_id: String,
        /// Who wrote it; 0 is the system.
        from_id: u64,
        /// To whom.
        to_id: u64,
        /// The how-manieth of the one to the other.
        ordinal: u64,
        /// The client's mark of time.
        timestamp: String,
        /// The text.
        content: String,
        /// When it was stored, in milliseconds since the Unix epoch.
        stored_at: u64,
        /// The sender's own name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_msg_id: Option<String>,
        /// Marked as read.
        read: bool,
    },
    /// The last line.
    End {
        /// How many messages there are.
        messages: u64,
        /// How many lines are between the first and this one.
        records: u64,
        /// The sum of the SHA-256 of these, in hexadecimal.
        digest: String,
    },
}

impl Line {
    /// The line without its end.
    pub fn write(&self) -> String {
        // Numbers and text alone: there is nothing that could not be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn read(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    /// What it says.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn record(self) -> Result<Record, String> {
        match self {
            Self::Profile { user_id, user_name, head_url } => {
                // They reach other people's screens as what a token brings does.
                check_name(&user_name).map_err(|fault| format!("userName: {fault}"))?;
                check_picture(&head_url).map_err(|fault| format!("headURL: {fault}"))?;
                Ok(Record::Profile(user(user_id)?, Profile { name: user_name, picture: head_url }))
            }
            Self::Gone { from_id, to_id, ordinal, message_id } => Ok(Record::Gone(Gone {
                from: sender(from_id)?,
                to: user(to_id)?,
                ordinal,
                id: id(&message_id)?,
            })),
            Self::RevokedToken { jti, until } => {
                let jti = TokenId::new(&jti).ok_or("this is no jti: it has 1 to 128 bytes")?;
                Ok(Record::Revocation(Revocation::Token { jti, until }))
            }
            Self::RevokedTokens { user_id, issued_up_to, until } => {
                let user = user(user_id)?;
                Ok(Record::Revocation(Revocation::Subject { user, issued_up_to, until }))
            }
            Self::Disabled { user_id } => {
                Ok(Record::Revocation(Revocation::Disabled { user: user(user_id)? }))
            }
            Self::Message {
                message_id,
                from_id,
                to_id,
                ordinal,
                timestamp,
                content,
                stored_at,
                client_msg_id,
                read,
            } => {
                if timestamp.len() > TIMESTAMP_MAX {
                    return Err(format!("its timestamp is longer than {TIMESTAMP_MAX} bytes"));
                }
                let name = |text: String| {
                    ClientMsgId::new(&text)
                        .ok_or(format!("a clientMsgId has 1 to {} bytes", ClientMsgId::MAX))
                };
                Ok(Record::Message(Exported {
                    message: Message {
                        id: id(&message_id)?,
                        from: sender(from_id)?,
                        to: user(to_id)?,
                        ordinal,
                        stored_at: StoredAt(stored_at),
                        timestamp,
                        content,
                    },
                    client_id: client_msg_id.map(name).transpose()?,
                    read,
                }))
            }
            Self::Export { .. } => Err("only the first line has the kind `export`".to_owned()),
            Self::End { .. } => Err("only the last line has the kind `end`".to_owned()),
        }
    }
}

fn user(id: u64) -> Result<UserId, String> {
    UserId::new(id).ok_or(format!("{id} is no user id: they go from 1 to 9007199254740991"))
}

fn sender(id: u64) -> Result<Sender, String> {
    Sender::new(id).ok_or(format!("{id} is no sender: they go from 0 to 9007199254740991"))
}

fn id(text: &str) -> Result<MessageId, String> {
    MessageId::parse(text).ok_or(format!(
        "{text:?} is no message id: a string of digits, \"1\" to \"9007199254740991\""
    ))
}

impl From<Record> for Line {
    fn from(record: Record) -> Self {
        match record {
            Record::Profile(user, Profile { name, picture }) => {
                Self::Profile { user_id: user.get(), user_name: name, head_url: picture }
            }
            Record::Gone(Gone { from, to, ordinal, id }) => Self::Gone {
                from_id: from.get(),
                to_id: to.get(),
                ordinal,
                message_id: id.to_string(),
            },
            Record::Revocation(Revocation::Token { jti, until }) => {
                Self::RevokedToken { jti: jti.as_str().to_owned(), until }
            }
            Record::Revocation(Revocation::Subject { user, issued_up_to, until }) => {
                Self::RevokedTokens { user_id: user.get(), issued_up_to, until }
            }
            Record::Revocation(Revocation::Disabled { user }) => {
                Self::Disabled { user_id: user.get() }
            }
            Record::Message(Exported { message, client_id, read }) => Self::Message {
                message_id: message.id.to_string(),
                from_id: message.from.get(),
                to_id: message.to.get(),
                ordinal: message.ordinal,
                timestamp: message.timestamp,
                content: message.content,
                stored_at: message.stored_at.0,
                client_msg_id: client_id.map(|name| name.as_str().to_owned()),
                read,
            },
        }
    }
}

/// A digest over records in whatever order they come: a store, its backup and its export
/// have the same one.
///
/// The sum of the SHA-256 of every record's line. Against accidents: one who chooses the
/// lines could find others with the same sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    sum: [u64; 4],
    records: u64,
    messages: u64,
}

impl Digest {
    /// Adds the line of a record.
    pub fn add(&mut self, line: &Line, written: &str) {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, written.as_bytes());
        let mut carry = 0u128;
        for (sum, bytes) in self.sum.iter_mut().zip(hash.as_ref().chunks_exact(8)) {
            let word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            carry += u128::from(*sum) + u128::from(word);
            *sum = carry as u64;
            carry >>= 64;
        }
        self.records += 1;
        self.messages += u64::from(matches!(line, Line::Message { .. }));
    }

    /// How many messages were added.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The last line of an export of what was added.
    pub fn end(&self) -> Line {
        let (messages, records) = (self.messages, self.records);
        Line::End { messages, records, digest: self.to_string() }
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.sum.iter().rev().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They used to be taken as they were, also what no token may bring.
    #[test]
    fn a_profile_is_what_a_token_may_bring() {
        let profile = |name: &str, picture: &str| {
            let (user_name, head_url) = (name.to_owned(), picture.to_owned());
            Line::Profile { user_id: 1, user_name, head_url }.record()
        };
        let (name, picture) = ("n".repeat(128), "p".repeat(2048));
        for (name, picture) in [("", ""), (&*name, &*picture), ("小\n明", "https://example.com/a")]
        {
            assert!(profile(name, picture).is_ok(), "{name:?} {picture:?}");
        }
        for (name, picture, fault) in [
            (&*format!("{name}n"), "", "userName: the name is over 128 bytes"),
            ("", &*format!("{picture}p"), "headURL: the picture's address is over 2048 bytes"),
            ("", "javascript:alert(1)", "headURL: the picture's address has another scheme"),
        ] {
            let what = profile(name, picture).unwrap_err();
            assert!(what.starts_with(fault), "{what}");
        }
    }
}
