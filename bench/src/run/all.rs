//! `all`: the whole table.

use anyhow::Result;
use clap::{Parser as _, ValueEnum as _};

use super::{Findings, one};
use crate::cli::{AllArgs, Cli, Measurement, Part, ServerArgs};
use crate::report::Report;
use crate::table;

/// Measures everything, a fresh server each time, and shows the medians.
pub(super) async fn run(args: &AllArgs, server: &ServerArgs) -> Result<Findings> {
    let mut reports = Vec::new();
    for _ in 0..args.rounds {
        for part in Part::value_variants() {
            let measurement = measurement(*part, args.seconds, args.warmup)?;
            let report = one(&measurement, server).await?;
            show(&report);
            reports.push(report);
        }
    }
    let rows = table::rows(&reports);
    Ok(Findings { reports, rows, ..Findings::default() })
}

/// Shows a report as soon as it is there, beside the table and not in it.
#[expect(clippy::print_stderr, reason = "progress of a run that takes minutes")]
fn show(report: &Report) {
    eprintln!("{report}");
}

/// A part of the table, as the command line would ask for it.
pub(super) fn measurement(part: Part, seconds: u64, warmup: u64) -> Result<Measurement> {
    let (seconds, warmup) = (format!("--seconds={seconds}"), format!("--warmup={warmup}"));
    parse(&match part {
        Part::Narrow => vec!["pairs", "--window=1", &seconds, &warmup],
        Part::Wide => vec!["pairs", "--window=16", &seconds, &warmup],
        Part::Open => vec!["open", "--rate=5000", &seconds, &warmup],
        Part::Backlog => vec!["backlog", "--rounds=3"],
        Part::Idle => vec!["idle"],
        Part::Connect => vec!["connect"],
    })
}

/// What a line on the command line asks for.
pub(super) fn parse(line: &[&str]) -> Result<Measurement> {
    let line = std::iter::once("imserver-bench").chain(line.iter().copied());
    Ok(Cli::try_parse_from(line)?.measurement)
}
