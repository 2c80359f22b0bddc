use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::census::Census;
use super::super::folder::released;
use super::super::log::Log;
use super::super::open::open_sled;
use super::*;

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database with a journal, and what must be in it.
struct Sample {
    folder: TempDir,
    db: sled::Db,
    journal: Journal,
    wanted: Contents,
}

impl Sample {
    fn new(sizes: Sizes) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("sled");
        let db = open_sled(folder.path(), &database, 1 << 20).unwrap();
        // Of the first rows nothing is to hang on sled's having begun its file.
        db.flush().unwrap();
        let log = Log::load(folder.path(), (*db).clone()).unwrap();
        let shared = Arc::new(Shared::new(log, Census::default()));
        let base = Base::of(&database, &db).unwrap();
        let journal = Journal { sizes, ..Journal::new(database, base, shared) };
        Self { folder, db, journal, wanted: Contents::new() }
    }

    /// Writes a commit of two rows and takes one away, as the writer does.
    fn write(&mut self, number: usize, size: usize) {
        let mut rows = Rows::default();
        let value = vec![number as u8; size];
        for key in [number % 7, 100 + number] {
            rows.insert(key.to_be_bytes().as_slice(), value.as_slice());
            self.wanted.insert(key.to_be_bytes().to_vec(), value.clone());
        }
        let gone = (100 + number / 2).to_be_bytes();
        if number.is_multiple_of(3) {
            rows.remove(gone.as_slice());
            self.wanted.remove(gone.as_slice());
        }
        self.journal.append(&rows).unwrap();
        rows.enter(&self.db).unwrap();
        self.journal.entered().unwrap();
    }

    /// What another process would find now.
    fn killed(&self) -> Killed {
        let folder = tempfile::tempdir().unwrap();
        copy(&self.folder.path().join("sled"), &folder.path().join("sled"));
        Killed(folder)
    }
}

struct Killed(TempDir);

impl Killed {
    fn file(&self, name: &str) -> PathBuf {
        folder(&self.0.path().join("sled")).join(name)
    }

    fn open(&self) -> Result<Contents, String> {
        let database = self.0.path().join("sled");
        let db = open_sled(self.0.path(), &database, 1 << 20).map_err(|e| e.to_string())?;
        assert!(!folder(&database).exists(), "what was entered is of no use any more");
        let found = db.iter().map(Result::unwrap).map(|(k, v)| (k.to_vec(), v.to_vec()));
        let found = found.collect();
        drop(db);
        released(&database);
        Ok(found)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.as_ref().unwrap(), to.join(entry.as_ref().unwrap().file_name()));
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Nothing is settled by itself.
const NEVER: Sizes = Sizes { file: 1 << 20, step: u64::MAX, most: u64::MAX };

#[test]
fn what_sled_never_brought_to_the_disk_is_there_after_a_crash() {
    let mut sample = Sample::new(NEVER);
    for number in 0..50 {
        sample.write(number, 300);
    }
    assert_eq!(sample.killed().open().unwrap(), sample.wanted);
}

#[test]
fn a_closed_journal_is_gone_and_the_database_has_everything() {
    let mut sample = Sample::new(NEVER);
    for number in 0..50 {
        sample.write(number, 300);
    }
    let Sample { folder: place, db, journal, wanted } = sample;
    journal.close().unwrap();
    let database = place.path().join("sled");
    assert!(!folder(&database).exists());
    drop(db);
    released(&database);
    assert_eq!(Killed(place).open().unwrap(), wanted);
}

#[test]
fn a_frame_that_was_torn_is_as_if_it_had_never_been() {
    let mut sample = Sample::new(NEVER);
    for number in 0..10 {
        sample.write(number, 100);
    }
    let (before, at) = (sample.wanted.clone(), sample.journal.open.as_ref().unwrap().here.at);
    sample.write(10, 100);
    let end = sample.journal.open.as_ref().unwrap().here.at;
    let whole = fs::read(sample.killed().file("a")).unwrap();
    // The padding at its end says nothing.
    for cut in (at..end - 7).step_by(9) {
        let killed = sample.killed();
        let mut torn = whole.clone();
        torn[cut as usize..end as usize].fill(0);
        fs::write(killed.file("a"), &torn).unwrap();
        assert_eq!(killed.open().unwrap(), before, "zeros from {cut} on");
        let killed = sample.killed();
        torn.truncate(cut as usize);
        fs::write(killed.file("a"), &torn).unwrap();
        assert_eq!(killed.open().unwrap(), before, "cut off at {cut}");
    }
}

#[test]
fn a_frame_that_rots_before_others_is_named() {
    let mut sample = Sample::new(NEVER);
    let mut ends = vec![0];
    for number in 0..10 {
        sample.write(number, 100);
        ends.push(sample.journal.open.as_ref().unwrap().here.at);
    }
    let whole = fs::read(sample.killed().file("a")).unwrap();
    for number in 1..10 {
        for at in (ends[number - 1]..ends[number] - 7).step_by(31) {
            let killed = sample.killed();
            let mut rotten = whole.clone();
            rotten[at as usize] ^= 1;
            fs::write(killed.file("a"), &rotten).unwrap();
            let refused = killed.open().unwrap_err();
            assert!(refused.contains(&format!("the frame {number} of its journal")), "{refused}");
            assert_eq!(fs::read(killed.file("a")).unwrap(), rotten, "nothing was changed");
        }
    }
    let killed = sample.killed();
    fs::remove_file(killed.file("a")).unwrap();
    assert_eq!(killed.open().unwrap(), Contents::new(), "which the manifest then says");
}

#[test]
fn what_is_settled_is_not_looked_for() {
    let mut sample = Sample::new(Sizes { file: 2_000, step: 1, most: 0 });
    for number in 0..40 {
        sample.write(number, 100);
    }
    let open = sample.journal.open.as_ref().unwrap();
    assert!(open.there.last > 1, "both files were written");
    let last = open.last.number;
    let killed = sample.killed();
    let older = FILES.map(|name| killed.file(name)).into_iter().find(|path| {
        let file = fs::read(path).unwrap();
        !(0..file.len())
            .step_by(frame::ALIGN)
            .any(|at| frame::decode(&file, at).is_some_and(|f| f.number == last))
    });
    fs::remove_file(older.unwrap()).unwrap();
    assert_eq!(killed.open().unwrap(), sample.wanted);
}

/// Its files used to be removed one by one. After a kill between the two, the next start entered
/// again what was left in the other, over what was written since.
#[test]
fn a_kill_while_it_is_taken_away_brings_nothing_old_back() {
    let mut sample = Sample::new(Sizes { file: 2_000, step: 1, most: 0 });
    for number in 0..40 {
        sample.write(number, 100);
    }
    sample.db.flush().unwrap();
    for name in FILES {
        let killed = sample.killed();
        let database = killed.0.path().join("sled");
        let settled = database.join("journal.settled");
        fs::rename(folder(&database), &settled).unwrap();
        fs::remove_file(settled.join(name)).unwrap();
        assert_eq!(killed.open().unwrap(), sample.wanted);
        assert!(!settled.exists());
    }
}

#[test]
fn a_file_that_is_no_journal_is_refused_or_holds_nothing() {
    let mut sample = Sample::new(NEVER);
    sample.write(0, 100);
    let killed = sample.killed();
    fs::File::create(killed.file("b")).unwrap().set_len(1 << 40).unwrap();
    assert!(killed.open().unwrap_err().contains("a file of 1099511627776 bytes"));
    let killed = sample.killed();
    fs::write(killed.file("b"), b"nonsense").unwrap();
    assert_eq!(killed.open().unwrap(), sample.wanted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is settled when, and however often the files take turns.
    #[test]
    fn nothing_is_missing_whenever_it_is_killed(
        file in 500u64..4_000,
        step in 1u64..2_000,
        most in 0u64..3_000,
        sizes in prop::collection::vec(0usize..2_500, 1..60),
        kills in prop::collection::hash_set(0usize..60, 3),
    ) {
        let mut sample = Sample::new(Sizes { file, step, most });
        for (number, &size) in sizes.iter().enumerate() {
            sample.write(number, size);
            if kills.contains(&number) {
                prop_assert_eq!(&sample.killed().open().unwrap(), &sample.wanted);
            }
        }
        // And in the middle of the last write.
        let before = sample.wanted.clone();
        let open = sample.journal.open.as_ref().unwrap();
        let turned = open.here.last < open.there.last;
        prop_assert!(!turned);
        sample.write(sizes.len(), 200);
        let killed = sample.killed();
        let open = sample.journal.open.as_ref().unwrap();
        let end = open.here.at as usize;
        for name in FILES {
            let mut torn = fs::read(killed.file(name)).unwrap();
            if frame_at(&torn, end, open.last.number) {
                torn[end - 100..end].fill(0);
                fs::write(killed.file(name), torn).unwrap();
            }
        }
        let found = killed.open().unwrap();
        // sled may have had it already.
        prop_assert!(found == before || found == sample.wanted);
    }
}

/// Whether the frame of this number ends at `end`.
fn frame_at(file: &[u8], end: usize, number: u64) -> bool {
    (0..end)
        .step_by(frame::ALIGN)
        .any(|place| frame::decode(file, place).is_some_and(|f| f.number == number && f.end == end))
}

proptest! {
    #[test]
    fn whatever_lies_in_its_files_is_read_without_a_panic(
        frames in prop::collection::vec((0u64..9, 0u64..9, prop::collection::vec(any::<u8>(), 0..40)), 0..9),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        other: Vec<u8>,
    ) {
        let mut file = Vec::new();
        for (number, settled, rows) in &frames {
            file.extend(frame::encode(*number, *settled, file.len() as u64, rows));
        }
        for (at, byte) in changes.iter().filter(|_| !frames.is_empty()) {
            let at = at.index(file.len());
            file[at] = *byte;
        }
        if let Ok(found) = recover::unsettled(&[file, other]) {
            for pair in found.windows(2) {
                prop_assert_eq!(pair[0].number + 1, pair[1].number);
            }
            for frame in found {
                let _ = Rows::decode(frame.rows);
            }
        }
    }
}
