//! Frames that came: scanned for the shape that the contract promises, and
//! parsed properly only when they look different.

use std::borrow::Cow;

use serde::Deserialize;

use crate::link::Incoming;

/// Reads one frame.
#[must_use]
pub fn scan(text: &[u8]) -> Incoming<'_> {
    scan_promised_shape(text).or_else(|| parse(text)).unwrap_or(Incoming::Unknown)
}

/// Reads success and message frames that look as the contract shows them.
fn scan_promised_shape(text: &[u8]) -> Option<Incoming<'_>> {
    let (_, rest) = digits(text.strip_prefix(br#"{"fromId":"#)?)?;
    let (_, rest) = digits(rest.strip_prefix(br#","toId":"#)?)?;
    let rest = rest.strip_prefix(br#","type":"#)?;
    if let Some(rest) = rest.strip_prefix(br#"0,"content":"","timestamp":""#) {
        let (sequence, rest) = digits(rest)?;
        return rest.starts_with(b"\"").then_some(Incoming::Success(sequence));
    }
    let rest = rest.strip_prefix(br#"2,"content":""#)?;
    let (content, rest) = rest.split_at_checked(memchr::memchr2(b'"', b'\\', rest)?)?;
    rest.strip_prefix(br#"","timestamp":""#)?;
    let rest = rest.strip_suffix(br#"\"}"}"#)?;
    let start = rest.iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
    let (before, id) = rest.split_at_checked(start)?;
    before.ends_with(br#"\"messageId\":\""#).then_some(())?;
    Some(Incoming::Message { id: digits(id)?.0, content: Cow::Borrowed(content) })
}

/// Reads any frame of the contract, whatever its spacing and escapes.
fn parse(text: &[u8]) -> Option<Incoming<'static>> {
    #[derive(Deserialize)]
    struct Frame {
        r#type: u8,
        content: String,
        timestamp: String,
        #[serde(rename = "Describe")]
        describe: String,
    }
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Describe {
        code: String,
        message_id: String,
    }
    let frame: Frame = serde_json::from_slice(text).ok()?;
    let describe: Describe = serde_json::from_str(&frame.describe).unwrap_or_default();
    let sequence = frame.timestamp.parse().ok();
    match frame.r#type {
        0 => Some(Incoming::Success(sequence?)),
        1 => Some(Incoming::Failure(sequence, describe.code)),
        2 => Some(Incoming::Message {
            id: describe.message_id.parse().ok()?,
            content: Cow::Owned(frame.content.into_bytes()),
        }),
        _ => None,
    }
}

/// Splits a number off the front.
pub(crate) fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = text.iter().take(19).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(length)?;
    let value = number.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (length > 0).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanning_and_parsing_agree_on_the_promised_shape() {
        let success = br#"{"fromId":0,"toId":1,"type":0,"content":"","timestamp":"0000000042","Describe":""}"#;
        let message = br#"{"fromId":1,"toId":2,"type":2,"content":"abc","timestamp":"0000000042","Describe":"{\"userName\":\"\",\"headURL\":\"\",\"messageId\":\"2323\"}"}"#;
        assert_eq!(scan_promised_shape(success), Some(Incoming::Success(42)));
        assert_eq!(parse(success), Some(Incoming::Success(42)));
        let content = Cow::Borrowed(&b"abc"[..]);
        let expected = Incoming::Message { id: 2323, content };
        assert_eq!(scan_promised_shape(message).as_ref(), Some(&expected));
        assert_eq!(parse(message).as_ref(), Some(&expected));
    }

    #[test]
    fn other_spacing_failures_and_nonsense_are_understood_too() {
        let failure = br#"{ "fromId":0,"toId":1,"type":1,"content":"","timestamp":"7","Describe":"{\"code\":\"inbox_full\",\"message\":\"x\"}"}"#;
        assert_eq!(scan(failure), Incoming::Failure(Some(7), "inbox_full".to_owned()));
        let spaced = br#"{"fromId": 0, "toId": 1, "type": 0, "content": "", "timestamp": "7", "Describe": ""}"#;
        assert_eq!(scan(spaced), Incoming::Success(7));
        assert_eq!(scan(b"{}"), Incoming::Unknown);
    }
}
