//! The volumes of a store, and where in them the messages of a pair lie.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sled::Tree;

use super::codec::{Decoder, Encoder};
use super::gone::Gone;
use super::keys;
use super::reader;
use super::volume::{self, Volume, VolumeError, VolumeRow};

/// What is known of the messages of a pair that lie in volumes. It is written before the
/// volume counts, and so may be ahead of it: then it holds what was true before, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    /// The last message in the newest volume that holds any.
    last: Gone,
    /// The last message in those before it.
    before: Gone,
    /// The first ids of the volumes, rising. Some may be gone.
    pub(super) volumes: Vec<u64>,
}

const PACKED: u8 = 1;

impl Packed {
    /// Enters the last message of the pair in a volume that begins with `first`, where those
    /// that count reach up to `end`.
    pub(super) fn add(&mut self, first: u64, end: u64, last: Gone) {
        // Not what an attempt left here that was cut short.
        self.before = self.last(end);
        self.last = last;
        if self.volumes.last() != Some(&first) {
            self.volumes.push(first);
        }
    }

    /// The last message of the pair in volumes that reach up to `end`.
    pub(super) fn last(&self, end: u64) -> Gone {
        if self.last.id <= end { self.last } else { self.before }
    }

    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = Encoder::new(PACKED, 32 + 3 * self.volumes.len());
        for Gone { ordinal, id } in [self.last, self.before] {
            value.number(ordinal).number(id);
        }
        let mut before = 0;
        for &first in &self.volumes {
            value.number(first - before);
            before = first;
        }
        value.seal(key)
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut read = Decoder::open(PACKED, key, value)?;
        let last = Gone { ordinal: read.number()?, id: read.number()? };
        let before = Gone { ordinal: read.number()?, id: read.number()? };
        let (mut volumes, mut at) = (Vec::new(), 0u64);
        while !read.at_end() {
            at = at.checked_add(read.number()?)?;
            volumes.push(at);
        }
        Some(Self { last, before, volumes })
    }
}

/// The open volumes, by rising ids.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    volumes: RwLock<Arc<Vec<Arc<Volume>>>>,
    /// Every message up to here that is not gone lies in a volume.
    packed_up_to: AtomicU64,
}

impl Shelf {
    /// Opens the volumes that the database in `dir` names.
    ///
    /// # Errors
    /// Why one of them is not what it must be, or cannot be opened.
    pub(super) fn load(dir: &Path, tree: &Tree) -> Result<Self, VolumeError> {
        let folder = volume::folder(dir);
        let (mut volumes, mut last) = (Vec::new(), 0);
        for row in tree.scan_prefix(keys::VOLUMES) {
            let (key, value) = row.map_err(reader::unreadable)?;
            let row = VolumeRow::decode(&key, &value).filter(|row| row.first > last);
            let row = row.ok_or_else(|| reader::not_whole("volume", &key))?;
            last = row.last;
            volumes.push(Arc::new(Volume::open(&folder, row)?));
        }
        let volumes = RwLock::new(Arc::new(volumes));
        Ok(Self { folder, volumes, packed_up_to: AtomicU64::new(last) })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn volumes(&self) -> Arc<Vec<Arc<Volume>>> {
        Arc::clone(&self.volumes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every message up to here that is not gone lies in a volume, and where can be looked up.
    pub(super) fn packed_up_to(&self) -> u64 {
        self.packed_up_to.load(Ordering::Acquire)
    }

    /// The volume that begins with `first`.
    pub(super) fn beginning(&self, first: u64) -> Option<Arc<Volume>> {
        let volumes = self.volumes();
        let at = volumes.binary_search_by_key(&first, |volume| volume.row.first).ok()?;
        volumes.get(at).cloned()
    }

    /// The volume whose range holds `id`.
    pub(super) fn holding(&self, id: u64) -> Option<Arc<Volume>> {
        let volumes = self.volumes();
        let behind = volumes.partition_point(|volume| volume.row.first <= id);
        let found = behind.checked_sub(1).and_then(|at| volumes.get(at));
        found.filter(|volume| id <= volume.row.last).cloned()
    }

    /// Adds a volume behind the others, or puts it in the place of one with the same range.
    /// Nobody looks for messages in one that is new before [`Shelf::raise`].
    pub(super) fn put(&self, volume: Volume) {
        self.change(|volumes| {
            let first = volume.row.first;
            let volume = Arc::new(volume);
            match volumes.binary_search_by_key(&first, |volume| volume.row.first) {
                Ok(at) => {
                    if let Some(there) = volumes.get_mut(at) {
                        *there = volume;
                    }
                }
                Err(at) => volumes.insert(at, volume),
            }
        });
    }

    pub(super) fn remove(&self, first: u64) {
        self.change(|volumes| volumes.retain(|volume| volume.row.first != first));
    }

    /// Has the last volume looked into, whose row is durable.
    pub(super) fn raise(&self) {
        if let Some(last) = self.volumes().last() {
            self.packed_up_to.fetch_max(last.row.last, Ordering::AcqRel);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Volume>>)) {
        let mut volumes = self.volumes.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = volumes.to_vec();
        change(&mut changed);
        *volumes = Arc::new(changed);
    }

    /// Removes files that are no volumes: what a crash left of one that was being written, or
    /// of one that was replaced.
    pub(super) fn clear(&self) -> io::Result<()> {
        let volumes = self.volumes();
        let known: HashSet<OsString> =
            volumes.iter().map(|volume| volume.row.name().into()).collect();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // A folder is none of ours: `lost+found`, where a disk of their own is mounted here.
            if !known.contains(&entry.file_name()) && !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(id: u64) -> Gone {
        Gone { ordinal: id, id }
    }

    #[test]
    fn what_is_ahead_of_the_volumes_hides_nothing() {
        let mut packed = Packed::default();
        packed.add(1, 0, at(90));
        assert_eq!((packed.last(0), packed.last(100)), (at(0), at(90)));
        // Twice it is cut short, and the volume ends elsewhere each time.
        for last in [190, 170] {
            packed.add(101, 100, at(last));
            assert_eq!((packed.last(100), packed.last(200)), (at(90), at(last)));
        }
        // The third attempt holds none of the pair, and so leaves all this as it is.
        assert_eq!(packed.last(150), at(90));
        packed.add(151, 150, at(250));
        assert_eq!((packed.last(150), packed.last(300)), (at(90), at(250)));
        assert_eq!(packed.volumes, [1, 101, 151]);
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(ids in prop::collection::btree_set(1u64..1 << 53, 0..50)) {
            let mut packed = Packed::default();
            for id in ids {
                packed.add(id, id - 1, at(id));
            }
            prop_assert_eq!(Packed::decode(b"k", &packed.encode(b"k")), Some(packed));
        }
    }
}
