//! The table: what was measured beside what is expected.

use std::fmt::Write as _;

use serde::Serialize;

use crate::print::number;
use crate::report::{Between, Cluster, Report, Rush, Traffic, median};
use crate::results::Results;
use crate::side::Side;

/// What is expected of a figure.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What the figure is.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The median of the rounds; none where it cannot be known.
    pub measured: Option<f64>,
    /// What the first version must reach.
    pub first: Bound,
    /// What it should reach in the end.
    pub goal: Bound,
}

/// The figures that matter, with what is expected of them.
#[must_use]
pub fn rows(reports: &[Report]) -> Vec<Row> {
    use Bound::{AtLeast, AtMost};
    let row = |figure, unit, first, goal, read: fn(&Report) -> Option<f64>| {
        let values: Vec<f64> = reports.iter().filter_map(read).collect();
        let measured = (!values.is_empty()).then(|| median(values));
        Row { figure, unit, measured, first, goal }
    };
    vec![
        row("64 pairs, 1 in flight: acknowledged", "/s", AtLeast(12e3), AtLeast(30e3), |report| {
            narrow(report).map(|traffic| traffic.acknowledged_per_s)
        }),
        row("– server CPU per message", "µs", AtMost(60.0), AtMost(30.0), |report| {
            narrow(report)?.server_cpu_us
        }),
        row("– ack p99", "ms", AtMost(20.0), AtMost(6.0), |report| {
            narrow(report).map(|traffic| traffic.to_success.p99_ms)
        }),
        row(
            "64 pairs, 16 in flight: acknowledged and delivered",
            "/s",
            AtLeast(25e3),
            AtLeast(76e3),
            |report| {
                wide(report).map(|traffic| traffic.acknowledged_per_s.min(traffic.delivered_per_s))
            },
        ),
        row("– server CPU per message", "µs", AtMost(35.0), AtMost(16.0), |report| {
            wide(report)?.server_cpu_us
        }),
        row("open loop 5,000/s: end-to-end p99", "ms", AtMost(10.0), AtMost(3.0), |report| {
            let Report::Open(traffic) = report else {
                return None;
            };
            Some(traffic.to_delivery.p99_ms)
        }),
        row(
            "10,000 messages waiting: first delivered",
            "ms",
            AtMost(20.0),
            AtMost(4.0),
            |report| {
                let Report::Backlog(backlog) = report else {
                    return None;
                };
                Some(backlog.first_ms)
            },
        ),
        row("– all delivered", "ms", AtMost(400.0), AtMost(60.0), |report| {
            let Report::Backlog(backlog) = report else {
                return None;
            };
            Some(backlog.all_ms)
        }),
        row("memory per idle connection (2,000)", "KiB", AtMost(24.0), AtMost(14.0), |report| {
            let Report::Idle(idle) = report else {
                return None;
            };
            Some(idle.kib_per_connection)
        }),
        row("CPU per new connection", "ms", AtMost(0.35), AtMost(0.20), |report| {
            let Report::Connect(connect) = report else {
                return None;
            };
            connect.server_cpu_ms
        }),
    ]
}

fn narrow(report: &Report) -> Option<&Traffic> {
    closed(report, 1)
}

fn wide(report: &Report) -> Option<&Traffic> {
    closed(report, 16)
}

fn closed(report: &Report, window: u64) -> Option<&Traffic> {
    match report {
        Report::Pairs(traffic) if traffic.window == Some(window) => Some(traffic),
        _ => None,
    }
}

/// Prints rows as a Markdown table.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let mut text = "| | measured | first | goal |\n|---|---|---|---|\n".to_owned();
    for Row { figure, unit, measured, first, goal } in rows {
        let measured = match measured {
            None => "–".to_owned(),
            Some(value) => {
                let verdict = match (first.holds(*value), goal.holds(*value)) {
                    (_, true) => "goal",
                    (true, false) => "first",
                    (false, false) => "missed",
                };
                format!("{} {unit} ({verdict})", number(*value))
            }
        };
        let (first, goal) = (bound(*first), bound(*goal));
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| {figure} | {measured} | {first} {unit} | {goal} {unit} |");
    }
    text
}

/// Prints what was found of each side beside the others, as a Markdown table, with what
/// there is to know about it below.
#[must_use]
pub fn beside(results: &Results) -> String {
    let sides = results.sides();
    let line = |cells: &mut dyn Iterator<Item = String>| {
        cells.fold("|".to_owned(), |line, cell| format!("{line} {cell} |")) + "\n"
    };
    let headed = |head: &str, cell: &dyn Fn(Side) -> String| {
        let cells = sides.iter().map(|side| cell(*side));
        line(&mut std::iter::once(head.to_owned()).chain(cells))
    };
    let mut text = headed("", &|side| side.title().to_owned());
    text += &format!("|{}\n", "---|".repeat(sides.len() + 1));
    text += &headed("acknowledged means", &|side| side.acknowledged_means().to_owned());
    let reports = |side: Side| -> Vec<Report> {
        results.of(side, None).map(|run| run.report.clone()).collect()
    };
    let columns: Vec<Vec<Row>> = sides.iter().map(|side| rows(&reports(*side))).collect();
    for (index, Row { figure, unit, .. }) in rows(&[]).into_iter().enumerate() {
        let of = |column: &Vec<Row>| column.get(index).and_then(|row| row.measured);
        if columns.iter().all(|column| of(column).is_none()) {
            continue;
        }
        let cells = columns.iter().zip(&sides).map(|(column, side)| {
            if figure.starts_with("open loop")
                && let Some(taken) = saturated(&reports(*side))
            {
                return format!("saturated at {} /s", number(taken));
            }
            of(column).map_or_else(|| "–".to_owned(), number)
        });
        text += &line(&mut std::iter::once(format!("{figure}, {unit}")).chain(cells));
    }
    // Writing into a string cannot fail.
    let _ = writeln!(text, "\nMedians, by turns, on {}:\n", results.machine);
    for side in sides {
        let mut versions: Vec<&str> =
            results.of(side, None).map(|run| run.version.as_str()).collect();
        let rounds = results.of(side, None).filter(|run| narrow(&run.report).is_some()).count();
        versions.dedup();
        let times = if rounds == 1 { "round" } else { "rounds" };
        let _ = writeln!(text, "- {}: {}; {rounds} {times}", side.title(), versions.join(", "));
        let broken = results.of(side, None).filter(|run| !run.report.is_clean()).count();
        if broken > 0 {
            let _ = writeln!(
                text,
                "  **{broken} runs lost, doubled, swapped, refused or did not answer messages**"
            );
        }
    }
    text
}

/// Prints what was found of nodes beside JetStream by itself, with what is expected.
#[must_use]
pub fn cluster(found: &Cluster) -> String {
    let mut text = "| | nodes | JetStream by itself | | goal |\n|---|---|---|---|---|\n".to_owned();
    let mut line = |cells: [String; 5], holds: Option<bool>| {
        let [figure, nodes, own, beside, goal] = cells;
        let verdict = match holds {
            None => "",
            Some(true) => " (reached)",
            Some(false) => " (missed)",
        };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| {figure} | {nodes} | {own} | {beside}{verdict} | {goal} |");
    };
    let none = String::new;
    if let Some(between) = &found.one {
        let (nodes, own) = (between.nodes.to_success.p50_ms, between.own_p50_ms());
        let cells = [
            "1 pair, 1 in flight: ack p50".to_owned(),
            format!("{nodes:.2} ms"),
            format!("{own:.2} ms"),
            format!("{:+.2} ms", nodes - own),
            "≤ 1 ms more".to_owned(),
        ];
        line(cells, Some(nodes <= own + 1.0));
    }
    for between in [&found.narrow, &found.wide].into_iter().flatten() {
        let Between { before, nodes, after } = between;
        let (pairs, window) = (nodes.pairs, nodes.window.unwrap_or_default());
        let taken = nodes.acknowledged_per_s.min(nodes.delivered_per_s);
        let share = taken / between.own_per_s().max(1.0);
        let cells = [
            format!("{pairs} pairs, {window} in flight: acknowledged and delivered"),
            format!("{} /s", number(taken)),
            format!("{} /s", number(between.own_per_s())),
            format!("{:.0} %", share * 100.0),
            "≥ 60 %".to_owned(),
        ];
        line(cells, Some(share >= 0.6));
        let own = |read: fn(&crate::report::Own) -> f64| f64::midpoint(read(before), read(after));
        let of = |what: &str, nodes: Option<f64>, own: Option<f64>| {
            let micros = |value: Option<f64>| value.map_or_else(none, |v| number(v) + " µs");
            [format!("– {what}: CPU per message"), micros(nodes), micros(own), none(), none()]
        };
        line(of("NATS servers", nodes.store_cpu_us, Some(own(|own| own.store_cpu_us))), None);
        line(of("nodes", nodes.server_cpu_us, None), None);
        line(of("client", Some(nodes.client_cpu_us), Some(own(|own| own.client_cpu_us))), None);
        let (p50, p99) = (nodes.to_success.p50_ms, nodes.to_success.p99_ms);
        let (own_p50, own_p99) = (between.own_p50_ms(), own(|own| own.to_success.p99_ms));
        let cells = [
            "– ack p50, p99".to_owned(),
            format!("{p50:.1}, {p99:.1} ms"),
            format!("{own_p50:.1}, {own_p99:.1} ms"),
            none(),
            none(),
        ];
        line(cells, None);
    }
    if let Some(backlog) = &found.backlog {
        let cells = [
            format!("connect with {} unread: all there", backlog.messages),
            format!("{:.1} ms", backlog.all_ms),
            none(),
            none(),
            "< 20 ms".to_owned(),
        ];
        line(cells, Some(backlog.all_ms < 20.0));
    }
    for conversation in found.history.iter().flat_map(|history| &history.conversations) {
        let (newest, older) = (conversation.newest.p50_ms, conversation.older.p50_ms);
        let cells = [
            format!("page of 50 among {}: newest, older, p50", conversation.messages),
            format!("{newest:.2}, {older:.2} ms"),
            none(),
            none(),
            "< 5 ms".to_owned(),
        ];
        line(cells, Some(newest.max(older) < 5.0));
    }
    if let Some(crowd) = &found.crowd {
        let read = |read: fn(&Rush) -> f64| median(crowd.rounds.iter().map(read).collect());
        let (longest, all) = (read(|rush| rush.to_success.max_ms), read(|rush| rush.all_s));
        let cells = [
            format!("{} come at once: longest ack of one pair; all read", crowd.users),
            format!("{longest:.0} ms; {all:.1} s"),
            none(),
            none(),
            none(),
        ];
        line(cells, None);
    }
    if let Some((node, alone)) = found.idle_node.as_ref().zip(found.idle_alone.as_ref()) {
        let (node_kib, alone_kib) = (node.kib_per_connection, alone.kib_per_connection);
        let cells = [
            format!("memory per idle connection ({})", node.connections),
            format!("{node_kib:.1} KiB"),
            format!("{alone_kib:.1} KiB (one machine)"),
            format!("{:+.0} %", (node_kib / alone_kib - 1.0) * 100.0),
            "≤ 10 % more".to_owned(),
        ];
        line(cells, Some(node_kib <= alone_kib * 1.1));
    }
    text
}

/// What a side acknowledged a second, where that is less than was offered.
fn saturated(reports: &[Report]) -> Option<f64> {
    let open: Vec<&Traffic> = reports
        .iter()
        .filter_map(|report| match report {
            Report::Open(traffic) => Some(traffic),
            _ => None,
        })
        .collect();
    let over = open.iter().filter(|traffic| traffic.is_saturated()).count();
    (over * 2 > open.len())
        .then(|| median(open.iter().map(|traffic| traffic.acknowledged_per_s).collect()))
}

fn bound(bound: Bound) -> String {
    match bound {
        Bound::AtLeast(value) => format!("≥ {}", number(value)),
        Bound::AtMost(value) => format!("≤ {}", number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Backlog, Idle};

    #[test]
    fn nodes_are_told_what_they_miss_and_what_they_reach() {
        let idle = |kib_per_connection| {
            let (before_mib, after_mib) = (1.0, 2.0);
            Some(Idle { connections: 2000, before_mib, after_mib, kib_per_connection })
        };
        let backlog = Backlog {
            messages: 200,
            rounds: 1,
            upgrade_ms: 1.0,
            first_ms: 2.0,
            all_ms: 20.0,
            tally: crate::ledger::Tally::default(),
            troubles: std::collections::BTreeMap::new(),
        };
        let found = Cluster {
            idle_node: idle(16.0),
            idle_alone: idle(15.0),
            backlog: Some(backlog),
            ..Cluster::default()
        };
        let text = cluster(&found);
        assert!(text.contains("200 unread: all there | 20.0 ms |  |  (missed) | < 20 ms |"));
        assert!(text.contains("| 16.0 KiB | 15.0 KiB (one machine) | +7 % (reached) |"), "{text}");
    }

    #[test]
    fn a_row_shows_the_median_and_what_it_reaches() {
        let idle = |kib_per_connection| {
            Report::Idle(Idle {
                connections: 2000,
                before_mib: 1.0,
                after_mib: 2.0,
                kib_per_connection,
            })
        };
        let rows = rows(&[idle(99.0), idle(15.0), idle(20.0)]);
        let text = markdown(&rows);
        assert!(text.contains(
            "| memory per idle connection (2,000) | 20.0 KiB (first) | ≤ 24.0 KiB | ≤ 14.0 KiB |"
        ));
        assert!(text.contains("| CPU per new connection | – |"));
    }
}
