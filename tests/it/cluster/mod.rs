//! Several nodes, which share what three NATS servers keep.

mod acts_return;
mod audit;
mod connections;
mod decentralized;
mod erasing;
mod faults;
mod groups;
mod growing;
mod house;
mod ledger;
mod moving;
mod nodes;
mod old_acts;
mod operating;
mod owners;
mod partition;
mod permissions;
mod power;
mod refusals;
mod revoking;
mod servers;
mod status;
mod strangers;
mod tickets;
mod typing;
mod wear;
