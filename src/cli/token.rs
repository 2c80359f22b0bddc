//! `imserver token`: tokens for trying things out, for support and for administrators.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use zeroize::Zeroizing;

use super::{Failure, print, revoke, wiring};
use crate::admin::revoke::Target;
use crate::auth::{self, KeyEntry, KeySet, Refused, Request, TOKEN_MAX, Verdict};
use crate::config::Config;
use crate::ids::UserId;

/// Issues, inspects and revokes tokens.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints a new token, and nothing else.
    Issue(Issue),
    /// Shows what is in a token and whether it would be accepted here.
    Inspect {
        /// The token, or - to read it from standard input, which keeps it out of the list of
        /// processes and the shell's history.
        jwt: String,
    },
    /// Takes a token back, or all of a user's: none of them opens anything any more, and the
    /// connections that live by them are closed within a second.
    #[command(group(clap::ArgGroup::new("which").required(true).args(["what", "sub"])))]
    Revoke {
        /// The token, or its jti as `imserver token list` shows it, or - to read either from
        /// standard input.
        #[arg(value_name = "JWT|JTI")]
        what: Option<String>,
        /// All tokens of this user that were issued up to now; later ones are good.
        #[arg(long, value_name = "ID", value_parser = user)]
        sub: Option<UserId>,
    },
    /// Shows the ledger, one token a line: jti, user, who had it issued, when, until when, and
    /// whether it is good.
    List {
        /// Only tokens of this user.
        #[arg(long, value_name = "ID", value_parser = user)]
        sub: Option<UserId>,
        /// Also those that have expired.
        #[arg(long)]
        all: bool,
    },
    /// Shows what is revoked; that ends by itself once the tokens would have.
    Revocations,
}

#[derive(Debug, clap::Args)]
struct Issue {
    /// The user it is for: 1 to 2^53-1.
    #[arg(long, value_name = "ID", value_parser = user)]
    sub: UserId,
    /// The name to show with the user's messages.
    #[arg(long)]
    name: Option<String>,
    /// The address of the user's picture: https, or without a scheme.
    #[arg(long, value_name = "URL")]
    picture: Option<String>,
    /// For how long it is good, such as 90s, 1h or 7d; auth.max_lifetime at most.
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Makes it an administrator's token, which opens no session.
    #[arg(long)]
    admin: bool,
}

pub(super) fn run(args: Args, config: &Config, admin: Option<&Path>) -> Result<(), Failure> {
    match args.command {
        Command::Issue(issue) => Ok(run_issue(issue, config)?),
        Command::Inspect { jwt } => inspect(&jwt, config),
        Command::Revoke { sub: Some(user), .. } => {
            revoke::revoke(&Target::Subject(user), config, admin)
        }
        Command::Revoke { what, sub: None } => {
            let what = Zeroizing::new(given(&what.unwrap_or_default())?);
            revoke::revoke(&revoke::target(what.trim())?, config, admin)
        }
        Command::List { sub, all } => revoke::ledger(sub, all, config, admin),
        Command::Revocations => revoke::list(config, admin),
    }
}

pub(super) fn user(text: &str) -> Result<UserId, String> {
    UserId::parse(text).ok_or_else(|| {
        let why = if text == "0" { "0 is the system, and no token may carry it; " } else { "" };
        format!("{why}a user is a decimal number from 1 to 9007199254740991")
    })
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; give a number and a unit, such as 90s, 1h or 7d"))
}

fn run_issue(issue: Issue, config: &Config) -> anyhow::Result<()> {
    let keys = KeySet::load(&config.auth.keys)?;
    let request = Request {
        user: issue.sub,
        name: issue.name,
        picture: issue.picture,
        ttl: issue.ttl,
        admin: issue.admin,
    };
    let issued = wiring::issue(config, &keys, &request)?;
    writeln!(io::stdout(), "{}", issued.token).context("the token was issued, but not printed")
}

fn inspect(jwt: &str, config: &Config) -> Result<(), Failure> {
    let keys = KeySet::configured(&config.auth)?;
    let token = given(jwt)?;
    let inspection = auth::inspect(&keys, &config.auth, token.trim(), SystemTime::now());
    for (part, text) in [("header", &inspection.header), ("claims", &inspection.claims)] {
        let text = text.as_deref().unwrap_or("(cannot be decoded)");
        print(format!("{part}: {text}"))?;
    }
    match inspection.verdict {
        Verdict::User(identity) => {
            let (user, end) = (identity.user(), shown(identity.ends_at()));
            print(format!("accepted: user {user}, until {end} unless revoked"))
        }
        Verdict::Admin(admin) => {
            let (user, end) = (admin.user(), shown(admin.ends_at()));
            print(format!("accepted: administrator {user}, until {end} unless revoked"))
        }
        Verdict::Refused(refused) => {
            // Anybody may have written what stands above; say so where it is read.
            let reason = refused.reason();
            // Only a key that is not in the file can be the provider's.
            if refused == Refused::UnknownKid && config.auth.jwks_url.is_some() {
                return Err(Failure::failed(format!(
                    "not checked: {refused} ({reason}), but only the keys in auth.keys were used; \
                     those of auth.jwks_url are known to the running server alone; do not trust \
                     what it says"
                )));
            }
            let wanted = wanted(refused, config, &keys);
            Err(Failure::failed(format!(
                "refused here: {refused} ({reason}){wanted}; do not trust what it says"
            )))
        }
    }
}

/// What would have been right, where the configuration says so.
fn wanted(refused: Refused, config: &Config, keys: &KeySet) -> String {
    let auth = &config.auth;
    match refused {
        Refused::WrongIssuer => format!("; auth.issuer is {:?}", auth.issuer),
        Refused::WrongAudience => format!(
            "; auth.audience is {:?}, and auth.admin_audience {:?}",
            auth.audience, auth.admin_audience
        ),
        Refused::TooLongLived => {
            format!(", {}", humantime::format_duration(auth.max_lifetime))
        }
        Refused::UnknownKid | Refused::MissingKid | Refused::WrongAlg => {
            let name = |key: &KeyEntry| {
                format!("{:?} ({})", key.kid.as_deref().unwrap_or_default(), key.alg)
            };
            let names: Vec<_> = keys.list().iter().map(name).collect();
            format!("; auth.keys has {}", names.join(", "))
        }
        _ => String::new(),
    }
}

/// What stands on the command line, or on standard input in its stead.
fn given(text: &str) -> anyhow::Result<String> {
    if text == "-" { from_stdin() } else { Ok(text.to_owned()) }
}

fn from_stdin() -> anyhow::Result<String> {
    // Room for blanks around it; a longer token is refused for its length.
    let most = 2 * TOKEN_MAX as u64;
    let mut token = String::new();
    io::stdin()
        .take(most)
        .read_to_string(&mut token)
        .context("no token could be read from standard input")?;
    if token.trim().is_empty() {
        return Err(anyhow!("standard input held no token; pipe one in, or name it"));
    }
    Ok(token)
}

fn shown(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn issue(arguments: &[&str]) -> Result<Issue, String> {
        let line = ["token", "issue"].iter().chain(arguments);
        match Line::try_parse_from(line).map(|line| line.args.command) {
            Ok(Command::Issue(issue)) => Ok(issue),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_token_is_for_a_user_and_an_hour() {
        let issue = issue(&["--sub", "7", "--name", "小明"]).unwrap();
        assert_eq!(issue.sub, UserId::new(7).unwrap());
        assert_eq!(issue.ttl, Duration::from_secs(3600));
        assert!(!issue.admin);
    }

    #[test]
    fn the_system_and_odd_ids_get_no_token() {
        let error = issue(&["--sub", "0"]).unwrap_err();
        assert!(error.contains("0 is the system"), "{error}");
        for odd in ["07", "+7", "", "a", "9007199254740992"] {
            let error = issue(&["--sub", odd]).unwrap_err();
            assert!(error.contains("from 1 to 9007199254740991"), "{error}");
        }
        assert!(issue(&[]).unwrap_err().contains("--sub"));
    }

    #[test]
    fn no_secret_is_taken_from_the_command_line() {
        assert!(issue(&["--sub", "7", "--secret", "x"]).is_err());
    }

    #[test]
    fn a_token_to_inspect_may_come_from_standard_input() {
        let line = Line::try_parse_from(["token", "inspect", "-"]).unwrap();
        assert!(matches!(line.args.command, Command::Inspect { jwt } if jwt == "-"));
    }
}
