//! `imserver compact`: the database without the room that nobody needs any more.

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{Failure, count, print};
use crate::admin::{Act, Audit, Who};
use crate::config::Config;
use crate::store;
use crate::store::sled::Compacted;

const BAR: &str = "{bar:40} {human_pos}/{human_len} rows, {elapsed}";

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let instead = "the NATS servers make room by themselves";
    super::offline::folder_alone(config, "compact", instead)?;
    let dir = &config.store.path;
    store::sled::must_exist(dir)?;
    let act = Act::new("store.compact");
    let audit = Audit::open(dir)?;
    audit.append(&Who::shell(), &act)?;
    let outcome = compact(config);
    if let Err(failure) = &outcome {
        audit.append(&Who::shell(), &act.failed(&failure.to_string()))?;
    }
    outcome
}

fn compact(config: &Config) -> Result<(), Failure> {
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Not shown where standard error is no terminal.
    let bar = ProgressBar::no_length().with_style(style);
    let compacted = store::sled::compact(&config.store, |progress| {
        bar.set_length(progress.of);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let Compacted { before, after, messages } = compacted?;
    print(format!(
        "{}: {} before, {} now, {}, all counted",
        config.store.path.display(),
        HumanBytes(before),
        HumanBytes(after),
        count(messages, "message")
    ))
}
