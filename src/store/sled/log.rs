//! An open database and what belongs to it: the rows, the messages that lie in the log, and
//! those that lie in volumes, and what is known of inboxes and users by heart.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use sled::Tree;

use super::claims::Claims;
use super::hot::Hot;
use super::inboxes::Inboxes;
use super::keys;
use super::reader;
use super::record::LogPiece;
use super::shelf::Shelf;
use super::volume::VolumeError;

#[derive(Clone, Debug)]
pub(super) struct Log {
    tree: Tree,
    pub(super) hot: Arc<Hot>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) inboxes: Arc<Inboxes>,
    pub(super) claims: Arc<Claims>,
    /// Up to which id they had lapsed before they came here.
    pub(super) lapsed: u64,
}

impl Log {
    /// Reads the log of a database whose volumes lie in `dir`.
    ///
    /// # Errors
    /// What of it is not whole, or cannot be opened.
    pub(super) fn load(dir: &Path, tree: Tree) -> Result<Self, VolumeError> {
        let shelf = Shelf::load(dir, &tree)?;
        let hot = Hot::default();
        // What volumes hold may still lie in the log, where a crash came between the two.
        for row in tree.range(keys::commit(shelf.packed_up_to() + 1)..=keys::commit(u64::MAX)) {
            let (key, value) = row.map_err(reader::unreadable)?;
            let piece =
                LogPiece::decode(&key, &value).ok_or_else(|| reader::not_whole("commit", &key))?;
            hot.insert(piece.messages().map(|(pair, id, value)| (pair, id, value.clone())));
        }
        let lapsed = reader::skipped(&tree)?.lapsed;
        let (hot, shelf) = (Arc::new(hot), Arc::new(shelf));
        Ok(Self { tree, hot, shelf, inboxes: Arc::default(), claims: Arc::default(), lapsed })
    }
}

impl Deref for Log {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}
