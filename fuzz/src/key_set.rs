//! Key sets, as operators and identity providers write them.

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use imserver::auth::{CurrentKeys, IssueError, KeySet, Request, Revocations, Verifier, issue};
use imserver::config::Auth;
use imserver::ids::UserId;

/// Reads a key set. One that can sign must believe what it signed: a private half that
/// does not belong to its public half is found when the set is read, not by users.
pub fn check(data: &[u8]) {
    let keys = match KeySet::parse(data) {
        Ok(keys) => keys,
        Err(fault) => {
            assert!(fault.to_string().len() < 1024, "{fault}");
            return;
        }
    };
    let entries = keys.list();
    let names: HashSet<_> = entries.iter().map(|entry| &entry.kid).collect();
    assert_eq!(names.len(), entries.len(), "each key has a name of its own");
    assert!(entries.len() < 2 || entries.iter().all(|entry| entry.kid.is_some()));
    assert_eq!(keys.is_empty(), entries.is_empty());
    let signs: Vec<_> = entries.iter().filter(|entry| entry.signs).collect();
    assert_eq!(signs.len(), usize::from(entries.iter().any(|entry| entry.can_sign)));
    assert!(signs.iter().all(|entry| entry.can_sign) && (signs.is_empty() || keys.holds_secrets()));

    imserver::auth::install_provider();
    let Some(user) = UserId::new(7) else { return };
    let (auth, now) = (Auth::default(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let ttl = Duration::from_secs(60);
    let request = Request { user, name: None, picture: None, ttl, admin: false };
    match issue(&keys, &auth, &request, now) {
        Ok(issued) => {
            let verifier = Verifier::new(&CurrentKeys::new(keys), &Revocations::default(), &auth);
            let believed = verifier.verify(&issued.token, now).map(|identity| identity.user());
            assert_eq!(believed, Ok(user), "{entries:?}");
        }
        Err(IssueError::NoSigningKey) => assert!(signs.is_empty()),
        Err(error) => panic!("{entries:?} signed nothing: {error}"),
    }
}
