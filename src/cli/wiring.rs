//! What other rooms do for the command line.

use super::Failure;
use crate::config::{Auth, Config};
use crate::ids::UserId;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Makes a key set with one EdDSA key.
pub(super) fn make_key_set(path: &Path) -> Result<(), Failure> {
    crate::secret_file::create(path, b"{\"keys\":[]}\n").map_err(Failure::failed)
}

/// Reads the key set and says what is in it.
pub(super) fn describe_key_set(path: &Path) -> Result<String, Failure> {
    crate::secret_file::read(path)
        .map(|_| "a key set".to_owned())
        .map_err(Failure::usage)
}

/// Issues a token for a user.
pub(super) fn issue(
    _auth: &Auth,
    user: UserId,
    _name: &str,
    _lifetime: Duration,
) -> Result<String, Failure> {
    Ok(format!("token-of-{user}"))
}

/// Serves until told to stop.
pub(super) fn serve(
    config: Config,
    bound: impl FnOnce(SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    bound(config.server.listen)
}
