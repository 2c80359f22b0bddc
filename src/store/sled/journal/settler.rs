//! What brings to the disk what sled has of the journal, behind the back of the writer.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use sled::Db;

use super::super::blobs::Blobs;
use super::super::shared::Shared;
use super::super::writer::Stop;
use super::Point;

/// What is to be brought to the disk.
#[derive(Debug)]
pub(in super::super) struct Base {
    db: Db,
    /// sled's own file: its flush is `sync_file_range`, which leaves the drive's cache and the
    /// file's size alone.
    file: File,
    blobs: Blobs,
}

impl Base {
    /// That of the database in this folder.
    ///
    /// # Errors
    /// Those of its file.
    pub(in super::super) fn of(database: &Path, db: &Db) -> io::Result<Self> {
        let file = File::options().write(true).open(database.join("db"))?;
        Ok(Self { db: db.clone(), file, blobs: Blobs::of(database) })
    }

    /// Brings everything that sled was given to the disk itself.
    ///
    /// # Errors
    /// Those of the disk, and of sled.
    pub(in super::super) fn settle(&mut self) -> Result<(), Stop> {
        // Before the log, which names them, is on its way to the disk.
        self.blobs.sync()?;
        self.db.flush()?;
        self.file.sync_data()?;
        // And what a reader had sled write anew meanwhile.
        self.blobs.sync()?;
        Ok(())
    }
}

/// The thread that settles, and how far it is.
#[derive(Debug)]
pub(super) struct Settler {
    orders: Sender<Point>,
    done: Receiver<Result<Point, Stop>>,
    thread: JoinHandle<()>,
    asked: Point,
    settled: Point,
}

impl Settler {
    pub(super) fn begin(mut base: Base, shared: Arc<Shared>) -> Result<Self, Stop> {
        let (orders, asked) = channel::<Point>();
        let (told, done) = channel();
        let work = move || {
            while let Ok(mut point) = asked.recv() {
                while let Ok(later) = asked.try_recv() {
                    point = later;
                }
                let settled = {
                    let _flushing = shared.flushing();
                    base.settle()
                };
                let failed = settled.is_err();
                if told.send(settled.map(|()| point)).is_err() || failed {
                    // What failed to write may hang when it is dropped.
                    std::mem::forget(failed.then_some(base.db));
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("store-settler".to_owned()).spawn(work);
        let thread = thread.map_err(|e| Stop::Final(format!("no thread for the store: {e}")))?;
        Ok(Self { orders, done, thread, asked: Point::default(), settled: Point::default() })
    }

    /// How far it is.
    ///
    /// # Errors
    /// Why it does not go on.
    pub(super) fn settled(&mut self) -> Result<Point, Stop> {
        loop {
            match self.done.try_recv() {
                Ok(settled) => self.settled = settled?,
                Err(TryRecvError::Empty) => return Ok(self.settled),
                Err(TryRecvError::Disconnected) => return Err(gone()),
            }
        }
    }

    /// Has it go on up to `point` once that is `step` bytes further than it was asked for.
    pub(super) fn ask(&mut self, point: Point, step: u64) -> Result<(), Stop> {
        if point.number > self.asked.number && point.bytes.saturating_sub(self.asked.bytes) >= step
        {
            self.asked = point;
            self.orders.send(point).map_err(|_| gone())?;
        }
        Ok(())
    }

    /// Waits until it has come as far as it was asked to, or a step of that.
    pub(super) fn wait(&mut self) -> Result<(), Stop> {
        if self.settled.number < self.asked.number {
            self.settled = self.done.recv().map_err(|_| gone())??;
        }
        Ok(())
    }

    /// Ends it.
    pub(super) fn end(self) {
        drop(self.orders);
        // Its outcome was told.
        let _ = self.thread.join();
    }
}

fn gone() -> Stop {
    Stop::Final("the thread that brings the database to the disk has ended".to_owned())
}
