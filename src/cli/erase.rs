//! `imserver erase`: a user and every message to and from them.

use std::path::Path;
use std::time::SystemTime;

use http::Method;
use serde_json::Value;

use super::offline::Offline;
use super::remote::Remote;
use super::{Failure, count, print, token};
use crate::admin::{Audit, Who, erase, revoke};
use crate::config::Config;
use crate::ids::UserId;
use crate::store::Store;

/// What `erase` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every message to and from the user goes, whoever has read it, with the read flags and what is
known of the user; nothing of it is left in anybody's history. The user's tokens issued up to
now are revoked first, which ends their connections.

Works on a running server, or on the files of one that is stopped.")]
pub(super) struct Args {
    /// The user
    #[arg(long, value_name = "ID", value_parser = token::user)]
    sub: UserId,
    /// Yes, for good: there is no way back but a backup
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let user = args.sub;
    if !args.yes {
        return Err(Failure::usage(format!(
            "this erases user {user} and every message to and from them, for good; say --yes if \
             that is what you want"
        )));
    }
    let messages = match Remote::connect(config, token)? {
        Some(server) => {
            let answer = server.call(Method::DELETE, &format!("/admin/users/{user}"), None)?;
            answer.get("messages").and_then(Value::as_u64).unwrap_or_default()
        }
        None => offline(config, user)?,
    };
    print(format!("user {user} is erased, with {}", count(messages, "message")))
}

/// Erases in the files of a server that is stopped.
fn offline(config: &Config, user: UserId) -> Result<u64, Failure> {
    let (offline, audit) = (Offline::open(config)?, Audit::of(&config.store)?);
    let (revocation, act) =
        (revoke::of_user(user, &config.auth, SystemTime::now()), erase::act(user));
    audit.append(&Who::shell(), &revoke::act(&revocation))?;
    audit.append(&Who::shell(), &act)?;
    offline.run(|store| async move {
        let erasing = async {
            store.revoke(revocation).await?;
            store.erase(user).await
        };
        match erasing.await {
            Ok(erased) => Ok(erased.messages),
            Err(cause) => {
                audit.append(&Who::shell(), &act.failed(&cause.to_string()))?;
                Err(Failure::failed(format!(
                    "user {user} is not wholly erased: {cause}. What has begun goes on at the \
                     next start"
                )))
            }
        }
    })
}
