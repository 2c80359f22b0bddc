//! What administrators do, whichever way they come: by the listener of a running server,
//! or by the command line on its host.

pub mod audit;
pub mod erase;
pub mod ledger;

pub use audit::{Act, Audit, AuditError, Who};
