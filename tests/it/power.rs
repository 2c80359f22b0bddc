//! Power cuts: what was not on the disk when the power went is gone.
//!
//! A btrfs in a file holds an image of a disk, on which an ext4 is mounted as the data
//! directory. In the middle of the load the image is copied, which btrfs does at once by
//! sharing its blocks: what the system had not brought to the disk is not in the copy. The
//! server is then started on the copy, and must have all that it had acknowledged before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use imserver::torture::{Blow, Child, Place, Torture, TortureError};

use crate::support::or_not_tested;

/// Runs a program of the system, which must succeed.
fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).args(paths).output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {arguments:?}: {words}")))
}

/// The disk whose power is cut.
struct Rig {
    folder: tempfile::TempDir,
    /// How many images there were.
    images: u32,
}

impl Rig {
    /// Builds it, or says loudly that it cannot.
    fn new() -> Option<Self> {
        or_not_tested(Self::build().map_err(|error| {
            format!(
                "nobody checked what a power cut leaves, because the rig cannot be built here: \
                 {error}. It takes root, loop devices, the permission to mount, and mkfs.btrfs \
                 (btrfs-progs)."
            )
        }))
    }

    fn build() -> io::Result<Self> {
        let rig = Self { folder: tempfile::tempdir()?, images: 0 };
        let pool = rig.path("pool.img");
        fs::File::create(&pool)?.set_len(4 << 30)?;
        run("mkfs.btrfs", &["-q"], &[&pool])?;
        fs::create_dir(rig.path("pool"))?;
        run("mount", &["-o", "loop,nodatasum"], &[&pool, &rig.path("pool")])?;
        Ok(rig)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn image(&self) -> PathBuf {
        self.path("pool").join(format!("disk-{}.img", self.images))
    }

    /// The disk as the last cut left it: a start changes it.
    fn last_cut(&self) -> PathBuf {
        self.path("pool").join("cut.img")
    }

    /// An empty disk, mounted as the data directory of a new server.
    fn fresh(&mut self, server: &str, environment: &[(&str, &str)]) -> io::Result<Torture> {
        let _ = self.unmount();
        self.images += 1;
        fs::File::create(self.image())?.set_len(400 << 20)?;
        run(
            "mkfs.ext4",
            &["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            &[&self.image()],
        )?;
        let folder = self.path(server);
        let mut place = Place::make(Path::new(env!("CARGO_BIN_EXE_imserver")), &folder)
            .map_err(io::Error::other)?;
        for (name, value) in environment {
            place = place.env(name, value);
        }
        let data = folder.join("data");
        fs::create_dir(&data)?;
        self.mount(&data)?;
        let seed = std::env::var("IMSERVER_POWER_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        eprintln!("again with: IMSERVER_POWER_SEED={seed}");
        Ok(Torture::new(place, seed))
    }

    fn mount(&self, data: &Path) -> io::Result<()> {
        run("mount", &["-o", "loop"], &[&self.image(), data])?;
        // What mkfs.ext4 leaves there is nobody's business.
        let _ = fs::remove_dir(data.join("lost+found"));
        run("chmod", &["700"], &[data])
    }

    /// Unmounts the data directory, wherever it is.
    fn unmount(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.folder.path())? {
            let data = entry?.path().join("data");
            if data.exists() {
                let _ = run("umount", &[], &[&data]);
            }
        }
        Ok(())
    }

    fn cut(&mut self, server: &str) -> Cut<'_> {
        let data = self.path(server).join("data");
        Cut { rig: self, data }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.unmount();
        if std::thread::panicking() {
            // What nobody can make again by the seed alone.
            let kept = std::env::temp_dir().join("imserver-power-cut.img");
            let paths = [self.last_cut(), kept.clone()];
            match run("cp", &["--sparse=always"], &[&paths[0], &paths[1]]) {
                Ok(()) => eprintln!("the disk as the last cut left it: {}", kept.display()),
                Err(error) => eprintln!("the disk of the last cut is not kept: {error}"),
            }
        }
        let _ = run("umount", &[], &[&self.path("pool")]);
    }
}

/// The power goes.
struct Cut<'a> {
    rig: &'a mut Rig,
    data: PathBuf,
}

impl Blow for Cut<'_> {
    fn strike(&mut self, server: &mut Child) -> io::Result<()> {
        let old = self.rig.image();
        self.rig.images += 1;
        let new = self.rig.image();
        run("cp", &["--reflink=always"], &[&old, &new])?;
        run("cp", &["--reflink=always"], &[&new, &self.rig.last_cut()])?;
        server.kill()?;
        run("umount", &[], &[&self.data])?;
        fs::remove_file(old)?;
        self.rig.mount(&self.data)
    }

    fn is_sudden(&self) -> bool {
        false
    }
}

fn rounds() -> u64 {
    std::env::var("IMSERVER_POWER_ROUNDS").map_or(5, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_power_cut() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    // One disk that grows, and one that is cut in the first moments of its life.
    let mut growing = rig.fresh("growing", &[]).unwrap();
    for _ in 0..rounds() {
        growing.round(Duration::from_secs(1), &mut rig.cut("growing")).await.unwrap();
        assert!(growing.report().is_clean(), "{}", growing.report());
    }
    growing.finish().await.unwrap();
    eprintln!("{}", growing.report());
    assert!(growing.report().is_clean(), "{}", growing.report());
    assert!(growing.report().acknowledged > 20 * rounds(), "{}", growing.report());
    for round in 0..rounds().div_ceil(2) {
        let name = format!("young-{round}");
        let mut young = rig.fresh(&name, &[]).unwrap();
        young.cut_a_start_short(&mut rig.cut(&name)).unwrap();
        young.round(Duration::from_millis(200), &mut rig.cut(&name)).await.unwrap();
        young.finish().await.unwrap();
        assert!(young.report().is_clean(), "{}", young.report());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_syncs_the_same_rig_finds_losses() {
    const NO_SYNC: (&str, &str) = ("LD_PRELOAD", "libeatmydata.so");
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let trial = Command::new("true").env(NO_SYNC.0, NO_SYNC.1).output().unwrap();
    let words = String::from_utf8_lossy(&trial.stderr);
    assert!(words.is_empty(), "install eatmydata (scripts/test does it by itself): {words}");
    for attempt in 0..5 {
        let name = format!("control-{attempt}");
        let mut control = rig.fresh(&name, &[NO_SYNC]).unwrap();
        control.round(Duration::from_secs(1), &mut rig.cut(&name)).await.unwrap();
        let end = control.finish().await;
        if matches!(end, Err(TortureError::Broken(_))) || !control.report().is_clean() {
            return;
        }
    }
    panic!("nothing is lost although nothing is synced: the rig is broken");
}
