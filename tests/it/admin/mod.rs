//! What administrators do, by the listener that is theirs.

mod audit;
mod connections;
mod door;
mod notifications;
mod page;
mod remote;
mod status;
mod tokens;
