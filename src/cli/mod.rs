//! The command line: one file a subcommand.
#![expect(dead_code, reason = "nothing calls the subcommands yet")]

pub(crate) mod key;
pub(crate) mod token;
