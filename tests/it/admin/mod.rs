//! What administrators do, by the listener that is theirs.

mod audit;
mod connections;
mod description;
mod door;
mod erase;
mod notifications;
mod page;
mod remote;
mod status;
mod tokens;
