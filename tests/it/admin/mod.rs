//! What administrators do, by the listener that is theirs.

mod audit;
mod door;
mod erase;
mod remote;
mod status;
mod tokens;
