//! `imserver health`: for those who restart or leave out a server that is not well, such as
//! a container's health check.

use super::{Failure, print, remote};
use crate::config::Config;

/// Succeeds where the running server takes connections and stores messages.
pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let (status, text) = remote::probe(config, "/readyz")?;
    if status.is_success() { print(text) } else { Err(Failure::failed(text)) }
}
