//! Everybody of whom the store knows something.

use sled::Tree;

use super::super::keys;
use super::{Result, not_whole, unreadable};
use crate::ids::UserId;

/// Up to `limit` users behind `after` who have a profile or a conversation, at two seeks
/// each, however many peers they have.
pub(in super::super) fn users(
    tree: &Tree,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>> {
    let mut users = Vec::new();
    let mut from = after.map_or(0, UserId::get) + 1;
    // Each is looked up again only once it was taken.
    let (mut talking, mut known) = (talking_from(tree, from)?, known_from(tree, from)?);
    while users.len() < limit
        && let Some(user) = [talking, known].into_iter().flatten().min()
    {
        users.push(user);
        from = user.get() + 1;
        if talking == Some(user) {
            talking = talking_from(tree, from)?;
        }
        if known == Some(user) {
            known = known_from(tree, from)?;
        }
    }
    Ok(users)
}

/// The first user from `id` on who has a conversation.
pub(in super::super) fn talking_from(tree: &Tree, id: u64) -> Result<Option<UserId>> {
    let Some(row) = tree.range(keys::peers_from(id)..=keys::peers_from(u64::MAX)).next() else {
        return Ok(None);
    };
    let (key, _) = row.map_err(unreadable)?;
    keys::parse_peer(&key).map(|(user, _)| Some(user)).ok_or_else(|| not_whole("peer", &key))
}

/// The first user from `id` on who has a profile.
fn known_from(tree: &Tree, id: u64) -> Result<Option<UserId>> {
    let Some(row) = tree.range(keys::profiles_from(id)..=keys::profiles_from(u64::MAX)).next()
    else {
        return Ok(None);
    };
    let (key, _) = row.map_err(unreadable)?;
    keys::parse_profile(&key).map(Some).ok_or_else(|| not_whole("profile", &key))
}
