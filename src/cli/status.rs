//! `imserver status`: how the running server is, and in short how all other nodes are.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::connection::{all_answered, silent};
use super::remote::Remote;
use super::{Failure, count, print};
use crate::config::Config;

/// What `status` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Rates are of the last seconds, times to acknowledge of the last minute, the rest since
the start. docs/admin.md says what each member of the JSON means.

With several nodes a line follows for each: its version, how its store is, and how many
connections it has; all else is about the one that is asked. Where a node does not answer
within a second that is said, with exit code 1.

Examples:
  imserver status
  imserver status --json | jq .perSecond.stored")]
pub(super) struct Args {
    /// Everything, as the server gives it
    #[arg(long)]
    json: bool,
}

/// What of the answer is shown to people. What an older server does not tell is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    version: String,
    node: Option<String>,
    uptime_seconds: u64,
    connections: u64,
    users: u64,
    messages: Flow<u64>,
    per_second: Flow<f64>,
    ack_latency: Latency,
    refused: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
    closes: BTreeMap<String, u64>,
    not_in_force: Vec<String>,
    store: Store,
    certificate: Option<Certificate>,
}

/// What of the other answer is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Node {
    node: Option<String>,
    version: String,
    uptime_seconds: u64,
    connections: u64,
    users: u64,
    not_in_force: Vec<String>,
    store: Store,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Flow<T> {
    stored: T,
    delivered: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Store {
    health: String,
    why: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    until: String,
}

pub(super) fn run(args: &Args, config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let server = Remote::required(config, token, "`imserver status`")?;
    let mut answer = server.call(Method::GET, "/admin/status", None)?;
    // One that has no name is alone, or older than the question.
    let of_all = match answer.get("node").is_some_and(Value::is_string) {
        true => server.call(Method::GET, "/admin/nodes", None)?,
        false => Value::Null,
    };
    let unanswered = silent(&of_all);
    if args.json {
        if let (Value::Object(answer), Value::Object(of_all)) = (&mut answer, of_all) {
            answer.extend(of_all);
        }
        print(format!("{answer:#}"))?;
    } else {
        let status: Status = understood(answer)?;
        print(status.lines())?;
        let nodes = if of_all.is_null() { Nodes::default() } else { understood(of_all)? };
        for node in nodes.nodes {
            print(node.line())?;
        }
    }
    all_answered(&unanswered, "how they are is not known")
}

fn understood<T: DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        Failure::failed(format!("the server's answer is not understood ({error}); see --json"))
    })
}

impl Node {
    fn line(&self) -> String {
        let up = humantime::format_duration(Duration::from_secs(self.uptime_seconds));
        let mut text = format!(
            "{:<22}{}: imserver {}, up {up}, {}",
            "node",
            self.node.as_deref().unwrap_or("?"),
            self.version,
            self.store,
        );
        let _ =
            write!(text, ", {} of {}", count(self.connections, "connection"), users(self.users));
        for what in &self.not_in_force {
            let _ = write!(text, ", the {what} in the file refused");
        }
        text
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.health)?;
        self.why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

impl Status {
    fn lines(&self) -> String {
        let mut text = String::new();
        // A text takes every line.
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<22}{value}");
        };
        let up = humantime::format_duration(Duration::from_secs(self.uptime_seconds));
        let node = self.node.as_ref().map_or_else(String::new, |node| format!(", the node {node}"));
        line("server", format!("imserver {}, up {up}{node}", self.version));
        line("store", self.store.to_string());
        if let Some(certificate) = &self.certificate {
            line("certificate until", certificate.until.clone());
        }
        for what in &self.not_in_force {
            line("refused, not in force", format!("the {what} in the file; the log says why"));
        }
        line("connections", format!("{} of {}", self.connections, users(self.users)));
        let (per_second, all) = (&self.per_second, &self.messages);
        line("messages stored", format!("{:.1}/s, {} in all", per_second.stored, all.stored));
        line(
            "messages delivered",
            format!("{:.1}/s, {} in all", per_second.delivered, all.delivered),
        );
        if let (Some(p50), Some(p99)) = (self.ack_latency.p50, self.ack_latency.p99) {
            let (p50, p99) = (p50 * 1000.0, p99 * 1000.0);
            line("time to acknowledge", format!("p50 {p50:.1} ms, p99 {p99:.1} ms"));
        }
        for (name, reasons) in [
            ("requests refused", &self.refused),
            ("frames failed", &self.failures),
            ("connections closed", &self.closes),
        ] {
            line(name, reasons_of(reasons));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

fn users(number: u64) -> String {
    count(number, "user")
}

fn reasons_of(counts: &BTreeMap<String, u64>) -> String {
    let some = counts.iter().filter(|(_, count)| **count > 0);
    let some: Vec<_> = some.map(|(reason, count)| format!("{reason} {count}")).collect();
    if some.is_empty() { "none".to_owned() } else { some.join(", ") }
}
