//! The program as people run it: what it makes, prints and refuses.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod audit;
mod check;
mod dev;
mod faults;
mod program;
mod runbook;
mod setup;
mod stores;
mod token;
mod torture;
