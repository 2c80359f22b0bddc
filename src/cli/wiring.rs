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
    KeySet::edit(path, |keys| keys.add(key)).map_err(Failure::failed)
}

/// Reads the key set and says what is in it.
pub(super) fn describe_key_set(path: &Path) -> Result<String, Failure> {
    let keys = KeySet::load(path).map_err(Failure::usage)?;
    let list = keys.list();
    let signing = list.iter().find(|key| key.signs);
    Ok(match signing.and_then(|key| key.kid.as_deref()) {
        Some(kid) => format!("{} key(s); {kid} signs", list.len()),
        None => format!("{} key(s); none signs", list.len()),
    })
}

/// Issues a token for a user.
pub(super) fn issue(
    auth: &Auth,
    user: UserId,
    name: &str,
    ttl: Duration,
) -> Result<String, Failure> {
    let keys = KeySet::load(&auth.keys).map_err(Failure::usage)?;
    let name = Some(name.to_owned());
    let request = Request {
        user,
        name,
        picture: None,
        ttl,
        admin: false,
    };
    let issued = auth::issue(&keys, auth, &request, SystemTime::now()).map_err(Failure::failed)?;
    Ok(issued.token)
}
