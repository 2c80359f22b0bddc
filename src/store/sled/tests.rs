//! What only this store promises: whom it lets in, what it refuses, how large it grows.

mod damage;
mod directory;
mod growth;
mod inboxes;
mod layouts;
mod names;
mod revocations;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::keys::Pair;
use super::*;
use crate::auth::{Revocation, TokenId};
use crate::ids::{MessageId, Sender, UserId};
use crate::message::ClientMsgId;
use crate::store::{AppendError, Cursor, Draft, Health, ResendKey, Seen, Span, Store, StoreError};

pub(super) fn open_at(path: &Path) -> Result<(SledStore, Tail), OpenError> {
    open_with(path, Duration::ZERO)
}

pub(super) fn open_with(path: &Path, retention: Duration) -> Result<(SledStore, Tail), OpenError> {
    let path = path.to_owned();
    let config =
        config::Store { path, cache_bytes: 16 << 20, retention, ..config::Store::default() };
    let metrics = StoreMetrics::register(&mut Registry::default());
    open(&config, &config::Limits::default(), metrics)
}

fn refused(path: &Path) -> String {
    open_at(path).map(|_| ()).unwrap_err().to_string()
}

pub(super) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    folder
}

pub(super) fn draft(number: u64) -> Draft {
    // Some with a name.
    let resend = match number % 4 {
        1 => named(&number.to_string()),
        _ => ResendKey::None,
    };
    Draft {
        from: Sender::new(number % 50).unwrap(),
        to: UserId::new(1 + number % 200).unwrap(),
        timestamp: number.to_string(),
        content: "x".repeat(200),
        resend,
        origin: None,
    }
}

pub(super) fn named(name: &str) -> ResendKey {
    ResendKey::Client { id: ClientMsgId::new(name).unwrap(), again: false }
}

pub(super) fn named_again(name: &str) -> ResendKey {
    ResendKey::Client { id: ClientMsgId::new(name).unwrap(), again: true }
}

pub(super) async fn append(store: &SledStore, number: u64) -> MessageId {
    let receipt = store.append(draft(number)).await.unwrap();
    receipt.await.unwrap().id
}

/// A store of one message, closed.
async fn closed() -> TempDir {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    append(&store, 1).await;
    store.close().await.unwrap();
    folder
}

/// The bare database of a closed store, for as long as `work` takes.
pub(super) fn bare<T>(folder: &TempDir, work: impl FnOnce(&::sled::Db) -> T) -> T {
    let db = folder.path().join("sled");
    let db = open::open_sled(folder.path(), &db, 16 << 20).unwrap();
    let outcome = work(&db);
    drop(db);
    folder::released(&folder::database(folder.path()));
    outcome
}

/// One of each kind, in force until the year 2100.
fn revocations() -> [Revocation; 3] {
    let (user, until) = (UserId::new(1).unwrap(), 4_102_444_800);
    [
        Revocation::Token { jti: TokenId::new("a").unwrap(), until },
        Revocation::Subject { user, issued_up_to: 1, until },
        Revocation::Disabled { user },
    ]
}
