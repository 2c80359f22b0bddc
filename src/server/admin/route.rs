//! What stands at which address: one spelling each.

use crate::ids::UserId;

/// An address that administrators call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Audit,
    Backup,
    Export,
    /// The data of one user.
    UserExport(UserId),
    /// One user.
    User(UserId),
    Reload,
    Revocations,
    Status,
    Tokens,
    Disable(UserId),
    Enable(UserId),
}

impl Place {
    /// The place at a path, which is taken as it is: nothing of it needs an escape.
    pub(super) fn find(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/admin/")? {
            "audit" => Self::Audit,
            "backup" => Self::Backup,
            "export" => Self::Export,
            "reload" => Self::Reload,
            "revocations" => Self::Revocations,
            "status" => Self::Status,
            "tokens" => Self::Tokens,
            path => return Self::of_user(path.strip_prefix("users/")?),
        })
    }

    /// One user, or what belongs to them: their number and a name.
    fn of_user(path: &str) -> Option<Self> {
        let Some((user, what)) = path.split_once('/') else {
            return UserId::parse(path).map(Self::User);
        };
        let user = UserId::parse(user)?;
        match what {
            "disable" => Some(Self::Disable(user)),
            "enable" => Some(Self::Enable(user)),
            "export" => Some(Self::UserExport(user)),
            _ => None,
        }
    }

    /// The label of its metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Backup => "backup",
            Self::Export | Self::UserExport(_) => "export",
            Self::Reload => "reload",
            Self::Revocations => "revocations",
            Self::Status => "status",
            Self::Tokens => "tokens",
            Self::User(_) => "user",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
        }
    }

    /// The methods that it knows.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Audit | Self::Backup | Self::Export | Self::UserExport(_) | Self::Status => "GET",
            Self::Reload | Self::Disable(_) | Self::Enable(_) => "POST",
            Self::Revocations | Self::Tokens => "GET, POST",
            Self::User(_) => "DELETE",
        }
    }
}
