//! MQTT 5 with QoS 1: a topic is a user's inbox, a session that outlives its
//! connection keeps what came meanwhile, PUBACK answers both ways.

use std::borrow::Cow;

use anyhow::{Context as _, Result, bail, ensure};

use super::stream::Stream;
use super::{Incoming, Link, Speech, answer};
use crate::frame::{BINARY, Content, Template, decimal, write_frame};
use crate::wire::Wire;

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBACK: u8 = 9;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

/// Seconds that the broker keeps a session without a connection.
const SESSION_EXPIRY: u32 = 24 * 3600;
/// Seconds without a packet after which the broker gives a client up; longer than
/// any measurement, so that none of them has to ping.
const KEEP_ALIVE: u16 = 3600;
/// Packet identifiers go round after so many.
const IDENTIFIERS: u64 = 65_535;
/// What a server must take in flight for the generator not to hold anything back.
const IN_FLIGHT: u16 = 4096;

/// A client with a session.
#[derive(Debug, Default)]
pub struct Mqtt {
    stream: Stream,
    message: Option<Message>,
    /// The last sequence answered, near which the next one is.
    answered: u64,
    received: u64,
}

/// A PUBLISH packet, and where its identifier and its sequence stand.
#[derive(Debug)]
struct Message {
    frame: Template,
    identifier: usize,
    digits: usize,
}

impl Mqtt {
    /// Takes up the user's session, or begins it with a subscription to their inbox.
    ///
    /// # Errors
    /// The broker refuses, or allows less than the measurements need.
    pub async fn greet(mut wire: Wire, user: u64, password: &str) -> Result<Link> {
        let mut connect = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0b1100_0000];
        connect.extend(KEEP_ALIVE.to_be_bytes());
        connect.extend([5, 0x11]);
        connect.extend(SESSION_EXPIRY.to_be_bytes());
        for text in [&*format!("user-{user}"), "bench", password] {
            put_string(text, &mut connect);
        }
        send(0x10, &connect, wire.out());
        let (kind, body) = one_packet(&mut wire).await?;
        let (present, properties) = match &body[..] {
            [flags, 0, rest @ ..] if kind == CONNACK => (flags & 1 == 1, rest),
            _ => bail!("the broker refused the connection: packet {kind} {body:02x?}"),
        };
        let most = receive_maximum(properties).context("unknown properties in CONNACK")?;
        ensure!(most >= IN_FLIGHT, "the broker takes only {most} messages in flight");
        if !present {
            let mut subscribe = vec![0, 1, 0];
            put_string(&topic(user), &mut subscribe);
            subscribe.push(1);
            send(0x82, &subscribe, wire.out());
            let (kind, body) = one_packet(&mut wire).await?;
            ensure!(
                kind == SUBACK && body.last() == Some(&1),
                "the broker refused the subscription: packet {kind} {body:02x?}"
            );
        }
        Ok(Link::new(wire, Self::default()))
    }

    fn take(
        &mut self,
        kind: u8,
        body: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<()> {
        match (kind >> 4, body) {
            (PUBACK, [high, low, rest @ ..]) => {
                let identifier = u16::from_be_bytes([*high, *low]);
                let sequence = nearest(self.answered, identifier);
                self.answered = self.answered.max(sequence);
                heard(match rest.first().copied().unwrap_or_default() {
                    ..0x80 => Incoming::Success(sequence),
                    code => Incoming::Failure(Some(sequence), format!("reason {code:#x}")),
                });
            }
            (PUBLISH, body) => {
                let (identifier, content) = published(body).context("a malformed PUBLISH")?;
                // A QoS 0 message would have none: nobody sends those here.
                ensure!(kind & 0b110 == 0b010, "a message of another quality of service");
                write_frame(BINARY, &[0x40, 2, identifier[0], identifier[1]], out);
                self.received += 1;
                heard(Incoming::Message { id: self.received, content: Cow::Borrowed(content) });
            }
            (DISCONNECT, body) => bail!("the broker disconnected: {body:02x?}"),
            (PINGRESP, _) => {}
            (kind, body) => bail!("unexpected packet {kind} {body:02x?}"),
        }
        Ok(())
    }
}

impl Speech for Mqtt {
    fn address(&mut self, recipient: u64, content: &Content) {
        let (content, digits) = content.zeroed();
        let mut body = Vec::new();
        put_string(&topic(recipient), &mut body);
        let identifier = body.len();
        body.extend([0, 0, 0]);
        let digits = body.len() + digits;
        body.extend(content.as_bytes());
        let packet = packet(0x32, &body);
        let header = packet.len() - body.len();
        self.message = Some(Message {
            frame: Template::new(BINARY, &packet),
            identifier: header + identifier,
            digits: header + digits,
        });
    }

    fn say(&mut self, sequence: u64, out: &mut Vec<u8>) {
        if let Some(Message { frame, identifier, digits }) = &self.message {
            let name = u16::try_from(sequence % IDENTIFIERS + 1).unwrap_or_default();
            frame.write(&[(*identifier, &name.to_be_bytes()), (*digits, &decimal(sequence))], out);
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
            let Some((kind, body, length)) = split(text)? else {
                return Ok(None);
            };
            self.take(kind, body, out, heard)?;
            Ok(Some(length))
        })?;
        self.stream = stream;
        Ok(())
    }

    fn farewell(&mut self, out: &mut Vec<u8>) {
        send(0xe0, &[], out);
    }
}

/// The inbox of `user`.
fn topic(user: u64) -> String {
    format!("inbox/{user}")
}

fn put_string(text: &str, out: &mut Vec<u8>) {
    out.extend(u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
    out.extend(text.as_bytes());
}

/// A packet with its fixed header.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let seven = u8::try_from(rest % 128).unwrap_or_default();
        rest /= 128;
        packet.push(if rest > 0 { seven | 0x80 } else { seven });
        if rest == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn send(first: u8, body: &[u8], out: &mut Vec<u8>) {
    write_frame(BINARY, &packet(first, body), out);
}

/// Reads a variable byte integer; gives what follows it.
fn variable(text: &[u8]) -> Option<(usize, &[u8])> {
    let (mut value, mut shift) = (0, 0);
    for (index, byte) in text.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some((value, text.get(index + 1..)?));
        }
    }
    None
}

/// Splits the first packet off: its first byte, its body and its length in all.
fn split(text: &[u8]) -> Result<Option<(u8, &[u8], usize)>> {
    let [first, rest @ ..] = text else {
        return Ok(None);
    };
    let Some((length, rest)) = variable(rest) else {
        ensure!(rest.len() < 4, "an endless length");
        return Ok(None);
    };
    let header = text.len() - rest.len();
    Ok(rest.get(..length).map(|body| (*first, body, header + length)))
}

/// The identifier and the content of a PUBLISH packet.
fn published(body: &[u8]) -> Option<([u8; 2], &[u8])> {
    let [high, low, rest @ ..] = body else {
        return None;
    };
    let rest = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..)?;
    let (identifier, rest) = rest.split_first_chunk::<2>()?;
    let (properties, rest) = variable(rest)?;
    Some((*identifier, rest.get(properties..)?))
}

/// How many messages may be in flight, by the properties of a CONNACK.
fn receive_maximum(properties: &[u8]) -> Option<u16> {
    let (length, rest) = variable(properties)?;
    let mut rest = rest.get(..length)?;
    while let [identifier, value @ ..] = rest {
        let length = match identifier {
            0x21 => return value.first_chunk().map(|value| u16::from_be_bytes(*value)),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x13 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => {
                2 + usize::from(u16::from_be_bytes(*value.first_chunk()?))
            }
            _ => return None,
        };
        rest = value.get(length..)?;
    }
    Some(u16::MAX)
}

/// The sequence with this identifier that is nearest to `last`.
fn nearest(last: u64, identifier: u16) -> u64 {
    let round = last / IDENTIFIERS;
    (round.saturating_sub(1)..=round + 1)
        .map(|round| (round * IDENTIFIERS + u64::from(identifier)).saturating_sub(1))
        .min_by_key(|sequence| sequence.abs_diff(last))
        .unwrap_or_default()
}

/// The next packet, during the greeting: the broker sends them one a frame.
async fn one_packet(wire: &mut Wire) -> Result<(u8, Vec<u8>)> {
    let frame = answer(wire).await?;
    let (kind, body, length) = split(&frame)?.context("half a packet in the greeting")?;
    ensure!(length == frame.len(), "several packets in a frame of the greeting");
    Ok((kind >> 4, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_the_nearest_sequence_with_its_identifier() {
        for sequence in [0, 1, 65_533, 65_534, 65_535, 131_070, 1_000_000] {
            let identifier = u16::try_from(sequence % IDENTIFIERS + 1).unwrap();
            for last in [sequence.saturating_sub(300), sequence, sequence + 300] {
                assert_eq!(nearest(last, identifier), sequence);
            }
        }
    }

    #[test]
    fn what_is_published_is_read_back() {
        let content = Content::new(1, 2, 200);
        let (mut mqtt, mut frame) = (Mqtt::default(), Vec::new());
        mqtt.address(7, &content);
        mqtt.say(70_000, &mut frame);
        let masked = frame[8..].iter().zip(frame[4..8].iter().cycle());
        let bytes: Vec<u8> = masked.map(|(byte, mask)| byte ^ mask).collect();
        let mut found = Vec::new();
        let mut out = Vec::new();
        for piece in bytes.chunks(50) {
            mqtt.hear(piece, &mut out, &mut |incoming| {
                if let Incoming::Message { content, .. } = incoming {
                    found.push(content.into_owned());
                }
            })
            .unwrap();
        }
        assert_eq!(found.len(), 1);
        let sequence = content.recognise(&found[0]);
        assert_eq!(sequence, crate::frame::Recognised::Sequence(70_000));
        assert!(!out.is_empty(), "a message of QoS 1 is answered");
    }

    #[test]
    fn a_receive_maximum_is_found_among_other_properties() {
        assert_eq!(receive_maximum(&[0]), Some(u16::MAX));
        assert_eq!(receive_maximum(&[8, 0x22, 0, 10, 0x21, 0, 20, 0x2a, 1]), Some(20));
        assert_eq!(receive_maximum(&[9, 0x12, 0, 2, b'h', b'i', 0x21, 1, 0, 0x2a]), Some(256));
    }
}
