//! `imserver notify`: a message from the system, to one, to many or to all.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::remote::Remote;
use super::token::user;
use super::{Failure, print};
use crate::config::Config;
use crate::message::ClientMsgId;

/// What `notify` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It is a message like any other, with fromId 0: delivered at once, and kept for those who are
away. Whoever is named need not have been here yet; \"all\" are those whom the store knows,
because they connected or were written to.

Sent again with the same --id it goes to those who have it not yet, and twice to nobody.

Examples:
  imserver notify --to 1,2 --content \"the service restarts at noon\"
  imserver notify --to all --content - < news.txt")]
pub(super) struct Args {
    /// The users, separated by commas, or all
    #[arg(long, value_name = "IDS|all", value_parser = recipients)]
    to: Recipients,
    /// The text, or - to read it from standard input
    #[arg(long, value_name = "TEXT")]
    content: String,
    /// A name for this notification, 1 to 64 bytes [default: a new one]
    #[arg(long, value_name = "NAME", value_parser = name)]
    id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Recipients {
    All,
    These(Vec<u64>),
}

fn recipients(text: &str) -> Result<Recipients, String> {
    if text == "all" {
        return Ok(Recipients::All);
    }
    let users: Result<Vec<u64>, String> =
        text.split(',').map(|one| user(one.trim()).map(|user| user.get())).collect();
    users.map(Recipients::These).map_err(|error| format!("{error}; write 1,2,3 or all"))
}

fn name(text: &str) -> Result<String, String> {
    let named = ClientMsgId::new(text).map(|name| name.as_str().to_owned());
    named.ok_or_else(|| "a name has 1 to 64 bytes".to_owned())
}

/// More is no message by any configuration.
const CONTENT_MAX: u64 = 1 << 20;

pub(super) fn run(args: Args, config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let Args { to, content, id } = args;
    let content = if content == "-" { from_stdin()? } else { content };
    if content.is_empty() {
        return Err(Failure::usage("the notification has no text: give one with --content"));
    }
    let max = config.limits.content_bytes;
    if content.len() > max {
        return Err(Failure::usage(format!(
            "the text has {} bytes, and {max} are allowed (limits.content_bytes)",
            content.len()
        )));
    }
    let id = id.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
    let to = match to {
        Recipients::All => json!("all"),
        Recipients::These(users) => json!(users),
    };
    let server = Remote::required(config, token, "`imserver notify`")?;
    let body = json!({ "to": to, "content": content, "clientMsgId": id });
    let mut tally = Tally::new();
    let sent = server.lines(Method::POST, "/admin/notifications", Some(&body), |line| {
        tally.take(&line);
        Ok(())
    });
    tally.clear();
    let again = format!("the same again with --id {id} goes to those who have it not yet");
    sent.map_err(|failure| Failure::failed(format!("{failure}; {again}")))?;
    tally.result(&again)
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin()
        .take(CONTENT_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed(format!("no text could be read: {error}")))?;
    // The end of the last line is the file's, not the message's.
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// What became of it so far.
struct Tally {
    tried: u64,
    /// For how many the name stands for another text.
    reused: u64,
    /// The last line, which is about all of them.
    sum: Option<Value>,
    shows: bool,
}

impl Tally {
    fn new() -> Self {
        Self { tried: 0, reused: 0, sum: None, shows: io::stderr().is_terminal() }
    }

    fn take(&mut self, line: &Value) {
        if line.get("complete").is_some() {
            self.sum = Some(line.clone());
            return;
        }
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        let Some(user) = line.get("userId").and_then(Value::as_u64) else {
            return;
        };
        self.tried += 1;
        self.reused += u64::from(text("code") == Some("id_reused"));
        let mut out = io::stderr().lock();
        // Nobody to tell is no reason to stop.
        if let (Some(code), Some(message)) = (text("code"), text("message")) {
            let clear = if self.shows { "\r\x1b[K" } else { "" };
            let _ = writeln!(out, "{clear}user {user}: {message} ({code})");
        }
        if self.shows && self.tried.is_multiple_of(100) {
            let _ = write!(out, "\r{} users", self.tried);
        }
    }

    /// Takes the progress off the terminal.
    fn clear(&self) {
        if self.shows {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn result(&self, again: &str) -> Result<(), Failure> {
        let Some(sum) = &self.sum else {
            return Err(Failure::failed(format!("the server said no end of it; {again}")));
        };
        let count = |name: &str| sum.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (sent, duplicates, failed) = (count("sent"), count("duplicates"), count("failed"));
        let had = match duplicates {
            0 => String::new(),
            some => format!(", {some} had it already"),
        };
        print(format!("sent to {sent} of {} users{had}", sent + duplicates + failed))?;
        if sum.get("complete") != Some(&Value::Bool(true)) {
            return Err(Failure::failed(format!("it stopped before everybody was tried; {again}")));
        }
        match failed {
            0 => Ok(()),
            // The same again would fail as it did now.
            some if some == self.reused => Err(Failure::usage(format!(
                "{some} of them had another text under this name: give another --id",
            ))),
            some => Err(Failure::failed(format!("it did not reach {some} of them; {again}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_numbers_or_all() {
        assert_eq!(recipients("all"), Ok(Recipients::All));
        assert_eq!(recipients("1, 2,3"), Ok(Recipients::These(vec![1, 2, 3])));
        for bad in ["", "0", "1,", ",1", "1;2", "all,1", "-1", "All", "1,01"] {
            assert!(recipients(bad).is_err(), "{bad}");
        }
    }
}
