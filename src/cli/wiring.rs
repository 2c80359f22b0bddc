//! What the room of tokens does for the command line, as failures for people.

use std::path::Path;
use std::time::SystemTime;

use super::{Failure, count};
use crate::admin::{Audit, Who, ledger};
use crate::auth::{self, Alg, Issued, Key, KeySet, Request};
use crate::config::{Auth, Config};

/// Makes a key set with one EdDSA key.
pub(super) fn make_key_set(path: &Path) -> Result<(), Failure> {
    let key = auth::generate(Alg::EdDsa).map_err(Failure::failed)?;
    Ok(KeySet::edit(path, |keys| keys.add(key))?)
}

/// Reads the key set and says what is in it.
pub(super) fn describe_key_set(auth: &Auth) -> Result<String, Failure> {
    let keys = KeySet::configured(auth)?.list();
    let signing = keys.iter().find(|key| key.signs).map_or_else(
        || "none signs, so tokens are issued elsewhere".to_owned(),
        |key| match &key.kid {
            Some(kid) => format!("{kid} ({}) signs", key.alg),
            None => format!("one without a kid ({}) signs", key.alg),
        },
    );
    // Whether they can be had shows when the server asks.
    let more = match &auth.jwks_url {
        Some(url) => format!("; beside them those of {url}, which was not asked"),
        None => String::new(),
    };
    Ok(format!("{}; {signing}{more}", count(keys.len() as u64, "key")))
}

/// Issues a token, which is in the ledger before it is anywhere else: one that nobody
/// knows of cannot be revoked.
pub(super) fn issue(config: &Config, keys: &KeySet, request: &Request) -> anyhow::Result<Issued> {
    let now = SystemTime::now();
    let issued = auth::issue(keys, &config.auth, request, now)?;
    let key = keys.signing_key().and_then(Key::kid);
    let audit = Audit::of(&config.store)?;
    audit.append(&Who::shell(), &ledger::issue(request, &issued, key, now))?;
    Ok(issued)
}
