//! The HTTPS API, call by call.

mod bodies;
mod calls;
mod connections;
mod cursors;
mod pages;
mod refusals;
mod writing;
