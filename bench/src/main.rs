//! The load generator's command line.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is its purpose")]

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser as _;
use imserver_bench::cli::Cli;
use imserver_bench::report::Report;
use imserver_bench::{run, table};
use serde_json::json;
use tokio::task::LocalSet;

/// Exit codes: 0 measured; 1 could not measure; 3 measured, and the server
/// broke a promise, or one of several could not be measured. (2 is wrong usage.)
fn main() -> ExitCode {
    match measure(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("imserver-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, prints, and says whether every promise was kept.
fn measure(cli: &Cli) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = LocalSet::new().block_on(&runtime, run::run(&cli.measurement, &cli.server))?;

    if let Some(text) = &findings.text {
        print!("{text}");
    } else if findings.rows.is_empty() {
        findings.reports.iter().for_each(|report| print!("{report}"));
    } else {
        print!("{}", table::markdown(&findings.rows));
    }
    if let Some(path) = &cli.json {
        let json = json!({"reports": findings.reports, "table": findings.rows});
        std::fs::write(path, format!("{json:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    findings.failed.iter().for_each(|failure| eprintln!("{failure}"));
    Ok(findings.failed.is_empty() && findings.reports.iter().all(Report::is_clean))
}
