//! Several nodes, which share what three NATS servers keep.

mod audit;
mod faults;
mod ledger;
mod nodes;
mod operating;
mod revoking;
mod strangers;
mod tickets;
mod typing;
