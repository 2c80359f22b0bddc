//! `publish`: the documentation's table and plots, from what was measured.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::Findings;
use crate::cli::{Curve, PublishArgs};
use crate::plot::{Chart, Series};
use crate::report::{Report, median};
use crate::results::{Results, Run};
use crate::side::Side;
use crate::table;

/// What stands around the table in the document.
const MARKS: [&str; 2] = ["<!-- beside: written by imserver-bench publish -->", "<!-- /beside -->"];

/// Prints the table; writes it and the plots where documents are.
pub(super) fn run(args: &PublishArgs) -> Result<Findings> {
    let results = Results::read(&args.from)?;
    ensure!(!results.runs.is_empty(), "{} holds nothing: run `beside`", args.from.display());
    let text = table::beside(&results);
    if let Some(docs) = &args.docs {
        let mut block = text.clone();
        for (name, curve) in
            [("load", Curve::Load), ("memory", Curve::Memory), ("store", Curve::Store)]
        {
            let chart = chart(&results, curve);
            if chart.series.is_empty() {
                continue;
            }
            let file = format!("beside-{name}.svg");
            let path = docs.join(&file);
            fs::write(&path, chart.svg())
                .with_context(|| format!("cannot write {}", path.display()))?;
            block += &format!("\n![{}]({file})\n", chart.title);
        }
        replace(&docs.join("performance.md"), &block)?;
        results.write(&docs.join("beside.json"))?;
    }
    Ok(Findings { text: Some(text), ..Findings::default() })
}

/// Puts the table between the marks of the document.
fn replace(document: &Path, table: &str) -> Result<()> {
    let place = document.display();
    let text = fs::read_to_string(document).with_context(|| format!("cannot read {place}"))?;
    let [begin, end] = MARKS;
    let (before, rest) =
        text.split_once(begin).with_context(|| format!("no {begin} in {place}"))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("no {end} in {place}"))?;
    fs::write(document, format!("{before}{begin}\n\n{table}\n{end}{after}"))
        .with_context(|| format!("cannot write {place}"))
}

fn chart(results: &Results, curve: Curve) -> Chart {
    let (title, x, y) = match curve {
        Curve::Load => (
            "Time to acknowledgement by offered load",
            "messages offered a second, 64 pairs, open loop",
            "p99, ms",
        ),
        Curve::Memory => ("Memory by connections", "idle connections over wss", "MiB"),
        Curve::Store => (
            "Cost of a message by what is stored",
            "messages stored already and in this step",
            "server CPU a message, µs",
        ),
    };
    let series = results.sides().into_iter().map(|side| series(results, side, curve));
    let series = series.filter(|series| !series.points.is_empty()).collect();
    Chart { title, x, y, series }
}

fn series(results: &Results, side: Side, curve: Curve) -> Series {
    let mut points: Vec<(f64, f64)> = results.of(side, Some(curve)).filter_map(point).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    // Of several runs at the same place the median, as in the table.
    let places = points.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq());
    let points = places
        .filter_map(|runs| Some((runs.first()?.0, median(runs.iter().map(|run| run.1).collect()))))
        .collect();
    Series { name: side.title().to_owned(), colour: side as usize, points }
}

/// A point of the plot; one beyond what a side can do says only when the run ended.
fn point(run: &Run) -> Option<(f64, f64)> {
    let whole = |count: u64| crate::report::ratio(count, 1);
    match &run.report {
        Report::Open(traffic) if !traffic.is_saturated() => {
            Some((whole(traffic.rate?), traffic.to_success.p99_ms))
        }
        Report::Idle(idle) => Some((whole(idle.connections), idle.after_mib)),
        Report::Fill(fill) => {
            Some((whole(run.stored + fill.tally.acknowledged), fill.server_cpu_us?))
        }
        _ => None,
    }
}
