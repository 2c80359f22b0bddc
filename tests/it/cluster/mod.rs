//! Several nodes, which share what three NATS servers keep.

mod decentralized;
mod faults;
mod ledger;
mod nodes;
mod partition;
mod power;
mod refusals;
mod wear;
