//! Takes mails from the outbox and sends them, one after another, from a thread of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration as Span, Instant},
};

use chrono::Duration;

use crate::{
    actions::mail::{self as facts, Gathered},
    chance,
    clock::Clock,
    domain::{
        mail::{MOST_IN_A_DAY, Mail, Rank, TRIED_FOR, next_try},
        time::days,
        token::base62,
    },
    mail::{About, Header, Mailer, WRITTEN, write},
    secrets::Secrets,
    store::{
        Store, StoreError,
        outbox::{self, Outcome, Row},
    },
};

/// How many mails are taken at a time.
const AT_A_TIME: i64 = 10;
/// After each mail so long is left to those who wait for an answer, or as long as the mail took.
const PAUSE: Span = Span::from_millis(10);
/// How often the outbox is looked into.
const EVERY: Span = Span::from_millis(500);

/// How long after mails were taken what became of them is still written down: most of [`outbox::LEASE`].
const SETTLED_WITHIN: Span = Span::from_mins(8);
/// The same while the process ends.
const SETTLED_AT_THE_END: Span = Span::from_secs(10);

/// Sends what the outbox holds.
pub struct Post {
    store: Store,
    clock: Clock,
    secrets: Arc<Secrets>,
    mailer: Mailer,
    public_url: String,
    mail_from: String,
    name: String,
}

impl Post {
    /// A sender for this process.
    pub fn new(store: Store, clock: Clock, secrets: Arc<Secrets>, mailer: Mailer, public_url: String, mail_from: String) -> Self {
        Self { store, clock, secrets, mailer, public_url, mail_from, name: base62(16, &mut chance::fill) }
    }

    /// Sends all that is due now. Answers how many mails were dealt with.
    ///
    /// # Errors
    /// The database is away; what was taken is taken again when its lease is over.
    pub fn round(&self) -> Result<usize, StoreError> {
        self.round_until(&AtomicBool::new(false))
    }

    fn round_until(&self, stopped: &AtomicBool) -> Result<usize, StoreError> {
        let mut done = 0;
        while !stopped.load(Ordering::Relaxed) {
            let now = self.clock.now();
            if self.store.read(outbox::next_due)?.is_none_or(|at| at > now) {
                break;
            }
            let taken: Vec<Row> = self.store.write(now, |tx| outbox::take(tx, &self.name, AT_A_TIME))?;
            if taken.is_empty() {
                break;
            }
            let began = Instant::now();
            let mut rest = taken.iter();
            for row in rest.by_ref() {
                let mail_began = Instant::now();
                // A slow server may have used up the lease: what is left of it belongs to whoever takes it next.
                let late = self.clock.now() - now > outbox::LEASE / 2;
                if late || stopped.load(Ordering::Relaxed) {
                    self.settle(row, &Outcome::Later(self.clock.now()), &row.said)?;
                } else {
                    let (error, untouched) = match self.send(row).or_else(|error| self.unreadable(row, error)) {
                        Ok((outcome, said)) => (self.settle_in_time(row, &outcome, &said, began, stopped).err(), None),
                        Err(error) => (Some(error), Some(row)),
                    };
                    if let Some(error) = error {
                        for row in untouched.into_iter().chain(rest) {
                            // Where this fails, too, their lease frees them.
                            let _ = self.settle(row, &Outcome::Later(self.clock.now()), &row.said);
                        }
                        return Err(error);
                    }
                }
                done += 1;
                thread::sleep(mail_began.elapsed().min(PAUSE));
            }
        }
        Ok(done)
    }

    /// A mail that cannot be put together is tried again like one that no server takes, so that it keeps no other from leaving.
    fn unreadable(&self, row: &Row, error: StoreError) -> Result<(Outcome, String), StoreError> {
        if error.is_outage() {
            return Err(error);
        }
        tracing::error!(mail = row.id.0, %error, "a mail cannot be put together");
        let next = next_try(row.taken_at.unwrap_or(row.due_at), row.tries + 1, self.clock.now());
        Ok((next.map_or(Outcome::Failed, Outcome::Again), "it could not be put together; the log says why".to_owned()))
    }

    /// Writes down what became of a mail, again and again while the mail is surely ours: one that a server has taken and that
    /// nobody knows of would leave twice.
    fn settle_in_time(&self, row: &Row, outcome: &Outcome, said: &str, began: Instant, stopped: &AtomicBool) -> Result<(), StoreError> {
        let mut pause = Span::from_millis(100);
        loop {
            let settled = self.settle(row, outcome, said);
            let until = if stopped.load(Ordering::Relaxed) { SETTLED_AT_THE_END } else { SETTLED_WITHIN };
            match settled {
                Err(error) if began.elapsed() + pause < until => {
                    tracing::warn!(mail = row.id.0, %error, "what became of a mail could not be written down; it is tried again");
                    thread::sleep(pause);
                    pause = (pause * 2).min(Span::from_secs(5));
                }
                settled => return settled,
            }
        }
    }

    fn settle(&self, row: &Row, outcome: &Outcome, said: &str) -> Result<(), StoreError> {
        let kept = self.store.write(self.clock.now(), |tx| -> Result<_, StoreError> { outbox::settle(tx, row.id, &self.name, outcome, said) })?;
        match outcome {
            Outcome::Failed => tracing::warn!(mail = row.id.0, kind = row.mail.word(), said, "a mail was given up"),
            Outcome::Again(at) => {
                tracing::info!(mail = row.id.0, kind = row.mail.word(), said, next = %at, "a mail was not taken; it is tried again");
            }
            _ if !kept => tracing::warn!(mail = row.id.0, "a mail took so long that another process has taken it over"),
            _ => {}
        }
        Ok(())
    }

    /// Sends one mail, if it is still of use.
    fn send(&self, row: &Row) -> Result<(Outcome, String), StoreError> {
        let now = self.clock.now();
        if row.mail.useful_until().is_some_and(|until| until <= now) {
            let words = if row.said.is_empty() { "its link ran out before it could be sent".to_owned() } else { row.said.clone() };
            return Ok((Outcome::Failed, words));
        }
        let (sent, is_void, Gathered { contents, worked_out }) = self.store.read(|db| -> Result<_, StoreError> {
            let sent = outbox::sent_since(db, &row.to.address, now - days(1))?;
            Ok((sent, facts::is_void(db, &self.secrets, row, now)?, facts::gather(db, &self.secrets, row, now)?))
        })?;
        if is_void {
            return Ok((Outcome::Dropped, String::new()));
        }
        if row.mail == Mail::Digest {
            self.store.write(now, |tx| -> Result<(), StoreError> { outbox::set_shown(tx, &worked_out) })?;
            if contents.lines.is_empty() {
                return Ok((Outcome::Dropped, String::new()));
            }
        }
        // A mail has its two days from when it was first in hand, however long nobody sent anything.
        let first = row.taken_at.unwrap_or(row.due_at);
        if sent >= MOST_IN_A_DAY && row.mail.rank() > Rank::First {
            let words = format!("this address got {MOST_IN_A_DAY} mails in a day; the rest waits");
            return Ok(if now < first + days(TRIED_FOR) { (Outcome::Later(now + Duration::hours(1)), words) } else { (Outcome::Failed, words) });
        }
        let about = About { public_url: &self.public_url, name: &row.to.name, address: &row.to.address, now, hidden: false };
        let extra = contents.lines.iter().find(|(line, _)| line.for_extra).and_then(|(_, token)| token.clone());
        let header = Header {
            from: &self.mail_from,
            to: &row.to.address,
            name: &row.to.name,
            at: now,
            message_id: format!("<{}>", self.message_id(row)),
            list: self.list(contents.tenant.as_ref().map(|(slug, _)| slug.as_str()), &row.mail),
            unsubscribe: extra.map(|token| format!("{}/extend/{token}/stop", self.public_url)),
        };
        let message = match write(&row.mail, &contents, &about).message(&header) {
            Ok(message) => message,
            Err(words) => return Ok((Outcome::Failed, words)),
        };
        let name = format!("{}-{:06}-{}", row.created_at.format(WRITTEN), row.id.0, row.mail.word());
        Ok(match self.mailer.send(&message, &name) {
            Ok(said) => (Outcome::Sent, said),
            Err(refusal) if refusal.is_final => (Outcome::Failed, refusal.words),
            Err(refusal) => (next_try(first, row.tries + 1, now).map_or(Outcome::Failed, Outcome::Again), refusal.words),
        })
    }

    fn host(&self) -> &str {
        host_of(&self.public_url)
    }

    /// What names a mail for ever, so that a second arrival is known as one.
    pub fn message_id(&self, row: &Row) -> String {
        let hash = self.secrets.keyed("message-id", format!("{}/{}/{}", row.id, row.created_at.timestamp_micros(), row.to.address).as_bytes());
        let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        format!("{}.{hex}@{}", row.id, self.host())
    }

    fn list(&self, slug: Option<&str>, mail: &Mail) -> String {
        let kind = match mail {
            Mail::Digest => "notices",
            Mail::Invitation { .. } | Mail::PasswordReset { .. } | Mail::ConfirmAddress { .. } | Mail::SecurityChanged { .. } => "accounts",
            _ => "changes",
        };
        slug.map_or_else(|| format!("{kind}.keyward.{}", self.host()), |slug| format!("{kind}.{slug}.keyward.{}", self.host()))
    }

    /// Where mails become files, where no server is set.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.mailer.folder()
    }

    /// Sends from a thread of its own until it is stopped. `alone` says that no other process sends from this database, so what
    /// an earlier one had taken when it died is free.
    pub fn start(self: Arc<Self>, alone: bool) -> Running {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            let mut release = alone;
            while !seen.load(Ordering::Relaxed) {
                let freed = if release { self.store.write(self.clock.now(), outbox::release_all).map(|_| ()) } else { Ok(()) };
                release &= freed.is_err();
                if let Err(error) = freed.and_then(|()| self.round_until(&seen)) {
                    tracing::warn!(%error, "mails cannot be sent: the database does not answer");
                }
                thread::park_timeout(EVERY);
            }
        });
        Running { stopped, thread: Some(thread) }
    }
}

/// Host of a URL, without the port.
pub fn host_of(url: &str) -> &str {
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    if host.starts_with('[') { host.split_inclusive(']').next().unwrap_or(host) } else { host.split(':').next().unwrap_or(host) }
}

/// A thread that sends; it ends when this is dropped, after the mail that it is at.
pub struct Running {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
