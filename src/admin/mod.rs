//! What administrators do, whichever way they come: by the listener of a running server,
//! or by the command line on its host.

pub mod audit;
pub mod erase;
mod export;
pub mod ledger;
pub mod revoke;

pub use audit::{Act, Audit, AuditError, Who};
pub use export::ExportLines;
