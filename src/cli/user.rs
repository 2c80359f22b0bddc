//! `imserver user`: who is let in.

use std::path::Path;

use super::{Failure, revoke, token};
use crate::config::Config;
use crate::ids::UserId;

/// What `user` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Both are in force within a second, by the running server where there is one.

Examples:
  imserver user disable 7
  imserver user enable 7")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Let a user in no more, whatever their token; live connections are closed
    Disable {
        /// The user: 1 to 2^53-1
        #[arg(value_name = "ID", value_parser = token::user)]
        user: UserId,
    },
    /// Let a disabled user in again
    Enable {
        /// The user: 1 to 2^53-1
        #[arg(value_name = "ID", value_parser = token::user)]
        user: UserId,
    },
}

pub(super) fn run(args: &Args, config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    match args.command {
        Command::Disable { user } => revoke::set_disabled(user, true, config, token),
        Command::Enable { user } => revoke::set_disabled(user, false, config, token),
    }
}
