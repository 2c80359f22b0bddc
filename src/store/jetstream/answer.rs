//! An answer of a server that comes in several messages, whole or not.
//!
//! Each of them names the one before it, and so does the end. What the network lost on the way,
//! where a route between servers broke or somebody was too slow, shows in that chain.

use async_nats::Message;

use super::raw::{Raw, header};

/// How the end of a batch is marked.
const NO_CONTENT: u16 = 204;
/// Nothing was found.
const NOT_FOUND: u16 = 404;
/// More was asked for than is given at once.
const TOO_LARGE: u16 = 413;

/// What a server says in one answer, with nothing missing in between.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The end of what it found.
    Some {
        found: Vec<Raw>,
        /// How many more there are.
        pending: u64,
        /// How far it reached, where it was asked for the newest.
        up_to: Option<u64>,
    },
    /// It has nothing like that.
    Nothing,
    /// It was asked for more than it gives.
    TooMany,
}

/// The messages of an answer that have come, none missing between them.
#[derive(Default)]
pub(super) struct Coming {
    found: Vec<Raw>,
    /// The sequence of the last of them, 0 before the first.
    last: u64,
}

/// Why an answer is worth nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// What came behind this sequence is not what followed it; 0: at the beginning.
    Behind(u64),
    /// It ended with this status.
    Ended(u16),
}

impl Coming {
    /// Takes the next message of an answer; at the end gives what it says.
    pub(super) fn take(&mut self, message: Message) -> Result<Option<Answer>, Broken> {
        let number = |name: &str| {
            let headers = message.headers.as_ref()?;
            header(headers, name)?.parse::<u64>().ok()
        };
        let broken = Broken::Behind(self.last);
        let follows = number("Nats-Last-Sequence") == Some(self.last);
        let Some(status) = message.status else {
            let Some(raw) = Raw::from_message(message).filter(|_| follows) else {
                return Err(broken);
            };
            self.last = raw.seq;
            self.found.push(raw);
            return Ok(None);
        };
        match status.as_u16() {
            NO_CONTENT if follows => Ok(Some(Answer::Some {
                pending: number("Nats-Num-Pending").unwrap_or_default(),
                up_to: number("Nats-UpTo-Sequence"),
                found: std::mem::take(&mut self.found),
            })),
            NO_CONTENT => Err(broken),
            // In the middle, it could not load what it had found.
            NOT_FOUND if self.found.is_empty() => Ok(Some(Answer::Nothing)),
            TOO_LARGE if self.found.is_empty() => Ok(Some(Answer::TooMany)),
            other => Err(Broken::Ended(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::{HeaderMap, StatusCode};

    use super::*;

    fn message(status: Option<u16>, headers: &[(&str, u64)]) -> Message {
        let mut map = HeaderMap::new();
        map.insert("Nats-Subject", "im.msg.0.2.1");
        for (name, number) in headers {
            map.insert(*name, number.to_string());
        }
        Message {
            subject: "answer".into(),
            reply: None,
            payload: "x".into(),
            headers: Some(map),
            status: status.map(|status| StatusCode::from_u16(status).unwrap()),
            description: None,
            length: 0,
        }
    }

    /// What lies at `seq`, behind what lies at `last`.
    fn at(seq: u64, last: u64) -> Message {
        message(None, &[("Nats-Sequence", seq), ("Nats-Last-Sequence", last)])
    }

    fn end(last: u64) -> Message {
        let headers = [("Nats-Num-Pending", 9), ("Nats-Last-Sequence", last)];
        message(Some(NO_CONTENT), &headers)
    }

    fn take(messages: impl IntoIterator<Item = Message>) -> Result<Option<Answer>, Broken> {
        let mut coming = Coming::default();
        for message in messages {
            if let Some(answer) = coming.take(message)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    #[test]
    fn whatever_is_missing_of_an_answer_is_noticed() {
        let whole = || vec![at(3, 0), at(4, 3), at(9, 4), end(9)];
        let Ok(Some(Answer::Some { found, pending: 9, up_to: None })) = take(whole()) else {
            panic!("{:?}", take(whole()));
        };
        assert_eq!(found.iter().map(|raw| raw.seq).collect::<Vec<_>>(), [3, 4, 9]);
        for (missing, behind) in [(0, 0), (1, 3), (2, 4)] {
            let mut messages = whole();
            messages.remove(missing);
            assert_eq!(take(messages), Err(Broken::Behind(behind)), "{missing}");
        }
        assert_eq!(take([end(9)]), Err(Broken::Behind(0)), "all of it is missing");
        assert_eq!(take([at(3, 0), at(4, 3)]), Ok(None), "the end is");
        // Of another answer, or of no form.
        assert_eq!(take([at(3, 0), at(3, 0)]), Err(Broken::Behind(3)));
        assert_eq!(take([message(None, &[("Nats-Sequence", 3)])]), Err(Broken::Behind(0)));
        assert_eq!(take([message(None, &[("Nats-Last-Sequence", 0)])]), Err(Broken::Behind(0)));
    }

    #[test]
    fn how_far_a_replica_reaches_is_said_at_the_end() {
        let headers = [("Nats-Last-Sequence", 3), ("Nats-UpTo-Sequence", 7)];
        let end = message(Some(NO_CONTENT), &headers);
        let Ok(Some(Answer::Some { pending: 0, up_to: Some(7), .. })) = take([at(3, 0), end])
        else {
            panic!("it says so");
        };
    }

    #[test]
    fn nothing_is_an_answer_only_where_there_is_nothing_else() {
        let says = |status| message(Some(status), &[]);
        assert_eq!(take([says(NOT_FOUND)]), Ok(Some(Answer::Nothing)));
        assert_eq!(take([says(TOO_LARGE)]), Ok(Some(Answer::TooMany)));
        for status in [NOT_FOUND, TOO_LARGE, 503] {
            assert_eq!(take([at(3, 0), says(status)]), Err(Broken::Ended(status)));
        }
        assert_eq!(take([says(408)]), Err(Broken::Ended(408)), "a bad question");
    }
}
