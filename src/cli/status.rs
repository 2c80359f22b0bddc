//! `imserver status`: how the running server is.

use std::path::Path;

use http::Method;

use super::remote::Remote;
use super::{Failure, print};
use crate::config::Config;

pub(super) fn run(config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let server = Remote::required(config, token, "`imserver status`")?;
    print(format!("{:#}", server.call(Method::GET, "/admin/status", None)?))
}
