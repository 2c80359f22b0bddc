//! The promise put to the proof: the server under load is killed again and again on one
//! growing data directory, and everybody who was told something looks for it.
//!
//! A ledger keeps what senders and recipients heard. After every restart the whole of every
//! inbox is read and compared with it: what was acknowledged must be there, once and in
//! order, and what was marked as read must stay so. What had no answer is sent again.

mod child;
mod ledger;
mod load;
mod place;
mod reading;
mod report;
mod wire;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::child::Child;
use self::ledger::Ledger;
use self::load::Load;
pub use self::place::Place;
pub use self::report::Report;

/// How long whatever must come may take: a large store is read whole at every start.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why the proof could not be made; a broken promise is none of these, but in the report.
#[derive(Debug, thiserror::Error)]
pub enum TortureError {
    /// Something of the set-up could not be made.
    #[error("{path} cannot be made: {cause}")]
    Place {
        /// What.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The child could not be run.
    #[error("the server under test cannot be run: {0}")]
    Child(#[from] io::Error),
    /// The server does not start, or says what nobody may hear.
    #[error("{0}")]
    Broken(String),
}

/// What ends a round.
pub trait Blow {
    /// Strikes while `server` is under load, and leaves it dead.
    ///
    /// # Errors
    /// When it could not be struck.
    fn strike(&mut self, server: &mut Child) -> io::Result<()>;

    /// Whether also that counts which was acknowledged during the strike.
    fn is_sudden(&self) -> bool;
}

/// `kill -9`: what the process had handed to the system is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kill;

impl Blow for Kill {
    fn strike(&mut self, server: &mut Child) -> io::Result<()> {
        server.kill()
    }

    fn is_sudden(&self) -> bool {
        true
    }
}

/// A server under torture, with all that is known of it.
#[derive(Debug)]
pub struct Torture {
    place: Arc<Place>,
    ledger: Ledger,
    random: fastrand::Rng,
    report: Report,
}

impl Torture {
    /// Begins with an empty server in `place`; the same seed gives the same moments.
    pub fn new(place: Place, seed: u64) -> Self {
        Self {
            place: Arc::new(place),
            ledger: Ledger::default(),
            random: fastrand::Rng::with_seed(seed),
            report: Report::default(),
        }
    }

    /// What has come of it so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Starts the server, compares all of it with the ledger, and puts it under load for at
    /// most `load`, until the blow falls at a moment by chance.
    ///
    /// # Errors
    /// [`TortureError`].
    pub async fn round(&mut self, load: Duration, blow: &mut dyn Blow) -> Result<(), TortureError> {
        let round = self.report.rounds;
        self.report.rounds += 1;
        if round % 8 == 7 && blow.is_sudden() {
            self.cut_a_start_short(blow)?;
        }
        let mut server = self.start().await?;
        reading::compare(&self.place, server.address(), &self.ledger, &mut self.report).await?;
        let running = Load::begin(&self.place, server.address(), &self.ledger, &mut self.random);
        // Every fourth time before much has happened.
        let longest = if round % 4 == 3 { load.min(Duration::from_millis(60)) } else { load };
        tokio::time::sleep(longest.mul_f64(self.random.f64())).await;
        let noted = running.noted();
        // The load goes on meanwhile.
        tokio::task::block_in_place(|| blow.strike(&mut server))?;
        let (after, faults) = running.end().await?;
        self.report.note(&faults);
        self.ledger = if blow.is_sudden() { after } else { noted };
        self.report.count(&self.ledger);
        Ok(())
    }

    /// Starts a last time, has everything answered that is open, stops the server as an
    /// operator does, and compares all of it.
    ///
    /// # Errors
    /// [`TortureError`].
    pub async fn finish(&mut self) -> Result<(), TortureError> {
        let server = self.start().await?;
        let running = Load::settle(&self.place, server.address(), &self.ledger);
        let (after, faults) = running.end().await?;
        self.report.note(&faults);
        self.ledger = after;
        self.report.count(&self.ledger);
        server.stop().await?;
        let mut server = self.start().await?;
        reading::compare(&self.place, server.address(), &self.ledger, &mut self.report).await?;
        server.kill()?;
        Ok(())
    }

    async fn start(&mut self) -> Result<Child, TortureError> {
        let server = Child::start(&self.place).await?;
        self.report.longest_start = self.report.longest_start.max(server.took());
        Ok(server)
    }

    /// Strikes while the server opens what the last one left.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn cut_a_start_short(&mut self, blow: &mut dyn Blow) -> Result<(), TortureError> {
        let mut server = Child::spawn(&self.place)?;
        std::thread::sleep(Duration::from_millis(150).mul_f64(self.random.f64()));
        Ok(blow.strike(&mut server)?)
    }
}
