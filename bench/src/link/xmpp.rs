//! XMPP over WebSocket (RFC 7395) with stream management (XEP-0198): what the server
//! has handled, it says by its count of stanzas, when asked.

use std::borrow::Cow;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use super::message::Message;
use super::{Incoming, Link, Speech, answer};
use crate::frame::{Content, TEXT, Template, write_frame};
use crate::scan::digits;
use crate::wire::Wire;

/// The domain that the server serves.
const DOMAIN: &str = "localhost";
const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";
const ASK: &[u8] = b"<r xmlns='urn:xmpp:sm:3'/>";

/// A client that has logged in and said that it is there.
#[derive(Debug, Default)]
pub struct Xmpp {
    message: Option<Message>,
    /// Messages that the server has said to have handled.
    handled: u64,
    /// Stanzas from the server since stream management began.
    received: u32,
    messages: u64,
    /// The first stanza, which ended the greeting and is still to be heard.
    first: Vec<u8>,
}

impl Xmpp {
    /// Logs in, binds a resource, begins stream management, and becomes available.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn greet(mut wire: Wire, user: u64, password: &str) -> Result<Link> {
        let open = format!("<open xmlns='{FRAMING}' to='{DOMAIN}' version='1.0'/>");
        say(&open, &mut wire);
        until(&mut wire, b"features").await?;
        let plain = STANDARD.encode(format!("\0{user}\0{password}"));
        say(
            &format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
            ),
            &mut wire,
        );
        until(&mut wire, b"<success").await?;
        say(&open, &mut wire);
        until(&mut wire, b"features").await?;
        say(
            "<iq xmlns='jabber:client' type='set' id='bind'>\
             <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>",
            &mut wire,
        );
        until(&mut wire, b"<jid>").await?;
        say("<enable xmlns='urn:xmpp:sm:3'/>", &mut wire);
        until(&mut wire, b"<enabled").await?;
        say("<presence xmlns='jabber:client'/>", &mut wire);
        // The server shows everybody their own presence, or what waited for them: then it
        // has taken notice.
        let first = answer(&mut wire).await?;
        Ok(Link::new(wire, Self { first, ..Self::default() }))
    }
}

impl Speech for Xmpp {
    fn address(&mut self, recipient: u64, content: &Content) {
        let (content, digits) = content.zeroed();
        let start =
            format!("<message xmlns='jabber:client' to='{recipient}@{DOMAIN}' type='chat' id='");
        let middle = format!("{start}0000000000'><body>");
        self.message = Some(Message {
            frame: Template::new(TEXT, format!("{middle}{content}</body></message>").as_bytes()),
            places: [start.len(), middle.len() + digits],
        });
    }

    fn say(&mut self, sequence: u64, out: &mut Vec<u8>) {
        if let Some(message) = &self.message {
            message.write(sequence, out);
        }
    }

    /// Asks once for all that was said together.
    fn said(&mut self, out: &mut Vec<u8>) {
        write_frame(TEXT, ASK, out);
    }

    fn hear(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<()> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.hear(&first, out, heard)?;
        }
        match payload {
            [b'<', b'm', b'e', ..] => {
                self.received = self.received.wrapping_add(1);
                heard(self.message(payload));
            }
            [b'<', b'a', b' ', ..] => {
                let count = attribute(payload, b"h").and_then(digits).context("no count")?.0;
                // The first stanza was the presence. The count goes round at 2^32: not here.
                for sequence in self.handled..count.saturating_sub(1) {
                    heard(Incoming::Success(sequence));
                    self.handled = sequence + 1;
                }
            }
            [b'<', b'r', b' ', ..] => {
                let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.received);
                write_frame(TEXT, answer.as_bytes(), out);
            }
            [b'<', b'i', b'q', ..] | [b'<', b'p', b'r', ..] => {
                self.received = self.received.wrapping_add(1);
            }
            [] => {}
            other => bail!("the server said {}", String::from_utf8_lossy(other)),
        }
        Ok(())
    }

    fn farewell(&mut self, out: &mut Vec<u8>) {
        write_frame(TEXT, format!("<close xmlns='{FRAMING}'/>").as_bytes(), out);
    }
}

impl Xmpp {
    fn message<'a>(&mut self, stanza: &'a [u8]) -> Incoming<'a> {
        if attribute(stanza, b"type") == Some(b"error") {
            let sequence = attribute(stanza, b"id").and_then(digits).map(|(sequence, _)| sequence);
            return Incoming::Failure(sequence, String::from_utf8_lossy(stanza).into_owned());
        }
        let Some(start) = memmem::find(stanza, b"<body>") else {
            return Incoming::Unknown;
        };
        let rest = stanza.get(start + 6..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'<', rest) else {
            return Incoming::Unknown;
        };
        self.messages += 1;
        let content = Cow::Borrowed(rest.get(..end).unwrap_or_default());
        Incoming::Message { id: self.messages, content }
    }
}

fn say(text: &str, wire: &mut Wire) {
    write_frame(TEXT, text.as_bytes(), wire.out());
}

/// Waits for the answer that holds `text`, past the server's other words on the way.
async fn until(wire: &mut Wire, text: &[u8]) -> Result<()> {
    loop {
        let said = answer(wire).await?;
        if memmem::find(&said, text).is_some() {
            return Ok(());
        }
        ensure!(
            said.starts_with(b"<open") || said.starts_with(b"<r "),
            "the server said {}",
            String::from_utf8_lossy(&said)
        );
    }
}

/// The value of an attribute of the first element.
fn attribute<'a>(stanza: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let element = stanza.get(..memchr::memchr(b'>', stanza)?)?;
    let mut words = element.split(|byte| *byte == b' ');
    words.find_map(|word| {
        let value = word.strip_prefix(name)?.strip_prefix(b"=")?;
        let (quote, value) = value.split_first()?;
        value.get(..memchr::memchr(*quote, value)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_answers_all_up_to_it_and_a_question_is_answered() {
        let (mut xmpp, mut out, mut found) = (Xmpp::default(), Vec::new(), Vec::new());
        let mut hear = |text: &str| {
            xmpp.hear(text.as_bytes(), &mut out, &mut |incoming| {
                found.push(format!("{incoming:?}"));
            })
            .unwrap();
        };
        hear("<a h='1' xmlns='urn:xmpp:sm:3'/>");
        hear("<a h='4' xmlns='urn:xmpp:sm:3'/>");
        hear("<message xmlns='jabber:client' to='2@localhost'><body>abc</body></message>");
        hear("<message type='error' id='0000000003'><error/></message>");
        hear("<r xmlns='urn:xmpp:sm:3'/>");
        assert_eq!(found[..3], ["Success(0)", "Success(1)", "Success(2)"]);
        assert!(found[3].starts_with("Message { id: 1, "));
        assert!(found[4].starts_with("Failure(Some(3), "));
        assert_eq!(xmpp.received, 2);
        assert!(!out.is_empty());
    }
}
