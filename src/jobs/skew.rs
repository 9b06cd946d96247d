//! Looks every few seconds how far this machine's clock is from the database server's. Keys expire by the clock of the process
//! that is asked, so one that is far off must not be.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    clock::{Clock, Skew, uptime},
    store::{self, Store, StoreError},
};

const EVERY: Duration = Duration::from_secs(5);

/// The measurements of one process.
pub struct Measure {
    store: Store,
    clock: Clock,
    skew: Arc<Skew>,
    next: Mutex<Duration>,
}

impl Measure {
    /// Tells what it finds to `skew`.
    pub fn new(store: Store, clock: Clock, skew: Arc<Skew>) -> Self {
        Self { store, clock, skew, next: Mutex::default() }
    }

    /// Measures, if it is time to.
    ///
    /// # Errors
    /// The database is away.
    pub fn round(&self) -> Result<(), StoreError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is moved by hand says nothing about the machine.
        if uptime() < *next || !matches!(self.clock, Clock::System) {
            return Ok(());
        }
        *next = uptime() + EVERY;
        let was_large = self.skew.too_large().is_some();
        let Some(by) = self.store.read(|db| store::skew::ahead_of(db, &|| self.clock.now()))? else { return Ok(()) };
        self.skew.set(by);
        match self.skew.too_large() {
            Some(seconds) if !was_large => tracing::warn!(seconds, "this machine's clock differs from the database server's: not ready"),
            None if was_large => tracing::info!("this machine's clock agrees with the database server's again"),
            _ => {}
        }
        Ok(())
    }
}
