//! The session over a socket in memory, with a clock that the test moves and a store
//! that fails on cue.

mod answering;
mod cue;
mod delivering;
mod ending;
mod revoking;
mod rig;
mod v2;
