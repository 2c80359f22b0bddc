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
    Reload,
    Status,
    Tokens,
}

impl Place {
    /// The place at a path, which is taken as it is: nothing of it needs an escape.
    pub(super) fn find(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/admin/")? {
            "audit" => Self::Audit,
            "backup" => Self::Backup,
            "export" => Self::Export,
            "reload" => Self::Reload,
            "status" => Self::Status,
            "tokens" => Self::Tokens,
            other => {
                let user = other.strip_prefix("users/")?.strip_suffix("/export")?;
                Self::UserExport(UserId::parse(user)?)
            }
        })
    }

    /// The label of its metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Backup => "backup",
            Self::Export | Self::UserExport(_) => "export",
            Self::Reload => "reload",
            Self::Status => "status",
            Self::Tokens => "tokens",
        }
    }

    /// The methods that it knows.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Audit | Self::Backup | Self::Export | Self::UserExport(_) | Self::Status => "GET",
            Self::Reload => "POST",
            Self::Tokens => "GET, POST",
        }
    }
}
