//! The command line: one file a subcommand, and the only place that prints.
//!
//! Results go to standard output, so that they can be used by other programs;
//! what went wrong, and the log, go to standard error.

mod audit;
mod backup;
mod cert;
mod check;
mod cluster;
mod compact;
mod connection;
mod dev;
mod erase;
mod export;
mod failure;
mod health;
mod init;
mod key;
mod migrate;
mod notify;
mod offline;
mod progress;
mod reload;
mod remote;
mod revoke;
mod serve;
mod status;
mod token;
mod torture;
mod user;
mod wiring;

use crate::config::Config;
use crate::server;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use failure::Failure;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The configuration that is read where `--config` names no other.
const CONFIG: &str = "config.toml";

const EXAMPLES: &str = "\
Examples:
  imserver dev                              try it: prints two chat links
  imserver init                             set up for production, here
  imserver config check                     is everything in order?
  imserver serve                            run
  TOKEN=$(imserver token issue --sub 1)     a token for user 1
  imserver torture                          does it keep its word on this disk?

Any setting of config.toml can be overridden by a variable:
  IMSERVER_SERVER__LISTEN=127.0.0.1:9000 imserver serve

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

const INIT: &str = "\
Writes config.toml (or what --config names) with every setting and its default, and beside it
certs/keys.json with a new key that signs and checks tokens. What is there already stays as it
is. Says what is still missing, and what to do next.";

const SERVE: &str = "\
The log goes to standard error. Once clients can connect it says `serving`, and where.

  SIGTERM, SIGINT   stop: what is under way is answered, and clients are told when to come
                    back, for server.drain_timeout at the most; a second one ends at once
  SIGHUP            read configuration, certificate and keys again, as when their files change

`imserver config check` says before what a start would find wrong. Exit codes: 0 stopped as it
should, 1 it could not start or go on, 2 the configuration or a file that it names is wrong.";

/// Commands, and commands of commands, that never speak to a running server: their help does not
/// offer a token for it.
const ALONE: [&str; 18] = [
    "dev",
    "init",
    "serve",
    "config",
    "key generate",
    "key list",
    "token issue",
    "token inspect",
    "torture",
    "cert",
    "audit",
    "restore",
    "verify",
    "import",
    "migrate",
    "compact",
    "cluster",
    "health",
];

/// Where the options of all commands stand in a help text: behind those of the command.
const EVERYWHERE: usize = 500;

/// A private-messaging server: wss, JWT, durable messages.
#[derive(Debug, Parser)]
#[command(name = "imserver", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// The configuration to use [default: config.toml]
    #[arg(long, global = true, value_name = "FILE", display_order = EVERYWHERE)]
    config: Option<PathBuf>,
    /// A file that holds an administrator's token, for commands that speak to the running
    /// server [default: the variable IMSERVER_ADMIN_TOKEN, or one made for a minute with
    /// the signing key]
    #[arg(long, global = true, value_name = "FILE", display_order = EVERYWHERE)]
    admin_token: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve for development: makes all it needs and prints two chat links
    Dev(dev::Args),
    /// Set up for production: folders, keys and config.toml; overwrites nothing
    #[command(after_help = INIT)]
    Init,
    /// Serve, until told to stop
    #[command(after_help = SERVE)]
    Serve,
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The keys that sign and check tokens
    Key(key::Args),
    /// Tokens for users and administrators
    Token(token::Args),
    /// Users who are let in, or not
    User(user::Args),
    /// Kill a server of its own again and again, and look for what it acknowledged
    Torture(torture::Args),
    /// Certificates
    #[command(subcommand)]
    Cert(CertCommand),
    /// The log of what administrators did
    Audit(audit::Args),
    /// Erase a user and every message to and from them
    Erase(erase::Args),
    /// Who is connected to the running server
    Connection(connection::Args),
    /// Send a message from the system
    Notify(notify::Args),
    /// Copy everything into a folder, also while the server runs, and check the copy
    Backup(backup::BackupArgs),
    /// Make the store of a backup, in an empty `store.path`
    Restore(backup::RestoreArgs),
    /// Read a stopped store or a backup from end to end: does everything fit together?
    Verify(backup::VerifyArgs),
    /// Write everything, or one user's data, as JSON lines
    Export(export::ExportArgs),
    /// Make a store of exported JSON lines, in an empty `store.path`
    Import(export::ImportArgs),
    /// Move the store of a stopped server into NATS JetStream, for several nodes
    Migrate(migrate::Args),
    /// Write the database of a stopped server anew, without the room that removed messages
    /// have left in it
    Compact,
    /// The streams on NATS servers that several nodes share
    Cluster(cluster::Args),
    /// Is the running server well? Exit code 0: it takes connections and stores messages
    Health,
    /// How the running server is
    Status(status::Args),
    /// Have the running server read configuration, certificate and keys again
    Reload,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration and all files that it names
    Check,
}

#[derive(Debug, Subcommand)]
enum CertCommand {
    /// Make a self-signed certificate for development; overwrites nothing
    Dev(cert::Args),
}

/// Runs what the command line of this process says.
pub fn main() -> ExitCode {
    // clap exits with 2 by itself where the usage is wrong.
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    server::raise_limit();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody to tell is no reason to fail differently.
            let _ = writeln!(io::stderr().lock(), "imserver: {failure}");
            failure.exit_code()
        }
    }
}

/// What the command line is made of, and its help.
fn command() -> clap::Command {
    let mut command = Cli::command();
    // The options of all commands become those of each.
    command.build();
    for one in command.get_subcommands_mut() {
        let name = one.get_name().to_owned();
        hide_token(one, &name);
    }
    command
}

fn hide_token(command: &mut clap::Command, name: &str) {
    if ALONE.contains(&name) {
        let whole = std::mem::take(command);
        *command = whole.mut_args(|arg| match arg.get_id() == "admin_token" {
            true => arg.hide(true),
            false => arg,
        });
    }
    for one in command.get_subcommands_mut() {
        let below = match ALONE.contains(&name) {
            true => name.to_owned(),
            false => format!("{name} {}", one.get_name()),
        };
        hide_token(one, &below);
    }
}

impl Cli {
    fn run(self) -> Result<(), Failure> {
        let file = ConfigFile { named: self.config };
        let token = self.admin_token.as_deref();
        match self.command {
            Command::Dev(args) => dev::run(&args, &file),
            Command::Init => init::run(&file),
            Command::Serve => serve::run(&file),
            Command::Config(ConfigCommand::Check) => check::run(&file),
            Command::Key(args) => key::run(args, &file.load()?, token),
            Command::Token(args) => token::run(args, &file.load()?, token),
            Command::User(args) => user::run(&args, &file.load()?, token),
            Command::Torture(args) => torture::run(&args, &file),
            Command::Cert(CertCommand::Dev(args)) => cert::run(&args, &file),
            Command::Audit(args) => audit::run(&args, &file.load()?),
            Command::Connection(args) => connection::run(&args, &file.load()?, token),
            Command::Notify(args) => notify::run(args, &file.load()?, token),
            Command::Backup(args) => backup::backup(&args, &file.load()?, token),
            Command::Restore(args) => backup::restore(&args, &file.load()?),
            Command::Verify(args) => backup::verify(&args, &file.load()?),
            Command::Export(args) => export::export(&args, &file.load()?, token),
            Command::Import(args) => export::import(&args, &file.load()?),
            Command::Migrate(args) => migrate::run(&args, &file.load()?),
            Command::Compact => compact::run(&file.load()?),
            Command::Erase(args) => erase::run(&args, &file.load()?, token),
            Command::Cluster(args) => cluster::run(&args, &file.load()?),
            Command::Health => health::run(&file.load()?),
            Command::Status(args) => status::run(&args, &file.load()?, token),
            Command::Reload => reload::run(&file.load()?, token),
        }
    }
}

/// The configuration file of this run.
#[derive(Debug)]
struct ConfigFile {
    /// What `--config` says.
    named: Option<PathBuf>,
}

impl ConfigFile {
    fn path(&self) -> &Path {
        self.named.as_deref().unwrap_or(Path::new(CONFIG))
    }

    /// How commands in a hint must name it: empty, or ` --config FILE`.
    fn option(&self) -> String {
        self.named.as_deref().map_or_else(String::new, |path| format!(" --config {}", shell(path)))
    }

    fn load(&self) -> Result<Config, Failure> {
        Config::load(self.path()).map_err(|e| Failure::config(&e, self))
    }
}

/// So many of something, as in "1 message" and "2 messages".
fn count(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// `path` as a shell takes it for one word.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Prints to standard output. A reader that has left is no failure.
fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("the result cannot be printed: {e}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Every command used to offer one.
    #[test]
    fn a_token_for_the_server_is_offered_where_it_is_used() {
        let help = |path: &str| {
            let mut command = command();
            let mut named = &mut command;
            for name in path.split(' ') {
                named = named.find_subcommand_mut(name).unwrap();
            }
            named.render_long_help().to_string()
        };
        for path in ALONE.iter().chain(&["config check", "cert dev", "audit verify"]) {
            assert!(!help(path).contains("--admin-token"), "{path}");
        }
        for path in ["key rotate", "token revoke", "user disable", "status", "reload", "export"] {
            assert!(help(path).contains("--admin-token"), "{path}");
        }
        // It may stand there all the same.
        for path in ["verify", "status"] {
            let line = ["imserver", path, "--admin-token", "t", "--config", "c"];
            let matches = command().try_get_matches_from(line).unwrap();
            let cli = Cli::from_arg_matches(&matches).unwrap();
            let named = (cli.admin_token, cli.config);
            assert_eq!(named, (Some("t".into()), Some("c".into())), "{path}");
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| count(number, "row")), ["0 rows", "1 row", "2 rows"]);
    }

    #[test]
    fn options_of_all_commands_stand_behind_those_of_the_command() {
        let mut command = Cli::command();
        command.build();
        for one in command.get_subcommands_mut().filter(|one| one.get_name() != "help") {
            let help = one.render_help().to_string();
            let place = |option: &str| help.find(&format!("\n      --{option}"));
            let all = place("config").expect("it is everybody's");
            let own = one.get_arguments().filter(|own| !own.is_global_set());
            for own in own.filter_map(clap::Arg::get_long).filter(|own| *own != "help") {
                assert!(place(own).is_some_and(|own| own < all), "{own}: {help}");
            }
        }
    }

    #[test]
    fn a_path_in_a_hint_can_be_pasted_into_a_shell() {
        assert_eq!(shell(Path::new("imserver-dev/config.toml")), "imserver-dev/config.toml");
        assert_eq!(shell(Path::new("my files/it's")), r"'my files/it'\''s'");
        assert_eq!(shell(Path::new("$(id)")), "'$(id)'");
    }
}
