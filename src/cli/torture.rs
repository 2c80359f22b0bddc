//! `imserver torture`: what the promise is worth on this machine and this disk.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigFile, Failure, print};
use crate::config::Backend;
use crate::torture::{Kill, Place, Report, Torture, TortureError};

/// Where it happens where nobody says.
const FOLDER: &str = "imserver-torture";

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
  imserver torture --dir /srv/imserver/torture  on the disk that the data will lie on
  imserver torture --config config.toml         there too, with as much cache as that says")]
pub(super) struct Args {
    /// How often the server is killed
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rounds: u64,
    /// Where it happens: a new or empty folder, removed in the end unless something was lost
    /// [default: imserver-torture, with --config beside its store.path]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
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
    let under = Under::find(args, file)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    is_free(&under.dir)?;
    let program = std::env::current_exe().map_err(Failure::failed)?;
    let mut place = Place::make(&program, &under.dir).map_err(Failure::failed)?;
    if let Some(bytes) = under.cache_bytes {
        place = place.env("IMSERVER_STORE__CACHE_BYTES", &bytes.to_string());
    }
    let mut torture = Torture::new(place, seed);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads can be started: {error}")))?;
    let outcome = runtime.block_on(async {
        let told = told_to_stop();
        tokio::select! {
            outcome = rounds(args, &mut torture) => outcome.map_err(|error| error.to_string()),
            () = told => Err("it was told to stop".to_owned()),
        }
    });
    let report = torture.report();
    let dir = under.dir.display();
    print(format!("directory               {dir}"))?;
    print(format!("seed                    {seed}"))?;
    print(report)?;
    if let Err(error) = outcome {
        return Err(Failure::failed(format!("{error}\nthe folder {dir} is left as it is")));
    }
    if !report.is_clean() {
        return Err(Failure::failed(format!(
            "a promise was broken; please report it with what stands above. The folder {dir} is \
             left as it is"
        )));
    }
    std::fs::remove_dir_all(&under.dir)
        .map_err(|error| Failure::failed(format!("{dir} cannot be removed: {error}")))
}

/// Under what conditions it happens.
struct Under {
    dir: PathBuf,
    cache_bytes: Option<u64>,
}

impl Under {
    /// As `file` has them where it is named: on the disk of its data, and with its cache. Its
    /// listeners, keys and messages are somebody's, and left alone.
    fn find(args: &Args, file: &ConfigFile) -> Result<Self, Failure> {
        let dir = args.dir.clone();
        if file.named.is_none() {
            let dir = dir.unwrap_or_else(|| FOLDER.into());
            return Ok(Self { dir, cache_bytes: None });
        }
        let store = file.load()?.store;
        if store.backend != Backend::Sled {
            return Err(Failure::usage(
                "store.backend is \"jetstream\", and `imserver torture` tries the folder of one \
                 machine: leave --config out, or see docs/cluster.md for what tries a cluster",
            ));
        }
        let dir = dir.unwrap_or_else(|| store.path.with_file_name(FOLDER));
        Ok(Self { dir, cache_bytes: Some(store.cache_bytes) })
    }
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

/// Ends where this process is told to. The server under test is one of its own, which would live
/// on: to that a terminal that goes is a reason to read its files again.
fn told_to_stop() -> impl Future<Output = ()> {
    let heard = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    // Heard from now on, not from when it is waited for.
    let heard = heard.map(signal);
    async move {
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = heard else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Nothing of anybody's is written over or removed.
fn is_free(folder: &Path) -> Result<(), Failure> {
    let dir = folder.display();
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::failed(format!("{dir} cannot be read: {error}"))),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::usage(format!(
                "{dir} is not empty; name a folder that does not exist yet with --dir"
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
