//! What stands at which address: one spelling each.

/// An address that administrators call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Audit,
    Reload,
    Status,
    Tokens,
}

impl Place {
    /// The place at a path, which is taken as it is: nothing of it needs an escape.
    pub(super) fn find(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/admin/")? {
            "audit" => Self::Audit,
            "reload" => Self::Reload,
            "status" => Self::Status,
            "tokens" => Self::Tokens,
            _ => return None,
        })
    }

    /// The label of its metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Reload => "reload",
            Self::Status => "status",
            Self::Tokens => "tokens",
        }
    }

    /// The methods that it knows.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Audit | Self::Status => "GET",
            Self::Reload => "POST",
            Self::Tokens => "GET, POST",
        }
    }
}
