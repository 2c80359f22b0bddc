//! What `im.v2` puts into the `Describe` of a message: a name for the packet.

use super::checks;
use super::failure::{FailureCode, Refusal};
use super::json::{self, Known, Member, Place};
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
    /// Reads an extension field: empty, or a JSON object as strict as a frame's, of which
    /// unknown members are ignored. Gives what could be read of it, and what is wrong.
    pub(super) fn read(describe: &str) -> (Self, Result<(), Refusal>) {
        let mut extension = Self::default();
        if describe.is_empty() {
            return (extension, Ok(()));
        }
        let mut members = Members::default();
        let whole = json::read(describe, &mut members).or_else(|malformed| {
            let message = format!("`Describe` must be empty or hold an object: {malformed}");
            checks::refuse(FailureCode::BadFrame, message)
        });
        let name = checks::client_id(members.client_msg_id).map(|name| extension.client_id = name);
        let flag = checks::resend(members.resend).map(|resend| extension.resend = resend);
        (extension, whole.and(name).and(flag))
    }
}

#[derive(Default)]
struct Members<'a> {
    client_msg_id: Option<Member<'a>>,
    resend: Option<Member<'a>>,
}

impl<'a> Known<'a> for Members<'a> {
    fn place(&mut self, name: &str) -> Option<Place<'_, 'a>> {
        Some(match name {
            "clientMsgId" => Place::Plain(&mut self.client_msg_id),
            "resend" => Place::Plain(&mut self.resend),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(describe: &str) -> Result<Extension, Refusal> {
        let (extension, wrong) = Extension::read(describe);
        wrong.map(|()| extension)
    }

    #[test]
    fn a_packet_may_have_a_name() {
        let named = |name: &str, resend| {
            Ok(Extension { client_id: Some(ClientMsgId::new(name).unwrap()), resend })
        };
        for nothing in ["", "{}", r#"{"x":[1]}"#, r#"{"resend":false}"#] {
            assert_eq!(read(nothing), Ok(Extension::default()), "{nothing}");
        }
        assert_eq!(read(r#"{"clientMsgId":"a"}"#), named("a", false));
        assert_eq!(read(r#" {"resend":true,"clientMsgId":"好"}"#), named("好", true));
    }

    #[test]
    fn a_name_that_cannot_be_used_is_no_name() {
        let long = format!(r#"{{"clientMsgId":"{}"}}"#, "x".repeat(65));
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(17), "]".repeat(17));
        for bad in [
            "x",
            "7",
            r#"["a",true]"#,
            r#"{"clientMsgId":""}"#,
            r#"{"clientMsgId":7}"#,
            r#"{"clientMsgId":null}"#,
            r#"{"clientMsgId":"a","clientMsgId":"b"}"#,
            r#"{"clientMsgId":"a"} x"#,
            r#"{"clientMsgId":"\ud800"}"#,
            r#"{"clientMsgId":"a","resend":"yes"}"#,
            r#"{"clientMsgId":"a","resend":null}"#,
            r#"{"x":1,"x":2}"#,
            r#"{"x":{"y":1,"y":2}}"#,
            long.as_str(),
            deep.as_str(),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_known_whatever_stands_beside_it() {
        for bad in [r#"{"clientMsgId":"a","resend":1}"#, r#"{"resend":1,"clientMsgId":"a"}"#] {
            let (extension, wrong) = Extension::read(bad);
            assert!(wrong.is_err(), "{bad}");
            assert_eq!(extension.client_id, ClientMsgId::new("a"), "{bad}");
        }
    }
}
