//! The whole server as its users meet it: the built binary, real TLS, real sockets,
//! a real data directory.

mod chat;
mod support;
