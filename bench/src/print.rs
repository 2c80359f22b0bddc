//! How reports are printed: a few lines a measurement.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crate::cli::Act;
use crate::ledger::Tally;
use crate::report::{
    Backlog, Checks, Connect, Crowd, Cut, Fill, History, Idle, Own, Report, Revoke, Start, Traffic,
    median,
};
use crate::table;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pairs(traffic) | Self::Open(traffic) => traffic.fmt(f),
            Self::Backlog(backlog) => backlog.fmt(f),
            Self::Idle(idle) => idle.fmt(f),
            Self::Start(start) => start.fmt(f),
            Self::Connect(connect) => connect.fmt(f),
            Self::Checks(checks) => checks.fmt(f),
            Self::Revoke(revoke) => revoke.fmt(f),
            Self::Fill(fill) => fill.fmt(f),
            Self::History(history) => history.fmt(f),
            Self::Cluster(cluster) => f.write_str(&table::cluster(cluster)),
        }
    }
}

impl Display for Own {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "JetStream by itself, {} in flight", self.in_flight)?;
        writeln!(f, "  acknowledged {} /s", number(self.acknowledged_per_s))?;
        writeln!(f, "  to success   {}", self.to_success)?;
        let (store, client) = (number(self.store_cpu_us), number(self.client_cpu_us));
        writeln!(f, "  CPU each     NATS {store} µs, client {client} µs")
    }
}

impl Display for Crowd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { users, unread, bytes, .. } = self;
        writeln!(f, "{users} users at once, half of them with {unread} unread of {bytes} bytes")?;
        for rush in &self.rounds {
            let (server, store) = (maybe(rush.server_cpu_s), maybe(rush.store_cpu_s));
            writeln!(
                f,
                "  connected {:.1} s, all read {:.1} s, {} turned away and back, {} missing",
                rush.connected_s, rush.all_s, rush.again, rush.missing
            )?;
            writeln!(f, "    CPU         nodes {server} s, NATS servers {store} s")?;
            writeln!(f, "    to success  {}", rush.to_success)?;
            writeln!(f, "    to delivery {}", rush.to_delivery)?;
        }
        account(f, &self.tally, &self.troubles)
    }
}

impl Display for Traffic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { pairs, bytes, seconds, .. } = self;
        match (self.window, self.rate) {
            (Some(window), _) => write!(f, "{pairs} pairs, {window} in flight")?,
            (None, rate) => write!(f, "{pairs} pairs, {} /s due", rate.unwrap_or_default())?,
        }
        writeln!(f, ", {bytes} bytes, {seconds:.1} s")?;
        writeln!(f, "  acknowledged {} /s", number(self.acknowledged_per_s))?;
        writeln!(f, "  delivered    {} /s", number(self.delivered_per_s))?;
        writeln!(f, "  to success   {}", self.to_success)?;
        writeln!(f, "  to delivery  {}", self.to_delivery)?;
        if let Some(lateness) = &self.generator_lateness {
            writeln!(f, "  sent late by {lateness}")?;
        }
        let (server, client) = (maybe(self.server_cpu_us), number(self.client_cpu_us));
        write!(f, "  CPU each     server {server} µs, client {client} µs")?;
        if let Some(store) = self.store_cpu_us {
            write!(f, ", NATS {} µs", number(store))?;
        }
        writeln!(f)?;
        writeln!(f, "  server RSS   {} MiB", maybe(self.server_rss_mib))?;
        account(f, &self.tally, &self.troubles)
    }
}

impl Display for Backlog {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { messages, rounds, upgrade_ms, first_ms, all_ms, .. } = self;
        writeln!(f, "{messages} messages waiting, medians of {rounds}, from before the connect")?;
        writeln!(f, "  upgraded {upgrade_ms:.1}  first {first_ms:.1}  all {all_ms:.1} ms")?;
        account(f, &self.tally, &self.troubles)
    }
}

impl Display for Start {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { clean_seconds, after_clean_mib, killed_seconds, after_killed_mib } = self;
        writeln!(f, "ready after")?;
        writeln!(f, "  a clean stop {clean_seconds:.2} s, server RSS {after_clean_mib:.0} MiB")?;
        writeln!(f, "  a kill       {killed_seconds:.2} s, server RSS {after_killed_mib:.0} MiB")
    }
}

impl Display for Idle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { connections, before_mib, after_mib, kib_per_connection } = self;
        writeln!(f, "{connections} idle connections")?;
        writeln!(f, "  server RSS   {before_mib:.1} to {after_mib:.1} MiB")?;
        writeln!(f, "  each         {kib_per_connection:.1} KiB")
    }
}

impl Display for Connect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { count, parallel, per_s, latency, .. } = self;
        writeln!(f, "{count} new connections, {parallel} at a time, {} /s", number(*per_s))?;
        writeln!(f, "  to upgraded  {latency}")?;
        let server = self.server_cpu_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.3}"));
        writeln!(f, "  CPU each     server {server} ms, client {:.3} ms", self.client_cpu_ms)
    }
}

impl Display for Checks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { revocations, rounds, count, adds_percent, .. } = self;
        writeln!(f, "{rounds} rounds of {count} new connections to each server")?;
        let mut line = |what: &str, each: &[f64]| {
            let least = each.iter().copied().fold(f64::INFINITY, f64::min);
            let most = each.iter().copied().fold(0.0, f64::max);
            let middle = median(each.to_vec());
            writeln!(f, "  CPU each     server {middle:.3} ms ({least:.3} to {most:.3}) {what}")
        };
        line("with nothing revoked", &self.without_ms)?;
        line(&format!("with {revocations} revocations in force"), &self.with_ms)?;
        writeln!(f, "  they add     {adds_percent:.1} % over all rounds")
    }
}

impl Display for Revoke {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { by, beside, token, refused, everybody } = self;
        writeln!(f, "{} live connections, and {beside} that keep theirs", everybody.concerned + 1)?;
        writeln!(f, "one token, by its jti")?;
        token.fmt(f)?;
        writeln!(f, "  again        {}", if *refused { "401" } else { "not refused!" })?;
        match by {
            Act::Key => writeln!(f, "all others, by the key that signed their tokens")?,
            Act::User => writeln!(f, "all others, by the user whose they are")?,
        }
        everybody.fmt(f)
    }
}

impl Display for Cut {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { concerned, closed, command_ms, .. } = self;
        let ms = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0}"));
        let (first, middle) = (ms(self.first_ms), ms(self.median_ms));
        let last = ms(self.last_ms);
        writeln!(f, "  closed 4403  {closed} of {concerned}")?;
        writeln!(
            f,
            "  seen after   first {first}  median {middle}  last {last} ms, of the command's start"
        )?;
        writeln!(f, "  command      {command_ms:.0} ms")?;
        let (server, client) = (self.server_cpu_ms, self.client_cpu_ms);
        writeln!(f, "  CPU          server {server:.0} ms, client {client:.0} ms")?;
        self.troubles.iter().try_for_each(|(what, count)| writeln!(f, "  ! {count} × {what}"))
    }
}

impl Display for Fill {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { seconds, acknowledged_per_s, .. } = self;
        writeln!(f, "{} messages stored in {seconds:.1} s", self.tally.acknowledged)?;
        writeln!(f, "  acknowledged {} /s", number(*acknowledged_per_s))?;
        writeln!(f, "  CPU each     server {} µs", maybe(self.server_cpu_us))?;
        writeln!(f, "  disk         {} bytes a message", maybe(self.disk_bytes_per_message))?;
        writeln!(f, "  server RSS   {} MiB", maybe(self.server_rss_mib))?;
        account(f, &self.tally, &self.troubles)
    }
}

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for conversation in &self.conversations {
            let messages = number(conversation.messages as f64);
            writeln!(f, "pages of {} from a conversation of {messages} messages", self.limit)?;
            writeln!(f, "  newest       {}", conversation.newest)?;
            writeln!(f, "  older        {}", conversation.older)?;
            writeln!(f, "  CPU each     server {} µs", maybe(conversation.server_cpu_us))?;
        }
        account(f, &self.tally, &self.troubles)
    }
}

/// What became of the messages; silent about what did not happen, but for loss.
fn account(f: &mut Formatter<'_>, tally: &Tally, troubles: &BTreeMap<String, u64>) -> fmt::Result {
    let Tally { sent, acknowledged, delivered, lost, duplicated, out_of_order, .. } = tally;
    writeln!(f, "  messages     {sent} sent, {acknowledged} acknowledged, {delivered} delivered")?;
    write!(f, "               {lost} lost, {duplicated} duplicated, {out_of_order} out of order")?;
    let more = [
        (tally.failed, "failed"),
        (tally.unanswered, "unanswered"),
        (tally.corrupted, "corrupted"),
        (tally.stray_answers, "stray answers"),
    ];
    for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
        write!(f, ", {count} {what}")?;
    }
    writeln!(f)?;
    for (what, count) in troubles {
        writeln!(f, "  ! {count} × {what}")?;
    }
    Ok(())
}

fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// A figure with as many digits as mean something.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        ..1.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (left, digit) in (0..digits.len()).rev().zip(digits.chars()) {
                text.push(digit);
                if left > 0 && left % 3 == 0 && digit != '-' {
                    text.push(',');
                }
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_as_many_digits_as_mean_something() {
        let shown = [0.123, 1.25, 99.94, 123.4, 76_000.4, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.12", "1.2", "99.9", "123", "76,000", "1,234,567"]);
    }
}
