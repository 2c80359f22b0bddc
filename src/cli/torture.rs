//! `imserver torture`: what the promise is worth on this machine and this disk.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigFile, Failure, print};
use crate::torture::{Kill, Place, Report, Torture, TortureError};

/// What `torture` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts this very program as a server of its own, on free ports of this machine and with a
new data directory, sends messages as fast as it can, kills the server (kill -9) at moments
by chance, starts it again on the same data, and reads everything: what was acknowledged
must be there, once and in order, and what was marked as read must stay so.

The report goes to standard output. Exit code 1 when anything was lost.

Examples:
  imserver torture                              200 rounds, some minutes
  imserver torture --rounds 20
  imserver torture --dir /srv/imserver/torture  on the disk that the data will lie on")]
pub(super) struct Args {
    /// How often the server is killed
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rounds: u64,
    /// Where it happens: a new or empty folder, removed in the end unless something was lost
    #[arg(long, value_name = "FOLDER", default_value = "imserver-torture")]
    dir: PathBuf,
    /// How long a round loads the server at the most; it is killed at a moment within
    #[arg(long, value_name = "SECONDS", default_value_t = 0.4, value_parser = seconds)]
    seconds_per_round: f64,
    /// The same number gives the same moments again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.01 to 3600".to_owned()),
    }
}

pub(super) fn run(args: &Args, file: &ConfigFile) -> Result<(), Failure> {
    if file.named.is_some() {
        return Err(Failure::usage(
            "`imserver torture` makes a configuration of its own and takes no --config; choose \
             its folder with --dir",
        ));
    }
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    is_free(args)?;
    let program = std::env::current_exe().map_err(Failure::failed)?;
    let place = Place::make(&program, &args.dir).map_err(Failure::failed)?;
    let mut torture = Torture::new(place, seed);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads can be started: {error}")))?;
    let outcome = runtime.block_on(rounds(args, &mut torture));
    let report = torture.report();
    print(format!("directory               {}", args.dir.display()))?;
    print(format!("seed                    {seed}"))?;
    print(report)?;
    let dir = args.dir.display();
    if let Err(error) = outcome {
        return Err(Failure::failed(format!("{error}\nthe folder {dir} is left as it is")));
    }
    if !report.is_clean() {
        return Err(Failure::failed(format!(
            "a promise was broken; please report it with what stands above. The folder {dir} is \
             left as it is"
        )));
    }
    std::fs::remove_dir_all(&args.dir)
        .map_err(|error| Failure::failed(format!("{dir} cannot be removed: {error}")))
}

async fn rounds(args: &Args, torture: &mut Torture) -> Result<(), TortureError> {
    let load = Duration::from_secs_f64(args.seconds_per_round);
    for round in 0..args.rounds {
        bar(round, args.rounds, torture.report());
        torture.round(load, &mut Kill).await?;
    }
    bar(args.rounds, args.rounds, torture.report());
    torture.finish().await
}

/// Nothing of anybody's is written over or removed.
fn is_free(args: &Args) -> Result<(), Failure> {
    let dir = args.dir.display();
    match std::fs::read_dir(&args.dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::failed(format!("{dir} cannot be read: {error}"))),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::usage(format!(
                "--dir {dir} is not empty; name a folder that does not exist yet"
            ))),
        },
    }
}

/// How far it has come: a bar on a terminal, elsewhere a line now and then.
fn bar(done: u64, of: u64, report: &Report) {
    const WIDTH: u64 = 30;
    let Report { acknowledged, lost, twice, disorder, unmarked, .. } = report;
    let wrong = lost + twice + disorder + unmarked;
    let counts = format!("{done}/{of} rounds, {acknowledged} acknowledged, {wrong} wrong");
    let mut err = io::stderr().lock();
    // Nobody to see it is no reason to stop.
    let _ = if err.is_terminal() {
        let full = (done * WIDTH).checked_div(of).unwrap_or(WIDTH);
        let bar = format!("{}{}", "#".repeat(full as usize), ".".repeat((WIDTH - full) as usize));
        write!(err, "\r[{bar}] {counts}{}", if done == of { "\n" } else { "" })
    } else if done.is_multiple_of(of.div_ceil(10)) {
        writeln!(err, "{counts}")
    } else {
        Ok(())
    };
    let _ = err.flush();
}
