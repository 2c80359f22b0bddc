//! NATS with JetStream: one stream holds all inboxes, a durable consumer is a
//! user's place in theirs, a publish is answered when the stream has it.

use std::borrow::Cow;

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memmem;
use serde_json::json;

use super::message::Message;
use super::stream::Stream;
use super::{Incoming, Link, Speech, answer};
use crate::frame::{BINARY, Content, Template, write_frame};
use crate::scan::digits;
use crate::wire::Wire;

/// Subscription of every connection to the answers to what it publishes.
const ANSWERS: &[u8] = b"1";
/// Subscription of every connection to its inbox.
const INBOX: &[u8] = b"2";
/// Requests for consumers that are under way at the same time.
const REQUESTS: usize = 64;

/// A user's client.
#[derive(Debug)]
pub struct Nats {
    user: u64,
    stream: Stream,
    message: Option<Message>,
    /// Where to say that all up to the last message were read.
    last_reply: Vec<u8>,
}

impl Nats {
    /// Says who this is, and subscribes to the inbox and to answers.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn greet(wire: Wire, user: u64, token: &str) -> Result<Link> {
        let subscriptions =
            format!("SUB {answers}.* 1\r\nSUB deliver.{user} 2\r\n", answers = answers(user));
        let (wire, rest) = log_in(wire, token, &subscriptions).await?;
        let mut nats =
            Self { user, stream: Stream::default(), message: None, last_reply: Vec::new() };
        // Messages that were waiting may have come already; they are heard first.
        nats.stream.feed(&rest, |_| Ok(None))?;
        Ok(Link::new(wire, nats))
    }

    fn take(
        &mut self,
        operation: &Operation<'_>,
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<()> {
        match operation {
            Operation::Message { subject, sid, payload, .. } if *sid == ANSWERS => {
                let start = subject.iter().rposition(|byte| *byte == b'.').unwrap_or_default() + 1;
                let sequence = subject.get(start..).and_then(digits).context("a stray answer")?.0;
                let failed = memmem::find(payload, br#""error""#).is_some()
                    || memmem::find(payload, br#""seq""#).is_none();
                heard(if failed {
                    let said = String::from_utf8_lossy(payload).into_owned();
                    Incoming::Failure(Some(sequence), said)
                } else {
                    Incoming::Success(sequence)
                });
            }
            Operation::Message { sid, reply, payload, .. } if *sid == INBOX => {
                let id = stream_sequence(reply).context("a message without its place")?;
                self.last_reply.clear();
                self.last_reply.extend_from_slice(reply);
                heard(Incoming::Message { id, content: Cow::Borrowed(payload) });
            }
            Operation::Message { .. } => heard(Incoming::Unknown),
            Operation::Ping => write_frame(BINARY, b"PONG\r\n", out),
            Operation::Error(said) => bail!("the server said {}", String::from_utf8_lossy(said)),
            Operation::Other => {}
        }
        Ok(())
    }
}

impl Speech for Nats {
    fn address(&mut self, recipient: u64, content: &Content) {
        let (content, digits) = content.zeroed();
        let start = format!("PUB inbox.{recipient} {}.", answers(self.user));
        let middle = format!("{start}0000000000 {}\r\n", content.len());
        self.message = Some(Message {
            frame: Template::new(BINARY, format!("{middle}{content}\r\n").as_bytes()),
            places: [start.len(), middle.len() + digits],
        });
    }

    fn say(&mut self, sequence: u64, out: &mut Vec<u8>) {
        if let Some(message) = &self.message {
            message.write(sequence, out);
        }
    }

    fn hear(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<()> {
        let mut stream = std::mem::take(&mut self.stream);
        stream.feed(payload, |text| {
            let Some((operation, length)) = split(text)? else {
                return Ok(None);
            };
            self.take(&operation, out, heard)?;
            Ok(Some(length))
        })?;
        self.stream = stream;
        Ok(())
    }

    /// All up to the last one at once: the consumers have the policy "all".
    fn mark_read(&mut self, _ids: &[u64], out: &mut Vec<u8>) {
        if !self.last_reply.is_empty() {
            let reply = String::from_utf8_lossy(&self.last_reply);
            write_frame(BINARY, format!("PUB {reply} 4\r\n+ACK\r\n").as_bytes(), out);
        }
    }
}

/// Makes the stream, and a durable consumer for each of these users.
///
/// # Errors
/// The server refuses.
pub async fn make_inboxes(wire: Wire, token: &str, users: &[u64]) -> Result<()> {
    let (mut wire, mut rest) = log_in(wire, token, "SUB _made.* 1\r\n").await?;
    let stream = json!({
        "name": "INBOXES", "subjects": ["inbox.*"], "storage": "file", "retention": "limits",
        "discard": "old", "num_replicas": 1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
    });
    let mut requests =
        vec![("$JS.API.STREAM.CREATE.INBOXES".to_owned(), stream.to_string().into_bytes())];
    for user in users {
        let consumer = json!({"stream_name": "INBOXES", "config": {
            "durable_name": format!("user-{user}"), "filter_subject": format!("inbox.{user}"),
            "deliver_subject": format!("deliver.{user}"), "deliver_policy": "all",
            "ack_policy": "all", "ack_wait": 3_600_000_000_000_u64, "max_ack_pending": -1,
        }});
        let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.INBOXES.user-{user}");
        requests.push((subject, consumer.to_string().into_bytes()));
    }
    // The stream has to be there before the first consumer.
    let (first, others) = requests.split_at(1);
    for some in std::iter::once(first).chain(others.chunks(REQUESTS)) {
        let mut text = Vec::new();
        for (number, (subject, body)) in some.iter().enumerate() {
            text.extend(format!("PUB {subject} _made.{number} {}\r\n", body.len()).as_bytes());
            text.extend(body);
            text.extend(b"\r\n");
        }
        write_frame(BINARY, &text, wire.out());
        let mut open = some.len();
        while open > 0 {
            let mut stream = Stream::default();
            stream.feed(&rest, |text| {
                let Some((operation, length)) = split(text)? else {
                    return Ok(None);
                };
                if let Operation::Message { payload, .. } = operation {
                    let said = String::from_utf8_lossy(payload);
                    ensure!(!said.contains(r#""error""#), "no inbox was made: {said}");
                    open -= 1;
                }
                Ok(Some(length))
            })?;
            rest = stream.rest();
            if open > 0 {
                rest.extend(answer(&mut wire).await?);
            }
        }
    }
    wire.close().await;
    Ok(())
}

/// Says who this is, and gives what came behind the server's last word on it.
async fn log_in(mut wire: Wire, token: &str, more: &str) -> Result<(Wire, Vec<u8>)> {
    let info = answer(&mut wire).await?;
    ensure!(info.starts_with(b"INFO "), "the server did not say INFO");
    let connect = json!({
        "verbose": false, "pedantic": false, "auth_token": token, "lang": "bench",
        "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "headers": true,
        "no_responders": true,
    });
    write_frame(BINARY, format!("CONNECT {connect}\r\n{more}PING\r\n").as_bytes(), wire.out());
    let mut text = Vec::new();
    loop {
        text.extend(answer(&mut wire).await?);
        let mut rest = &text[..];
        while let Some((operation, length)) = split(rest)? {
            match operation {
                Operation::Error(said) => {
                    bail!("the server refused: {}", String::from_utf8_lossy(said))
                }
                // Whoever is delivered to has been let in.
                Operation::Message { .. } => {
                    let rest = rest.to_vec();
                    return Ok((wire, rest));
                }
                Operation::Ping | Operation::Other => {}
            }
            let done = rest.starts_with(b"PONG");
            rest = rest.get(length..).unwrap_or_default();
            if done {
                let rest = rest.to_vec();
                return Ok((wire, rest));
            }
        }
        text = rest.to_vec();
    }
}

/// Where answers to what `user` publishes go.
fn answers(user: u64) -> String {
    format!("_answers.{user}")
}

/// What a server says.
enum Operation<'a> {
    Message {
        subject: &'a [u8],
        sid: &'a [u8],
        reply: &'a [u8],
        payload: &'a [u8],
    },
    Ping,
    Error(&'a [u8]),
    /// INFO, PONG, +OK.
    Other,
}

/// Splits the first operation off, with its length.
fn split(text: &[u8]) -> Result<Option<(Operation<'_>, usize)>> {
    let Some(end) = memmem::find(text, b"\r\n") else {
        return Ok(None);
    };
    let line = text.get(..end).unwrap_or_default();
    let length = end + 2;
    let mut words = line.split(|byte| *byte == b' ');
    let operation = match words.next().unwrap_or_default() {
        b"MSG" => return message(words, 0, text, length),
        b"HMSG" => return message(words, 1, text, length),
        b"PING" => Operation::Ping,
        b"-ERR" => Operation::Error(line),
        b"INFO" | b"PONG" | b"+OK" => Operation::Other,
        other => bail!("unknown operation {}", String::from_utf8_lossy(other)),
    };
    Ok(Some((operation, length)))
}

/// The rest of a message with so many further lengths before that of its payload.
fn message<'a>(
    words: impl Iterator<Item = &'a [u8]>,
    lengths: usize,
    text: &'a [u8],
    start: usize,
) -> Result<Option<(Operation<'a>, usize)>> {
    let mut list = [&b""[..]; 5];
    let mut count = 0;
    for (place, word) in list.iter_mut().zip(words) {
        *place = word;
        count += 1;
    }
    let [subject, sid, third, fourth, fifth] = list;
    let number = |word: &[u8]| {
        digits(word).and_then(|(number, _)| usize::try_from(number).ok()).context("no length")
    };
    let (reply, headers, whole) = match (count - lengths, lengths) {
        (3, 0) => (&b""[..], 0, number(third)?),
        (4, 0) => (third, 0, number(fourth)?),
        (3, _) => (&b""[..], number(third)?, number(fourth)?),
        (4, _) => (third, number(fourth)?, number(fifth)?),
        _ => bail!("a message of unknown shape"),
    };
    let Some(payload) = text.get(start + headers..start + whole) else {
        return Ok(None);
    };
    let length = start + whole + 2;
    Ok((text.len() >= length)
        .then_some((Operation::Message { subject, sid, reply, payload }, length)))
}

/// A message's place in the stream, which stands in the name to answer to:
/// `$JS.ACK.stream.consumer.delivered.PLACE.…`, or with a domain and an account before the stream.
fn stream_sequence(reply: &[u8]) -> Option<u64> {
    let tokens = reply.iter().filter(|byte| **byte == b'.').count() + 1;
    let place = if tokens > 9 { 7 } else { 5 };
    digits(reply.split(|byte| *byte == b'.').nth(place)?).map(|(sequence, _)| sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nats() -> Nats {
        Nats { user: 1, stream: Stream::default(), message: None, last_reply: Vec::new() }
    }

    #[test]
    fn messages_and_answers_are_understood_wherever_the_stream_is_cut() {
        let text: &[u8] =
            b"PING\r\nMSG deliver.1 2 $JS.ACK.INBOXES.user-1.1.42.7.1700000000.0 5\r\na\r\nbc\r\n\
            MSG _answers.1.0000000007 1 30\r\n{\"stream\":\"INBOXES\", \"seq\":55}\r\n\
            HMSG _answers.1.0000000008 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n";
        for cut in 0..text.len() {
            let (mut nats, mut out, mut found) = (nats(), Vec::new(), Vec::new());
            for piece in [&text[..cut], &text[cut..]] {
                nats.hear(piece, &mut out, &mut |incoming| found.push(format!("{incoming:?}")))
                    .unwrap();
            }
            assert_eq!(found.len(), 3, "{found:?}");
            assert!(found[0].starts_with("Message { id: 42, "), "{found:?}");
            assert_eq!(found[1], "Success(7)");
            assert_eq!(found[2], r#"Failure(Some(8), "")"#);
            assert!(!out.is_empty(), "a ping is answered");
        }
    }

    #[test]
    fn both_shapes_of_the_name_to_answer_to_hold_the_place() {
        assert_eq!(stream_sequence(b"$JS.ACK.S.c.1.42.7.1700.0"), Some(42));
        assert_eq!(stream_sequence(b"$JS.ACK._.hash.S.c.1.42.7.1700.0.token"), Some(42));
        assert_eq!(stream_sequence(b"_INBOX.x"), None);
    }
}
