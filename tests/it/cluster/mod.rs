//! Several nodes, which share what three NATS servers keep.

mod faults;
mod house;
mod ledger;
mod moving;
mod nodes;
mod revoking;
mod tickets;
mod typing;
