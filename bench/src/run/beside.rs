//! `beside` and `curves`: the server, the floor and other products by turns.

use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use clap::ValueEnum as _;

use super::all::{measurement, parse};
use super::{Findings, fill, one};
use crate::cli::{BesideArgs, Curve, CurvesArgs, Measurement, Part, ServerArgs, SidesArgs};
use crate::report::Report;
use crate::results::{Results, Run, machine};
use crate::side::Side;
use crate::table;
use crate::target::Target;

/// Messages a second that are offered, as long as a side keeps up.
const RATES: [u64; 8] = [1000, 2000, 5000, 10_000, 20_000, 30_000, 40_000, 60_000];
/// Connections that are held.
const CONNECTIONS: [u64; 4] = [500, 1000, 2000, 4000];
/// Messages stored at the end of each step.
const STORED: [u64; 6] = [25_000, 50_000, 100_000, 200_000, 500_000, 1_000_000];
/// A step that took longer than this is the last of a side.
const LONGEST_STEP_S: f64 = 25.0;

/// Gives everybody a turn at every measurement, round after round.
pub(super) async fn table(args: &BesideArgs, server: &ServerArgs) -> Result<Findings> {
    let mut journal = Journal::open(&args.sides, None, server)?;
    let parts = match &args.part[..] {
        [] => Part::value_variants().to_vec(),
        parts => parts.to_vec(),
    };
    for round in 1..=args.rounds {
        for part in &parts {
            for (side, version) in journal.sides.clone() {
                say(&format!("round {round} of {}, {}:", args.rounds, side.title()));
                let measurement = measurement(*part, args.seconds, args.warmup)?;
                let report = one(&measurement, &side.server(server)).await?;
                journal.add(side, version, None, 0, report)?;
            }
        }
    }
    let text = table::beside(&journal.results);
    Ok(Findings { text: Some(text), reports: journal.reports, rows: Vec::new() })
}

/// Measures the points of the plots.
pub(super) async fn curves(args: &CurvesArgs, server: &ServerArgs) -> Result<Findings> {
    let curves = match &args.curve[..] {
        [] => Curve::value_variants(),
        curves => curves,
    };
    let mut journal = Journal::open(&args.sides, Some(curves), server)?;
    for curve in curves {
        for (side, version) in journal.sides.clone() {
            say(&format!("{}:", side.title()));
            let server = side.server(server);
            match curve {
                Curve::Load => {
                    for rate in RATES {
                        let rate_arg = format!("--rate={rate}");
                        let line = ["open", &rate_arg, "--seconds=4", "--warmup=2"];
                        let report = one(&parse(&line)?, &server).await?;
                        let kept_up = keeps_up(&report);
                        journal.add(side, version.clone(), Some(*curve), 0, report)?;
                        if kept_up.is_break() {
                            break;
                        }
                    }
                }
                Curve::Memory => {
                    for count in CONNECTIONS {
                        let count = format!("--connections={count}");
                        let report = one(&parse(&["idle", &count])?, &server).await?;
                        journal.add(side, version.clone(), Some(*curve), 0, report)?;
                    }
                }
                Curve::Store if side.keeps() => grow(&mut journal, side, version, &server).await?,
                Curve::Store => {}
            }
        }
    }
    Ok(Findings { text: Some(String::new()), reports: journal.reports, rows: Vec::new() })
}

/// Fills one server step by step.
async fn grow(
    journal: &mut Journal,
    side: Side,
    version: String,
    server: &ServerArgs,
) -> Result<()> {
    let target = Target::start(server).await?;
    let mut stored = 0;
    for goal in STORED {
        let line = format!("--messages={}", goal - stored);
        let Measurement::Fill(args) = parse(&["fill", &line])? else {
            break;
        };
        let report = fill::run(&target, &args).await?;
        let Report::Fill(found) = &report else {
            break;
        };
        let (added, seconds) = (found.tally.acknowledged, found.seconds);
        journal.add(side, version.clone(), Some(Curve::Store), stored, report)?;
        stored += added;
        if seconds > LONGEST_STEP_S {
            break;
        }
    }
    target.stop().await
}

/// Whether a side acknowledged what it was offered.
fn keeps_up(report: &Report) -> ControlFlow<()> {
    match report {
        Report::Open(traffic) if traffic.is_saturated() => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

/// The file of results, written after every measurement.
struct Journal {
    sides: Vec<(Side, String)>,
    results: Results,
    reports: Vec<Report>,
    path: std::path::PathBuf,
}

impl Journal {
    /// Reads the file and looks who is there.
    fn open(args: &SidesArgs, curves: Option<&[Curve]>, server: &ServerArgs) -> Result<Self> {
        let asked = match &args.side[..] {
            [] => Side::value_variants(),
            sides => sides,
        };
        let mut sides = Vec::new();
        for side in asked {
            match side.version(server) {
                Ok(version) => {
                    say(&format!("{}: {version}", side.title()));
                    sides.push((*side, version));
                }
                // Whoever was named has to be there.
                Err(missing) if !args.side.is_empty() => return Err(missing),
                Err(missing) => say(&format!("NOT MEASURED: {}. {missing:#}", side.title())),
            }
        }
        ensure!(!sides.is_empty(), "nobody is there to be measured");
        let mut results = Results::read(&args.into)?;
        results.machine = machine();
        if args.afresh {
            results.runs.retain(|run| {
                let kind = match (run.curve, curves) {
                    (None, None) => true,
                    (Some(curve), Some(curves)) => curves.contains(&curve),
                    _ => false,
                };
                !(kind && asked.contains(&run.side))
            });
        }
        Ok(Self { sides, results, reports: Vec::new(), path: args.into.clone() })
    }

    fn add(
        &mut self,
        side: Side,
        version: String,
        curve: Option<Curve>,
        stored: u64,
        report: Report,
    ) -> Result<()> {
        say(&report.to_string());
        self.reports.push(report.clone());
        self.results.runs.push(Run { side, version, curve, stored, report });
        self.results.write(&self.path)
    }
}

#[expect(clippy::print_stderr, reason = "progress of a run that takes half an hour")]
fn say(what: &str) {
    eprintln!("{what}");
}
