//! What happens by itself. Each job does one round when it is asked to; `serve` asks again and again, tests by hand.

pub mod deliver;
pub mod notices;
pub mod purge;
pub mod resets;
pub mod skew;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    chance,
    clock::{Clock, Skew},
    domain::token::base62,
    store::{Store, StoreError},
};

/// How often a job is asked whether there is something to do.
const EVERY: Duration = Duration::from_secs(1);

/// The jobs that look at a whole database, one after another.
pub struct Timetable {
    sweep: notices::Sweep,
    purge: purge::Purge,
    skew: skew::Measure,
}

impl Timetable {
    /// For one process, which hears in `skew` how far its clock is off, and may write mails to files in `folder`.
    pub fn new(store: Store, clock: Clock, skew: Arc<Skew>, folder: PathBuf) -> Self {
        let name = base62(16, &mut chance::fill);
        let sweep = notices::Sweep::new(store.clone(), clock.clone(), name.clone());
        let skew = skew::Measure::new(store.clone(), clock.clone(), skew);
        Self { sweep, purge: purge::Purge::new(store, clock, name, folder), skew }
    }

    /// Does all that is due now.
    ///
    /// # Errors
    /// The database is away; the next round goes on.
    pub fn round(&self) -> Result<(), StoreError> {
        self.round_until(&AtomicBool::new(false))
    }

    fn round_until(&self, stopped: &AtomicBool) -> Result<(), StoreError> {
        self.skew.round()?;
        if let Some(swept) = self.sweep.round(stopped)? {
            tracing::info!(keys = swept.keys, due = swept.due, lines = swept.lines, "the digests of this day are written");
        }
        if let Some(purged) = self.purge.round(stopped)? {
            tracing::info!(events = purged.events, usage = purged.usage, mails = purged.mails, "what was kept long enough is gone");
        }
        Ok(())
    }

    /// Works in a thread of its own until it is stopped.
    pub fn start(self: &Arc<Self>) -> AtWork {
        let timetable = Arc::clone(self);
        AtWork::start(EVERY, move |stopped| timetable.round_until(stopped))
    }
}

/// A thread that works; it ends when this is dropped, after the transaction that it is at.
pub struct AtWork {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AtWork {
    /// Does a round, again and again, with a pause after each.
    fn start(pause: Duration, round: impl Fn(&AtomicBool) -> Result<(), StoreError> + Send + 'static) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                if let Err(error) = round(&seen) {
                    tracing::warn!(%error, "a job could not go on: the database does not answer");
                }
                thread::park_timeout(pause);
            }
        });
        Self { stopped, thread: Some(thread) }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
