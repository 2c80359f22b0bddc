//! `imserver migrate`: from the folder of one machine into the streams of several.

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use tokio::runtime::Builder;

use super::backup::note;
use super::{Failure, count, print};
use crate::admin::{Act, audit};
use crate::config::{Backend, Config};
use crate::store::jetstream::migrate::{self, Comparison, MigrateError, Step};
use crate::store::sled::{Departure, OpenError};

/// Pairs that differ and are named; of the others their number.
const NAMED: usize = 20;

/// Where nobody watches a bar, a line comes this often, and at every twentieth of the way
/// but for those that follow one another at once.
const LINE_EVERY: Duration = Duration::from_secs(30);
const PARTS: u64 = 20;
const LINE_APART: Duration = Duration::from_millis(250);

/// What `migrate` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With `store.backend = \"jetstream\"` in the configuration, and the server stopped. The folder is
only read; keep it until the nodes have served for a while. The streams are made, and no node
serves them before this has read both sides and every pair agrees, and the audit log, too.
Cut short, it goes on where it was when it is run again. docs/cluster.md has the whole way,
and the way back.

Examples:
  imserver migrate                      from store.path
  imserver migrate --from /mnt/old      from a copy of it
  imserver migrate --verify             compare once more, and change nothing")]
pub(super) struct Args {
    /// The data directory to read [default: store.path]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Only compare the folder with the streams, pair by pair
    #[arg(long)]
    verify: bool,
    /// Remove the streams of a move that has not come to its end; the folder is not touched
    #[arg(long, conflicts_with_all = ["verify", "from"])]
    abandon: bool,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    if config.store.backend != Backend::JetStream {
        return Err(Failure::usage(
            "store.backend is not \"jetstream\": write backend = \"jetstream\" below [store], and \
             the servers below [store.jetstream], to say where the messages are to go",
        ));
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads can be started: {error}")))?;
    if args.abandon {
        // There is nowhere to write it down: the audit log of the nodes goes too.
        let removed = runtime.block_on(migrate::abandon(&config.store)).map_err(failure)?;
        return print(format!("{removed} streams removed; the move is given up"));
    }
    let dir = args.from.as_ref().unwrap_or(&config.store.path);
    let shown = Shown::default();
    let watch = |step: Step<'_>| shown.show(step);
    // Before the folder is copied and counted, which may take long.
    runtime.block_on(migrate::look(&config.store, args.verify)).map_err(failure)?;
    shown.say(&format!("counting {}", dir.display()));
    let from = Departure::open(dir, super::offline::CACHE_BYTES).map_err(refused)?;
    let acts = || audit::departing(dir).map_err(|error| error.to_string());
    let found = match args.verify {
        true => runtime.block_on(migrate::compare(&config.store, from, &acts, &watch)),
        false => runtime.block_on(migrate::migrate(&config.store, from, &acts, &watch)),
    };
    shown.end();
    let found = found.map_err(failure)?;
    if !args.verify {
        // The line with which the log goes on that the nodes share from now on.
        note(config, &Act::new("store.migrate").with("messages", found.messages))?;
        let prefix = &config.store.jetstream.prefix;
        print(format!("{}: moved into the streams {prefix}-…, nodes may start", dir.display()))?;
    }
    let Comparison { messages, pairs, acts, digest, .. } = found;
    print(format!("both sides were read: all {pairs} pairs agree, in messages and read flags"))?;
    print(format!("and so do {acts} lines of the audit log"))?;
    print(format!("{}; digest {digest}", count(messages, "message")))
}

fn refused(error: OpenError) -> Failure {
    match error {
        OpenError::NoStore { path } => Failure::usage(format!(
            "there is no store in {}: name the data directory of the server that is to move with \
             --from, or in store.path",
            path.display()
        )),
        other => other.into(),
    }
}

fn failure(error: MigrateError) -> Failure {
    match error {
        MigrateError::Open(error) => error.into(),
        MigrateError::Occupied(_) => Failure::usage(error),
        MigrateError::Stalled { .. } => {
            Failure::failed(format!("{error}. Run it again: it goes on where it was"))
        }
        MigrateError::Differs(found) => Failure::failed(differences(&found)),
        other => Failure::failed(other),
    }
}

/// What does not agree, pair by pair.
fn differences(found: &Comparison) -> String {
    let count = found.differences.len();
    let mut text = format!("the folder and the streams differ in {count} places:");
    for difference in found.differences.iter().take(NAMED) {
        text.push_str("\n  ");
        text.push_str(difference);
    }
    if count > NAMED {
        text.push_str(&format!("\n  and {} more", count - NAMED));
    }
    text.push_str(
        "\nNodes that have served since change what is read and gone. Where none has, give the \
         move up (`imserver migrate --abandon`) and begin again",
    );
    text
}

/// Shows how far it has come: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug, Default)]
struct Shown(Mutex<Stage>);

#[derive(Debug)]
struct Stage {
    name: &'static str,
    bar: ProgressBar,
    /// When it began, and how much was done then by an earlier run.
    began: Instant,
    before: u64,
    /// When the last line came, and at which part of the way.
    told: Instant,
    part: u64,
    waiting: bool,
}

impl Default for Stage {
    fn default() -> Self {
        let now = Instant::now();
        let bar = ProgressBar::no_length();
        Self { name: "", bar, began: now, before: 0, told: now, part: 0, waiting: false }
    }
}

impl Shown {
    fn show(&self, step: Step<'_>) {
        let mut stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match step {
            Step::Reading { done, all } => stage.at("reading", "messages", done, all),
            Step::Moving { done, all } => stage.at("moving", "messages", done, all),
            Step::Marking { done, all } => stage.at("marking", "pairs", done, all),
            Step::Comparing { done, all } => stage.at("comparing", "messages", done, all),
            Step::Waiting { stream, waited } => stage.waiting(stream, waited),
        }
    }

    /// Says something, where there is no bar to show it.
    fn say(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).say(text);
    }

    fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bar.finish_and_clear();
    }
}

impl Stage {
    fn at(&mut self, name: &'static str, what: &str, done: u64, all: u64) {
        let now = Instant::now();
        if self.name != name {
            self.bar.finish_and_clear();
            let bar = ProgressBar::new(all).with_message(name).with_position(done);
            let style = format!(
                "{{msg}} {{wide_bar}} {{human_pos}} of {{human_len}} {what}, {{rate}} a second, {{eta}} left"
            );
            if let Ok(style) = ProgressStyle::with_template(&style) {
                let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                    // Nothing but a bar hangs on it.
                    let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
                };
                bar.set_style(style.with_key("rate", rate));
            }
            *self = Self { name, bar, began: now, before: done, ..Self::default() };
        }
        if std::mem::take(&mut self.waiting) {
            self.bar.set_message(name);
        }
        self.bar.set_length(all.max(done));
        self.bar.set_position(done);
        let part = done.saturating_mul(PARTS).checked_div(all).unwrap_or(PARTS);
        let since = now - self.told;
        let is_due = since >= LINE_EVERY || part > self.part && since >= LINE_APART;
        if !is_due && done < all && self.part > 0 {
            return;
        }
        (self.part, self.told) = (part.max(1), now);
        let passed = (now - self.began).as_secs_f64();
        let rate = (done - self.before.min(done)) as f64 / passed.max(f64::MIN_POSITIVE);
        // What is over at once, or has only begun, has no speed.
        let speed = match passed >= LINE_APART.as_secs_f64() && rate >= 1.0 {
            true => format!(", {} a second", HumanCount(rate as u64)),
            false => String::new(),
        };
        let left = match all.saturating_sub(done) {
            left if left > 0 && !speed.is_empty() => {
                format!(", {} left", HumanDuration(Duration::from_secs_f64(left as f64 / rate)))
            }
            _ => String::new(),
        };
        self.say(&format!(
            "{name}: {} of {} {what}{speed}{left}",
            HumanCount(done),
            HumanCount(all)
        ));
    }

    fn waiting(&mut self, stream: &str, waited: Duration) {
        let waits = format!("{}: the stream {stream} takes nothing, trying again", self.name);
        self.bar.set_message(format!("waiting for {} s", waited.as_secs()));
        if !std::mem::replace(&mut self.waiting, true) {
            self.say(&waits);
        }
    }

    fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            // Nobody to tell is no reason to stop.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}
