//! `beside` and `curves`: the server, the floor and other products by turns.

use std::path::PathBuf;

use anyhow::{Error, Result, ensure};
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
const RATES: [u64; 6] = [1000, 2000, 5000, 10_000, 20_000, 40_000];
/// Connections that are held.
const CONNECTIONS: [u64; 4] = [500, 1000, 2000, 4000];
/// Messages stored at the end of each step.
const STORED: [u64; 5] = [25_000, 50_000, 100_000, 200_000, 500_000];
/// A step that took longer than this is the last of a side.
const LONGEST_STEP_S: f64 = 10.0;

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
                match one(&measurement, &side.server(server)).await {
                    Ok(report) => journal.add(side, version, None, 0, report)?,
                    Err(failure) => journal.fail(side, &failure),
                }
            }
        }
    }
    let text = table::beside(&journal.results);
    Ok(journal.findings(text))
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
            let measured = match curve {
                Curve::Load => offer(&mut journal, side, version, &server).await,
                Curve::Memory => hold(&mut journal, side, version, &server).await,
                Curve::Store if side.keeps() => grow(&mut journal, side, version, &server).await,
                Curve::Store => Ok(()),
            };
            if let Err(failure) = measured {
                journal.fail(side, &failure);
            }
        }
    }
    Ok(journal.findings(String::new()))
}

/// Offers more and more a second, until a side does not keep up.
async fn offer(
    journal: &mut Journal,
    side: Side,
    version: String,
    server: &ServerArgs,
) -> Result<()> {
    for rate in RATES {
        let rate = format!("--rate={rate}");
        let report = one(&parse(&["open", &rate, "--seconds=3", "--warmup=1"])?, server).await?;
        let saturated = matches!(&report, Report::Open(traffic) if traffic.is_saturated());
        journal.add(side, version.clone(), Some(Curve::Load), 0, report)?;
        if saturated {
            break;
        }
    }
    Ok(())
}

/// Holds more and more connections, a fresh server each time.
async fn hold(
    journal: &mut Journal,
    side: Side,
    version: String,
    server: &ServerArgs,
) -> Result<()> {
    for count in CONNECTIONS {
        let count = format!("--connections={count}");
        let report = one(&parse(&["idle", &count])?, server).await?;
        journal.add(side, version.clone(), Some(Curve::Memory), 0, report)?;
    }
    Ok(())
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

/// The file of results, written after every measurement.
struct Journal {
    sides: Vec<(Side, String)>,
    results: Results,
    reports: Vec<Report>,
    failed: Vec<String>,
    path: PathBuf,
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
        Ok(Self {
            sides,
            results,
            reports: Vec::new(),
            failed: Vec::new(),
            path: args.into.clone(),
        })
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

    /// Takes note of what could not be measured; the others go on.
    fn fail(&mut self, side: Side, failure: &Error) {
        let what = format!("FAILED: {}: {failure:#}", side.title());
        say(&what);
        self.failed.push(what);
    }

    fn findings(self, text: String) -> Findings {
        let Self { reports, failed, .. } = self;
        Findings { text: Some(text), reports, failed, rows: Vec::new() }
    }
}

#[expect(clippy::print_stderr, reason = "progress of a run that takes half an hour")]
fn say(what: &str) {
    eprintln!("{what}");
}
