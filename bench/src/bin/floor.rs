//! The floor: a relay that shows how fast this machine could be at all.

use anyhow::Result;
use clap::Parser as _;
use imserver_bench::floor::{self, Args};

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(floor::serve(Args::parse()))
}
