//! Which call stands at which address: one spelling each, and one method.

use http::Method;

use super::PATH;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'a> {
    Me,
    Conversations,
    /// With whom, as it stands in the path.
    Messages(&'a str),
    Send,
    MarkRead,
    Ticket,
}

/// A call with the method that it is made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub(super) call: Call<'a>,
    pub(super) method: Method,
}

impl Call<'_> {
    /// The label of its metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Me => "me",
            Self::Conversations => "conversations",
            Self::Messages(_) => "history",
            Self::Send => "messages",
            Self::MarkRead => "read",
            Self::Ticket => "tickets",
        }
    }

    pub(super) fn has_body(self) -> bool {
        matches!(self, Self::Send | Self::MarkRead)
    }
}

impl<'a> Route<'a> {
    /// The route at a path, which is taken as it is: nothing of it needs an escape.
    pub(super) fn find(path: &'a str) -> Option<Self> {
        let (call, method) = match path.strip_prefix(PATH)? {
            "me" => (Call::Me, Method::GET),
            "conversations" => (Call::Conversations, Method::GET),
            "messages" => (Call::Send, Method::POST),
            "read" => (Call::MarkRead, Method::POST),
            "tickets" => (Call::Ticket, Method::POST),
            other => {
                let peer = other.strip_prefix("conversations/")?.strip_suffix("/messages")?;
                let is_one_segment = !peer.is_empty() && !peer.contains('/');
                is_one_segment.then_some((Call::Messages(peer), Method::GET))?
            }
        };
        Some(Self { call, method })
    }

    /// The methods that this address knows.
    pub(super) fn allow(&self) -> &'static str {
        if self.method == Method::GET { "GET, OPTIONS" } else { "POST, OPTIONS" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        let call = |path: &'static str| Route::find(path).map(|route| route.call);
        assert_eq!(call("/teaching/api/me"), Some(Call::Me));
        assert_eq!(
            call("/teaching/api/conversations/07%31/messages"),
            Some(Call::Messages("07%31"))
        );
        for nothing in [
            "/teaching/api",
            "/teaching/api/",
            "/teaching/api/me/",
            "/teaching/api//me",
            "/teaching/api/%6de",
            "/teaching/api/Me",
            "/teaching/api/conversations/",
            "/teaching/api/conversations/7",
            "/teaching/api/conversations//messages",
            "/teaching/api/conversations/messages",
            "/teaching/api/conversations/7/messages/",
            "/teaching/api/conversations/7/8/messages",
        ] {
            assert_eq!(call(nothing), None, "{nothing}");
        }
    }
}
