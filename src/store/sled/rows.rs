//! Rows that are written in one step: all of them or, where that is cut short, none.

use sled::{Batch, IVec, Tree};

use super::codec::{Decoder, Encoder};

/// What is written or, without a value, taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    rows: Vec<(IVec, Option<IVec>)>,
    /// Whether a reader must see all of them or none.
    at_once: bool,
}

impl Rows {
    pub(super) fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.rows.push((key.into(), Some(value.into())));
    }

    pub(super) fn remove(&mut self, key: impl Into<IVec>) {
        self.rows.push((key.into(), None));
    }

    /// Adds those of a step: what is written or, without a value, taken away.
    pub(super) fn extend(&mut self, rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        self.rows.extend(rows.into_iter().map(|(key, value)| (key.into(), value.map(IVec::from))));
    }

    /// Says that no reader may see some of them without the others.
    pub(super) fn show_at_once(&mut self) {
        self.at_once = true;
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Enters them into the tree, though not into the file: the journal has them there.
    ///
    /// # Errors
    /// What sled says.
    pub(super) fn enter(self, tree: &Tree) -> sled::Result<()> {
        if !self.at_once {
            // Around a batch sled writes a piece of its log, and waits for it.
            for (key, value) in self.rows {
                match value {
                    Some(value) => tree.insert(key, value)?,
                    None => tree.remove(key)?,
                };
            }
            return Ok(());
        }
        let mut batch = Batch::default();
        for (key, value) in self.rows {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        tree.apply_batch(batch)
    }

    /// Them as bytes, of which nothing else says where they end.
    pub(super) fn encode(&self) -> Vec<u8> {
        let sizes = self.rows.iter().map(|(key, value)| {
            key.len() + value.as_ref().map_or(0, |value| value.len()) + 2 * LENGTH_BYTES
        });
        let mut bytes = Encoder::bare(sizes.sum());
        for (key, value) in &self.rows {
            bytes.number(key.len() as u64).bytes(key);
            match value {
                Some(value) => bytes.number(value.len() as u64 + 1).bytes(value),
                None => bytes.number(0),
            };
        }
        bytes.unsealed()
    }

    /// Reads what [`Rows::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut read = Decoder::unsealed(bytes);
        let mut rows = Self::default();
        while !read.at_end() {
            let length = read.number()?;
            let key = read.bytes(length)?;
            match read.number()?.checked_sub(1) {
                Some(length) => rows.insert(key, read.bytes(length)?),
                None => rows.remove(key),
            }
        }
        Some(rows)
    }
}

/// What a length takes, about.
const LENGTH_BYTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (Vec<u8>, Option<Vec<u8>>);

    fn of(rows: &[Row]) -> Rows {
        let mut collected = Rows::default();
        for (key, value) in rows {
            match value {
                Some(value) => collected.insert(&key[..], &value[..]),
                None => collected.remove(&key[..]),
            }
        }
        collected
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_were(rows: Vec<Row>) {
            let rows = of(&rows);
            prop_assert_eq!(Rows::decode(&rows.encode()), Some(rows));
        }

        #[test]
        fn whatever_is_read_is_read_without_a_panic(bytes: Vec<u8>) {
            if let Some(rows) = Rows::decode(&bytes) {
                prop_assert_eq!(Rows::decode(&rows.encode()), Some(rows));
            }
        }
    }

    #[test]
    fn in_the_tree_the_later_of_two_counts_at_once_or_not() {
        let tree = sled::Config::new().temporary(true).open().unwrap();
        for at_once in [false, true] {
            tree.clear().unwrap();
            tree.insert("gone", "here").unwrap();
            let mut rows = of(&[
                (b"a".to_vec(), Some(b"1".to_vec())),
                (b"gone".to_vec(), None),
                (b"a".to_vec(), Some(b"2".to_vec())),
            ]);
            if at_once {
                rows.show_at_once();
            }
            rows.enter(&tree).unwrap();
            let found: Vec<_> = tree.iter().map(Result::unwrap).collect();
            assert_eq!(found, [("a".into(), "2".into())]);
        }
    }
}
