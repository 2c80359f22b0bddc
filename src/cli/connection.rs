//! `imserver connection`: who is connected, to the running server and to all other nodes, and
//! sending them away.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use serde_json::Value;

use super::remote::Remote;
use super::token::user;
use super::{Failure, count, print};
use crate::config::Config;
use crate::ids::{ConnectionId, UserId};

/// What `connection` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A connection that is closed is told so (1001) and may come back at once: to keep somebody
out, revoke their tokens.

With several nodes both are about all of them: each connection names its node, and where one
does not answer within a second that is said, with exit code 1.

Examples:
  imserver connection list --user 1
  imserver connection close 00d1c6f0a3b24c55
  imserver connection close --user 1")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print one connection a line, as JSON
    List {
        /// Only those of this user
        #[arg(long, value_name = "ID", value_parser = user)]
        user: Option<UserId>,
        /// Only those that live by a token which this key signed
        #[arg(long, value_name = "KID")]
        kid: Option<String>,
    },
    /// Close a connection, or all of a user's
    #[command(group(clap::ArgGroup::new("whose").required(true).args(["id", "user"])))]
    Close {
        /// Its id, as `connection list` prints it
        #[arg(value_parser = connection)]
        id: Option<ConnectionId>,
        /// Whose connections to close
        #[arg(long, value_name = "ID", value_parser = user)]
        user: Option<UserId>,
    },
}

pub(super) fn run(args: &Args, config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let server = Remote::required(config, token, "`imserver connection`")?;
    match &args.command {
        Command::List { user, kid } => list(&server, *user, kid.as_deref()),
        Command::Close { id, user } => close(&server, *id, *user),
    }
}

fn connection(text: &str) -> Result<ConnectionId, String> {
    ConnectionId::parse(text).ok_or_else(|| {
        "a connection has 16 hexadecimal digits, as `imserver connection list` prints them"
            .to_owned()
    })
}

fn list(server: &Remote, user: Option<UserId>, kid: Option<&str>) -> Result<(), Failure> {
    let mut narrow = String::new();
    if let Some(user) = user {
        narrow += &format!("&user={user}");
    }
    if let Some(kid) = kid {
        narrow += &format!("&kid={}", escaped(kid));
    }
    let (mut cursor, mut unanswered) = (String::new(), BTreeSet::new());
    loop {
        let target = format!("/admin/connections?limit=1000{narrow}{cursor}");
        let page = server.call(Method::GET, &target, None)?;
        let all = page.get("connections").and_then(Value::as_array);
        for one in all.into_iter().flatten() {
            print(one)?;
        }
        unanswered.extend(silent(&page));
        match page.get("next").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all_answered(&unanswered, "theirs are not among these"),
        }
    }
}

/// The nodes that did not answer, by an answer of the one that asked them.
pub(super) fn silent(answer: &Value) -> BTreeSet<String> {
    let names = answer.get("unanswered").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// Fails where there are nodes that did not answer: of these, `what`.
pub(super) fn all_answered(unanswered: &BTreeSet<String>, what: &str) -> Result<(), Failure> {
    if unanswered.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = unanswered.iter().map(String::as_str).collect();
    Err(Failure::failed(format!("not every node answered ({}): {what}", names.join(", "))))
}

fn close(server: &Remote, id: Option<ConnectionId>, user: Option<UserId>) -> Result<(), Failure> {
    let target = match (id, user) {
        (Some(id), _) => format!("/admin/connections/{id}"),
        (None, Some(user)) => format!("/admin/connections?user={user}"),
        (None, None) => return Err(Failure::usage("name a connection, or a user with --user")),
    };
    let answer = server.call(Method::DELETE, &target, None)?;
    let closed = answer.get("closed").and_then(Value::as_u64).unwrap_or_default();
    print(format!("{} told to go; they may come back", count(closed, "connection")))?;
    all_answered(&silent(&answer), "what is connected there was perhaps not told; ask again")
}

/// `text` as it stands in a query (RFC 3986, section 2).
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_have_any_name() {
        assert_eq!(escaped("a-b.c_~"), "a-b.c_~");
        assert_eq!(escaped("a&b=c d/é"), "a%26b%3Dc%20d%2F%C3%A9");
    }
}
