//! What `im.v2` puts into the `Describe` of a message: a name for the packet.

use serde::Deserialize;

use crate::message::ClientMsgId;

/// The extension field of a message, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extension {
    /// The client's own name for the packet.
    pub(super) client_id: Option<ClientMsgId>,
    /// This is a later try of the packet with that name.
    pub(super) resend: bool,
}

impl Extension {
    /// Reads an extension field: empty, or a JSON object of which unknown members are ignored.
    ///
    /// # Errors
    /// What is wrong. A name that cannot be used must fail the packet: ignored, it would
    /// let a resend be stored twice.
    pub(super) fn read(describe: &str) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            client_msg_id: Option<String>,
            resend: Option<bool>,
        }
        if describe.is_empty() {
            return Ok(Self::default());
        }
        // A struct would be read from an array too.
        let object = describe.trim_start().starts_with('{');
        let wire = serde_json::from_str::<Wire>(describe).ok().filter(|_| object);
        let wire = wire.ok_or(
            "`Describe` must be empty or hold a JSON object, with `clientMsgId` a string and \
             `resend` true or false",
        )?;
        let client_id = match wire.client_msg_id {
            None => None,
            Some(name) => {
                Some(ClientMsgId::new(&name).ok_or("`clientMsgId` must have 1 to 64 bytes")?)
            }
        };
        Ok(Self { client_id, resend: wire.resend.unwrap_or(false) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_may_have_a_name() {
        let read = |describe: &str| Extension::read(describe);
        let named = |name: &str, resend| {
            Ok(Extension { client_id: Some(ClientMsgId::new(name).unwrap()), resend })
        };
        for nothing in ["", "{}", r#"{"x":[1]}"#, r#"{"clientMsgId":null}"#] {
            assert_eq!(read(nothing), Ok(Extension::default()), "{nothing}");
        }
        assert_eq!(read(r#"{"clientMsgId":"a"}"#), named("a", false));
        assert_eq!(read(r#" {"resend":true,"clientMsgId":"好"}"#), named("好", true));
    }

    #[test]
    fn a_name_that_cannot_be_used_is_no_name() {
        let long = format!(r#"{{"clientMsgId":"{}"}}"#, "x".repeat(65));
        for bad in [
            "x",
            "7",
            r#"["a",true]"#,
            r#"{"clientMsgId":""}"#,
            r#"{"clientMsgId":7}"#,
            r#"{"clientMsgId":"a","clientMsgId":"b"}"#,
            r#"{"clientMsgId":"a"} x"#,
            r#"{"clientMsgId":"\ud800"}"#,
            r#"{"clientMsgId":"a","resend":"yes"}"#,
            long.as_str(),
        ] {
            assert!(Extension::read(bad).is_err(), "{bad}");
        }
    }
}
