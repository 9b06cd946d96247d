//! Takes away what the tenants keep no longer: once a day, a little at a time, so that others write in between.

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration as Span, Instant},
};

use serde_json::json;

use crate::{
    actions::By,
    clock::Clock,
    domain::{
        event::Action,
        notice::digest,
        tenant::Settings,
        time::{Time, days},
    },
    mail,
    store::{Store, StoreError, Tx, events, jobs, outbox, tenants, usage},
};

const JOB: &str = "purge";
/// How many rows go in one transaction.
const AT_A_TIME: i64 = 200;
/// How long mails are kept, in days: longer than a key can have notices for one expiry.
const MAILS: i64 = 400;

/// How many rows went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Events.
    pub events: usize,
    /// Counters of hours.
    pub usage: usize,
    /// Mails.
    pub mails: usize,
}

/// Takes away what is old.
pub struct Purge {
    store: Store,
    clock: Clock,
    name: String,
    folder: PathBuf,
    /// The day for which the files of this machine are done with.
    files: Mutex<Option<Time>>,
}

impl Purge {
    /// For a process that is known by this name, and that writes mails to files in `folder` where it has no server to send them to.
    pub fn new(store: Store, clock: Clock, name: String, folder: PathBuf) -> Self {
        Self { store, clock, name, folder, files: Mutex::default() }
    }

    /// Purges, unless that was done today, or another process is at it.
    ///
    /// # Errors
    /// The database is away; the next round goes on.
    pub fn round(&self, stopped: &AtomicBool) -> Result<Option<Purged>, StoreError> {
        let now = self.clock.now();
        let today = digest(now);
        self.files(today, now);
        let done_to = self.store.read(|db| jobs::done_to(db, JOB))?;
        if done_to.is_some_and(|done_to| jobs::is_done(done_to, today)) || !self.store.write(now, |tx| jobs::hold(tx, JOB, &self.name))? {
            return Ok(None);
        }
        let mut purged = Purged::default();
        for tenant in self.store.read(tenants::all)? {
            let retention = tenant.settings.retention;
            purged.events += self.events(tenant.id.number(), now - days(retention.events.into()), stopped)?;
            let before = now - days(retention.usage.into());
            purged.usage += self.all(stopped, |tx| usage::purge(tx, tenant.id, before, AT_A_TIME))?;
            self.all(stopped, |tx| usage::purge_days(tx, tenant.id, before, AT_A_TIME))?;
        }
        let kept = Settings::default().retention.events;
        purged.events += self.events(events::INSTALLATION, now - days(kept.into()), stopped)?;
        purged.mails = self.all(stopped, |tx| outbox::purge(tx, now - days(MAILS), AT_A_TIME))?;
        let done = (!stopped.load(Ordering::Relaxed)).then_some(today);
        self.store.write(self.clock.now(), |tx| jobs::release(tx, JOB, &self.name, done))?;
        Ok(done.map(|_| purged))
    }

    /// Files go when their mails do. Every process has a folder of its own, and looks once a day.
    fn files(&self, today: Time, now: Time) {
        let mut done = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if *done == Some(today) {
            return;
        }
        *done = Some(today);
        match mail::purge_files(&self.folder, now - days(MAILS)) {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of mails that were kept long enough are gone"),
            Err(error) => tracing::warn!(%error, folder = %self.folder.display(), "old files of mails could not be taken away"),
        }
    }

    /// Old events go from the beginning of their chain; an event says so.
    fn events(&self, chain: i64, before: Time, stopped: &AtomicBool) -> Result<usize, StoreError> {
        let count = self.all(stopped, |tx| events::purge(tx, chain, before, AT_A_TIME))?;
        if count > 0 {
            self.store.write(self.clock.now(), |tx| {
                let event = By::operator(None, tx.now()).event(Action::EventsPurged, ("", "", ""), json!({ "count": count, "before": before }));
                events::add_to(tx, chain, &event)
            })?;
        }
        Ok(count)
    }

    /// One transaction after another until nothing is left.
    fn all(&self, stopped: &AtomicBool, some: impl Fn(&mut Tx<'_>) -> Result<usize, StoreError>) -> Result<usize, StoreError> {
        let mut gone = 0;
        while !stopped.load(Ordering::Relaxed) {
            let began = Instant::now();
            let count = self.store.write(self.clock.now(), |tx| if jobs::hold(tx, JOB, &self.name)? { some(tx) } else { Ok(0) })?;
            if count == 0 {
                break;
            }
            gone += count;
            thread::sleep((began.elapsed() * 2).clamp(Span::from_millis(4), Span::from_millis(50)));
        }
        Ok(gone)
    }
}
