//! `imserver reload`: the running server reads its files again, and says what came of each.

use std::path::Path;

use http::Method;
use serde_json::Value;

use super::remote::Remote;
use super::{Failure, print};
use crate::config::Config;

pub(super) fn run(config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let server = Remote::required(config, token, "`imserver reload`")?;
    let answer = server.call(Method::POST, "/admin/reload", None)?;
    let all = answer.get("read").and_then(Value::as_array);
    let mut refused = Vec::new();
    for one in all.into_iter().flatten() {
        let text = |name: &str| one.get(name).and_then(Value::as_str);
        let (what, file) = (text("what").unwrap_or_default(), text("file").unwrap_or_default());
        if let Some(why) = text("refused") {
            refused.push(format!("\n  {what}: {why}"));
            continue;
        }
        print(format!("{what}: {file} is in force"))?;
        let waiting = one.get("waiting").and_then(Value::as_array);
        for setting in waiting.into_iter().flatten().filter_map(Value::as_str) {
            print(format!("  {setting} was changed: a restart is needed to use it"))?;
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("refused, so that what was in use stays:{}", refused.concat())))
}
