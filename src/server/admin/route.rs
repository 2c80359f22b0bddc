//! What stands at which address: one spelling each.

use crate::ids::{ConnectionId, UserId};

/// An address that administrators call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Audit,
    Backup,
    Connections,
    Connection(ConnectionId),
    Export,
    Notifications,
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
            "connections" => Self::Connections,
            "export" => Self::Export,
            "notifications" => Self::Notifications,
            "reload" => Self::Reload,
            "status" => Self::Status,
            "tokens" => Self::Tokens,
            other => return Self::of_one(other),
        })
    }

    /// The place of one user or connection.
    fn of_one(path: &str) -> Option<Self> {
        if let Some(id) = path.strip_prefix("connections/") {
            return ConnectionId::parse(id).map(Self::Connection);
        }
        let user = path.strip_prefix("users/")?.strip_suffix("/export")?;
        UserId::parse(user).map(Self::UserExport)
    }

    /// The label of its metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Connections | Self::Connection(_) => "connections",
            Self::Notifications => "notifications",
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
            Self::Connections => "GET, DELETE",
            Self::Connection(_) => "DELETE",
            Self::Notifications | Self::Reload => "POST",
            Self::Tokens => "GET, POST",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        assert_eq!(Place::find("/admin/status"), Some(Place::Status));
        let id = ConnectionId::draw();
        let path = format!("/admin/connections/{id}");
        assert_eq!(Place::find(&path), Some(Place::Connection(id)));
        let user = UserId::new(7).unwrap();
        assert_eq!(Place::find("/admin/users/7/export"), Some(Place::UserExport(user)));
        for nothing in [
            "/admin",
            "/admin/",
            "/admin/Status",
            "/admin/status/",
            "/admin//status",
            "/admin/connections/",
            "/admin/connections/7",
            "/admin/connections/0123456789abcdef/",
            "/admin/users/07/export",
            "/admin/users/7/export/",
            "/admin/nothing/7",
        ] {
            assert_eq!(Place::find(nothing), None, "{nothing}");
        }
    }
}
