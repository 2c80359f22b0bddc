//! What stands at which address: one spelling each.

use crate::ids::UserId;

/// An address that administrators call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Audit,
    Reload,
    Status,
    Tokens,
    User(UserId),
}

impl Place {
    /// The place at a path, which is taken as it is: nothing of it needs an escape.
    pub(super) fn find(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/admin/")? {
            "audit" => Self::Audit,
            "reload" => Self::Reload,
            "status" => Self::Status,
            "tokens" => Self::Tokens,
            path => Self::User(UserId::parse(path.strip_prefix("users/")?)?),
        })
    }

    /// The label of its metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Reload => "reload",
            Self::Status => "status",
            Self::Tokens => "tokens",
            Self::User(_) => "user",
        }
    }

    /// The methods that it knows.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Audit | Self::Status => "GET",
            Self::Reload => "POST",
            Self::Tokens => "GET, POST",
            Self::User(_) => "DELETE",
        }
    }
}
