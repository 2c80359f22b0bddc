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
    Nodes,
    Notifications,
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
            "connections" => Self::Connections,
            "export" => Self::Export,
            "nodes" => Self::Nodes,
            "notifications" => Self::Notifications,
            "reload" => Self::Reload,
            "revocations" => Self::Revocations,
            "status" => Self::Status,
            "tokens" => Self::Tokens,
            other => return Self::of_one(other),
        })
    }

    /// What belongs to one connection, or to one user: their number and a name.
    fn of_one(path: &str) -> Option<Self> {
        if let Some(id) = path.strip_prefix("connections/") {
            return ConnectionId::parse(id).map(Self::Connection);
        }
        let path = path.strip_prefix("users/")?;
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
            Self::Connections | Self::Connection(_) => "connections",
            Self::Nodes => "nodes",
            Self::Notifications => "notifications",
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
            Self::Audit
            | Self::Backup
            | Self::Export
            | Self::UserExport(_)
            | Self::Nodes
            | Self::Status => "GET",
            Self::Connections => "GET, DELETE",
            Self::Connection(_) | Self::User(_) => "DELETE",
            Self::Notifications | Self::Reload | Self::Disable(_) | Self::Enable(_) => "POST",
            Self::Revocations | Self::Tokens => "GET, POST",
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
