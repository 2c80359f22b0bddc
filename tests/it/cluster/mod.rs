//! Several nodes, which share what three NATS servers keep.

mod faults;
mod groups;
mod ledger;
mod nodes;
mod tickets;
