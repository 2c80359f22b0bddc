//! imserver's own protocol, as a plain client speaks it.

use anyhow::Result;

use super::message::Message;
use super::{Incoming, Speech};
use crate::frame::{Content, TEXT, Template, write_frame};
use crate::scan::scan;

/// A plain client.
#[derive(Debug)]
pub struct Im {
    user: u64,
    message: Option<Message>,
}

impl Im {
    /// A client of `user`; the token in the path has said who that is.
    #[must_use]
    pub fn new(user: u64) -> Self {
        Self { user, message: None }
    }
}

impl Speech for Im {
    fn address(&mut self, recipient: u64, content: &Content) {
        let (content, digits) = content.zeroed();
        let start = format!(r#"{{"fromId":{},"toId":{recipient},"type":0,"content":""#, self.user);
        let middle = format!(r#"{start}{content}","timestamp":""#);
        let text = format!(r#"{middle}0000000000","Describe":""}}"#);
        self.message = Some(Message {
            frame: Template::new(TEXT, text.as_bytes()),
            places: [start.len() + digits, middle.len()],
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
        _out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<()> {
        if !payload.is_empty() {
            heard(scan(payload));
        }
        Ok(())
    }

    fn mark_read(&mut self, ids: &[u64], out: &mut Vec<u8>) {
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        let text = format!(
            r#"{{"fromId":{},"toId":0,"type":1,"content":"[{}]","timestamp":"0","Describe":""}}"#,
            self.user,
            ids.join(",")
        );
        write_frame(TEXT, text.as_bytes(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Recognised;

    #[test]
    fn the_sequence_stands_in_the_content_and_in_the_timestamp() {
        for bytes in 100..108 {
            let content = Content::new(7, 3, bytes);
            let (mut im, mut frame) = (Im::new(15), Vec::new());
            im.address(6, &content);
            im.say(1_234_567_890, &mut frame);
            assert_eq!(frame[..2], [0x81, 0x80 | 126]);
            let masked = frame[8..].iter().zip(frame[4..8].iter().cycle());
            let text: Vec<u8> = masked.map(|(byte, mask)| byte ^ mask).collect();
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(value["fromId"], 15);
            assert_eq!(value["toId"], 6);
            assert_eq!(value["timestamp"], "1234567890");
            let text = value["content"].as_str().unwrap();
            assert_eq!(text.len(), bytes);
            assert_eq!(content.recognise(text.as_bytes()), Recognised::Sequence(1_234_567_890));
        }
    }
}
