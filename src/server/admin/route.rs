//! What stands at which address: one spelling each.

/// An address that administrators call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Audit,
    Connections,
    /// One of them, by its id as it stands in the path.
    Connection(&'a str),
    Notifications,
    Reload,
    Status,
    Tokens,
}

impl<'a> Place<'a> {
    /// The place at a path, which is taken as it is: nothing of it needs an escape.
    pub(super) fn find(path: &'a str) -> Option<Self> {
        Some(match path.strip_prefix("/admin/")? {
            "audit" => Self::Audit,
            "connections" => Self::Connections,
            "notifications" => Self::Notifications,
            "reload" => Self::Reload,
            "status" => Self::Status,
            "tokens" => Self::Tokens,
            other => Self::Connection(segment(other.strip_prefix("connections/")?)?),
        })
    }

    /// The label of its metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Connections | Self::Connection(_) => "connections",
            Self::Notifications => "notifications",
            Self::Reload => "reload",
            Self::Status => "status",
            Self::Tokens => "tokens",
        }
    }

    /// The methods that it knows.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Audit | Self::Status => "GET",
            Self::Connections => "GET, DELETE",
            Self::Connection(_) => "DELETE",
            Self::Notifications | Self::Reload => "POST",
            Self::Tokens => "GET, POST",
        }
    }
}

/// What stands in a path where there is one name and nothing behind it.
fn segment(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.contains('/')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        assert_eq!(Place::find("/admin/status"), Some(Place::Status));
        assert_eq!(Place::find("/admin/connections/7"), Some(Place::Connection("7")));
        for nothing in [
            "/admin",
            "/admin/",
            "/admin/Status",
            "/admin/status/",
            "/admin//status",
            "/admin/connections/",
            "/admin/connections/7/",
            "/admin/connections/7/8",
            "/admin/nothing/7",
        ] {
            assert_eq!(Place::find(nothing), None, "{nothing}");
        }
    }
}
