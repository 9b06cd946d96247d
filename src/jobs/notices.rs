//! The sweep for notices: once a day, at 06:00 UTC or as soon after as a process runs, over the keys of all tenants. What it
//! finds it puts into the digests of the recipients, a little at a time, so that others write in between.
//!
//! It may die at any point, run twice, or run in several processes: a key is told of a stage once.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration as Span, Instant},
};

use chrono::Duration;

use crate::{
    clock::Clock,
    domain::{
        ids::MemberId,
        key::Life,
        mail::{Mail, Role},
        notice::{Expiring, LATEST, Stage, digest, due, next_digest},
        permission::Permission,
        tenant::GraceHistory,
        time::{Time, days},
    },
    store::{
        Store, StoreError, jobs,
        notices::{self, Candidate, Candidates},
        outbox::{self, Lines, NewMail, NewNotice, To, folded},
        tenants::{self, Tenant},
    },
};

const JOB: &str = "notices";
/// How many keys are read at a time.
const KEYS_AT_A_TIME: i64 = 500;
/// How many lines of digests are written by one statement.
const LINES_AT_A_TIME: usize = 100;
/// How long a transaction goes on with further lines: others wait so long for their turn.
const AT_A_TIME: Span = Span::from_millis(20);
/// How long the job is held before the hold is renewed, while keys are only read.
const RENEWED: Duration = Duration::seconds(30);
/// A digest whose lines do not fit into one transaction waits for the last, or so long where the process dies.
const HOLD: Duration = Duration::minutes(10);

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Keys that were looked at.
    pub keys: usize,
    /// Keys of which somebody is told.
    pub due: usize,
    /// Lines of digests, one a recipient and key.
    pub lines: usize,
}

/// Looks for notices that are due.
pub struct Sweep {
    store: Store,
    clock: Clock,
    name: String,
}

/// Lines by recipient: their folded address, then how they are written to and why.
type Digests = BTreeMap<String, Lines>;

impl Sweep {
    /// For a process that is known by this name.
    pub fn new(store: Store, clock: Clock, name: String) -> Self {
        Self { store, clock, name }
    }

    /// Sweeps, unless this day's digests are written already, or another process is at it.
    ///
    /// # Errors
    /// The database is away; the next round goes on.
    pub fn round(&self, stopped: &AtomicBool) -> Result<Option<Swept>, StoreError> {
        let now = self.clock.now();
        let at = digest(now);
        let done_to = self.store.read(|db| jobs::done_to(db, JOB))?;
        if done_to.is_some_and(|done_to| jobs::is_done(done_to, at)) || !self.keep_hold()? {
            return Ok(None);
        }
        let unfinished = next_digest(done_to.unwrap_or_default());
        let mut swept = Swept::default();
        for tenant in self.store.read(tenants::all)? {
            if tenant.suspended_at.is_some() {
                continue;
            }
            let digests = self.gather(&tenant, now, unfinished, &mut swept, stopped)?;
            let all_written = match digests {
                Some(digests) => self.write(&tenant, at, digests, &mut swept, stopped)?,
                None => false,
            };
            if !all_written || stopped.load(Ordering::Relaxed) {
                // What is missing is written by whoever comes next.
                self.store.write(self.clock.now(), |tx| jobs::release(tx, JOB, &self.name, None))?;
                return Ok(None);
            }
            self.gateways(&tenant, now)?;
        }
        self.store.write(self.clock.now(), |tx| jobs::release(tx, JOB, &self.name, Some(at)))?;
        Ok(Some(swept))
    }

    fn keep_hold(&self) -> Result<bool, StoreError> {
        self.store.write(self.clock.now(), |tx| jobs::hold(tx, JOB, &self.name))
    }

    /// Reads what is due, while the job stays ours: where another process has taken it, that one reads and writes the same. `None`
    /// then. Were both to go on, each line would still be written once: the table has it once.
    fn gather(&self, tenant: &Tenant, now: Time, unfinished: Time, swept: &mut Swept, stopped: &AtomicBool) -> Result<Option<Digests>, StoreError> {
        let (range, mut held_at) = (range(tenant, now), self.clock.now());
        let mut last = (range.0, i64::MAX);
        let mut digests = Digests::new();
        let mut known: BTreeMap<MemberId, Vec<(To, Role)>> = BTreeMap::new();
        while !stopped.load(Ordering::Relaxed) {
            if self.clock.now() - held_at >= RENEWED {
                if !self.keep_hold()? {
                    return Ok(None);
                }
                held_at = self.clock.now();
            }
            let Candidates { keys, last: Some(end) } =
                self.store.read(|db| notices::candidates(db, tenant.id, range, last, unfinished, KEYS_AT_A_TIME))?
            else {
                break;
            };
            last = end;
            swept.keys += keys.len();
            let found: Vec<(Candidate, Stage)> = keys.into_iter().filter_map(|key| stage(tenant, &key, now).map(|stage| (key, stage))).collect();
            let mut unknown: Vec<MemberId> = found.iter().map(|(key, _)| key.owner).filter(|owner| !known.contains_key(owner)).collect();
            unknown.sort_unstable();
            unknown.dedup();
            known.extend(self.store.read(|db| notices::recipients(db, tenant, &unknown))?);
            for (key, stage) in found {
                swept.due += 1;
                let extra = key.extra.iter().map(|address| (To { address: address.clone(), name: String::new() }, Role::Extra));
                let all = known.get(&key.owner).into_iter().flatten().cloned().chain(extra);
                for (to, role) in all {
                    let (_, lines) = digests.entry(folded(&to.address)).or_insert_with(|| (to, Vec::new()));
                    // Who is told for two reasons is told once, for the first.
                    if lines.last().is_none_or(|line| line.key != key.id) {
                        lines.push(NewNotice { key: key.id, stage: stage.to_string(), expires_at: key.expires_at, role });
                    }
                }
            }
        }
        Ok(Some(digests))
    }

    /// Writes the digests, several recipients a transaction; `false` where it did not come to the end.
    fn write(&self, tenant: &Tenant, at: Time, digests: Digests, swept: &mut Swept, stopped: &AtomicBool) -> Result<bool, StoreError> {
        let mut portions = portions(digests.into_values()).into_iter().peekable();
        while portions.peek().is_some() {
            let added = self.in_turn(stopped, |tx| {
                let (began, mut added) = (Instant::now(), 0);
                while began.elapsed() < AT_A_TIME {
                    let Some(portion) = portions.next() else { break };
                    added += outbox::add_digests(tx, tenant.id, at, &portion.digests)?;
                    if let ([(to, _)], Some(is_last)) = (portion.digests.as_slice(), portion.part) {
                        let until = if is_last { tx.now() } else { tx.now() + HOLD };
                        outbox::hold_digest(tx, tenant.id, to, at, until)?;
                    }
                }
                Ok(added)
            })?;
            let Some(added) = added else { return Ok(false) };
            swept.lines += added;
        }
        Ok(true)
    }

    /// One transaction of many, followed by a pause. `None` where the job is to end, or is no longer ours.
    fn in_turn<T>(&self, stopped: &AtomicBool, f: impl FnOnce(&mut crate::store::Tx<'_>) -> Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        if stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let began = Instant::now();
        let done = self.store.write(self.clock.now(), |tx| -> Result<_, StoreError> {
            if !jobs::hold(tx, JOB, &self.name)? {
                return Ok(None);
            }
            f(tx).map(Some)
        })?;
        // Two thirds of the time are for people and gateways who wait; a command beside this process finds its moment here, too.
        thread::sleep((began.elapsed() * 2).min(AT_A_TIME * 2));
        Ok(done)
    }

    /// Gateway credentials have no grace; their notices go to those who manage the settings, a mail each.
    fn gateways(&self, tenant: &Tenant, now: Time) -> Result<(), StoreError> {
        let found = self.store.read(|db| notices::expiring_gateways(db, tenant.id, range(tenant, now)))?;
        let none = GraceHistory::new(Vec::new());
        for gateway in found {
            let life = Life { expires_at: Some(gateway.expires_at), ..Life::default() };
            let facts = Expiring { life, set_at: gateway.set_at, thresholds: &tenant.settings.notice_days, grace: &none, told: None };
            let Some(stage) = due(&facts, now) else { continue };
            let mail = Mail::GatewayExpires { id: gateway.id.clone(), name: gateway.name, expires_at: gateway.expires_at };
            self.store.write(self.clock.now(), |tx| -> Result<(), StoreError> {
                for to in notices::holders(tx, tenant, Permission::SettingsManage)? {
                    let once = format!("gateway/{}/{}/{stage}/{}", gateway.id, gateway.expires_at.timestamp_micros(), folded(&to.address));
                    outbox::add(tx, &NewMail { tenant: Some(tenant.id), account: None, to: &to, mail: &mail, once: &once })?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// What is written together.
struct Portion {
    digests: Vec<Lines>,
    /// A part of one digest, and whether it is the last one.
    part: Option<bool>,
}

fn portions(digests: impl Iterator<Item = Lines>) -> Vec<Portion> {
    let (mut portions, mut some, mut size) = (Vec::new(), Vec::new(), 0);
    for (to, lines) in digests {
        if lines.len() > LINES_AT_A_TIME {
            let mut parts = lines.chunks(LINES_AT_A_TIME).peekable();
            while let Some(part) = parts.next() {
                portions.push(Portion { digests: vec![(to.clone(), part.to_vec())], part: Some(parts.peek().is_none()) });
            }
            continue;
        }
        if size + lines.len() > LINES_AT_A_TIME {
            portions.push(Portion { digests: std::mem::take(&mut some), part: None });
            size = 0;
        }
        size += lines.len();
        some.push((to, lines));
    }
    portions.push(Portion { digests: some, part: None });
    portions
}

/// The expiries that a notice may be due of.
fn range(tenant: &Tenant, now: Time) -> (Time, Time) {
    let first = tenant.settings.notice_days.iter().max().copied().unwrap_or(0);
    (now - days(LATEST), next_digest(now) + days(first.into()))
}

fn stage(tenant: &Tenant, key: &Candidate, now: Time) -> Option<Stage> {
    let life = Life { expires_at: Some(key.expires_at), ..Life::default() };
    due(&Expiring { life, set_at: key.set_at, thresholds: &tenant.settings.notice_days, grace: &tenant.grace, told: key.told }, now)
}
