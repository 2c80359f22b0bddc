//! What the room of tokens does for the command line, as failures for people.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Failure;
use crate::auth::{self, Alg, KeySet, Request};
use crate::config::Auth;
use crate::ids::UserId;

/// Makes a key set with one EdDSA key.
pub(super) fn make_key_set(path: &Path) -> Result<(), Failure> {
    let key = auth::generate(Alg::EdDsa).map_err(Failure::failed)?;
    Ok(KeySet::edit(path, |keys| keys.add(key))?)
}

/// Reads the key set and says what is in it.
pub(super) fn describe_key_set(path: &Path) -> Result<String, Failure> {
    let keys = KeySet::load(path)?.list();
    let s = if keys.len() == 1 { "" } else { "s" };
    let signing = keys.iter().find(|key| key.signs).map_or_else(
        || "none signs, so tokens are issued elsewhere".to_owned(),
        |key| match &key.kid {
            Some(kid) => format!("{kid} ({}) signs", key.alg),
            None => format!("one without a kid ({}) signs", key.alg),
        },
    );
    Ok(format!("{} key{s}; {signing}", keys.len()))
}

/// Issues a token for a user.
pub(super) fn issue(
    auth: &Auth,
    user: UserId,
    name: &str,
    ttl: Duration,
) -> Result<String, Failure> {
    let keys = KeySet::load(&auth.keys)?;
    let name = Some(name.to_owned());
    let request = Request { user, name, picture: None, ttl, admin: false };
    Ok(auth::issue(&keys, auth, &request, SystemTime::now())?.token)
}
