//! Turns requests for a link to set a new password into mails: after the answer, so that its time does not tell whether an address
//! has an account. A request goes in the transaction that writes its mail, so none is lost, and none makes two.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::AtWork;
use crate::{
    actions::{By, Who, mail},
    clock::Clock,
    domain::time::days,
    store::{Store, StoreError, reset_requests},
};

/// How often requests are looked for.
const EVERY: Duration = Duration::from_millis(500);
/// After how many days nobody waits for the mail any more.
const KEPT: i64 = 1;

/// Writes the mails for forgotten passwords.
pub struct Resets {
    store: Store,
    clock: Clock,
}

impl Resets {
    /// For one process.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Deals with all requests that wait. A link lives from when its mail is written.
    ///
    /// # Errors
    /// The database is away; the next round goes on.
    pub fn round(&self) -> Result<(), StoreError> {
        self.round_until(&AtomicBool::new(false))
    }

    fn round_until(&self, stopped: &AtomicBool) -> Result<(), StoreError> {
        let mut last = 0;
        while !stopped.load(Ordering::Relaxed)
            && let Some(id) = self.store.read(|db| reset_requests::next(db, last))?
        {
            last = id;
            match self.write(id) {
                // It stays, and is tried again; it keeps no other waiting.
                Err(error) if !error.is_outage() => tracing::error!(%error, "the mail for a forgotten password could not be written"),
                done => done?,
            }
        }
        Ok(())
    }

    fn write(&self, id: i64) -> Result<(), StoreError> {
        self.store.write(self.clock.now(), |tx| {
            let Some((asked, at)) = reset_requests::take(tx, id)? else { return Ok(()) };
            if at < tx.now() - days(KEPT) {
                return Ok(());
            }
            let by = By {
                who: Who::Link("Somebody".into()),
                address: asked.address.parse().ok(),
                user_agent: asked.user_agent,
                now: tx.now(),
                session: None,
            };
            mail::start_reset(tx, &by, &asked.email)
        })
    }

    /// Works in a thread of its own until it is stopped.
    pub fn start(self: &Arc<Self>) -> AtWork {
        let resets = Arc::clone(self);
        AtWork::start(EVERY, move |stopped| resets.round_until(stopped))
    }
}
