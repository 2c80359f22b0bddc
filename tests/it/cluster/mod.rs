//! Several nodes, which share what three NATS servers keep.

mod audit;
mod faults;
mod groups;
mod ledger;
mod nodes;
mod operating;
mod revoking;
mod tickets;
mod typing;
