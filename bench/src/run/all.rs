//! `all`: the whole table.

use anyhow::Result;
use clap::Parser as _;

use super::{Findings, one};
use crate::cli::{AllArgs, Cli, Measurement, ServerArgs};
use crate::report::Report;
use crate::table;

/// Measures everything, a fresh server each time, and shows the medians.
pub(super) async fn run(args: &AllArgs, server: &ServerArgs) -> Result<Findings> {
    let mut reports = Vec::new();
    for _ in 0..args.rounds {
        for measurement in measurements(args)? {
            let report = one(&measurement, server).await?;
            show(&report);
            reports.push(report);
        }
    }
    let rows = table::rows(&reports);
    Ok(Findings { reports, rows })
}

/// Shows a report as soon as it is there, beside the table and not in it.
#[expect(clippy::print_stderr, reason = "progress of a run that takes minutes")]
fn show(report: &Report) {
    eprintln!("{report}");
}

/// The measurements, as the command line would ask for them.
fn measurements(args: &AllArgs) -> Result<Vec<Measurement>> {
    let seconds = format!("--seconds={}", args.seconds);
    let warmup = format!("--warmup={}", args.warmup);
    let lines: [&[&str]; 6] = [
        &["pairs", "--window=1", &seconds, &warmup],
        &["pairs", "--window=16", &seconds, &warmup],
        &["open", "--rate=5000", &seconds, &warmup],
        &["backlog"],
        &["idle"],
        &["connect"],
    ];
    let parse = |line: &[&str]| {
        let line = std::iter::once("imserver-bench").chain(line.iter().copied());
        Ok(Cli::try_parse_from(line)?.measurement)
    };
    lines.into_iter().map(parse).collect()
}
