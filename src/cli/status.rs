//! `imserver status`: how the running server is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::remote::Remote;
use super::{Failure, print};
use crate::config::Config;

/// What `status` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Rates are of the last seconds, times to acknowledge of the last minute, the rest since
the start. docs/admin.md says what each member of the JSON means.

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
    let answer = server.call(Method::GET, "/admin/status", None)?;
    if args.json {
        return print(format!("{answer:#}"));
    }
    let status: Status = serde_json::from_value(answer).map_err(|error| {
        Failure::failed(format!("the server's answer is not understood ({error}); see --json"))
    })?;
    print(status.lines())
}

impl Status {
    fn lines(&self) -> String {
        let mut text = String::new();
        // A text takes every line.
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<22}{value}");
        };
        let up = humantime::format_duration(Duration::from_secs(self.uptime_seconds));
        line("server", format!("imserver {}, up {up}", self.version));
        let why = self.store.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        line("store", format!("{}{why}", self.store.health));
        if let Some(certificate) = &self.certificate {
            line("certificate until", certificate.until.clone());
        }
        for what in &self.not_in_force {
            line("refused, not in force", format!("the {what} in the file; the log says why"));
        }
        line("connections", format!("{} of {} users", self.connections, self.users));
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

fn reasons_of(counts: &BTreeMap<String, u64>) -> String {
    let some = counts.iter().filter(|(_, count)| **count > 0);
    let some: Vec<_> = some.map(|(reason, count)| format!("{reason} {count}")).collect();
    if some.is_empty() { "none".to_owned() } else { some.join(", ") }
}
