//! The hot path: may this request pass?
//!
//! A token is checked, its key's facts are found in memory (or read), its HMAC is made once, and `domain::verdict` decides; then
//! the decision is counted. Nothing is written on the way. The memory obeys each commit of this process before the commit's
//! caller hears of it, and those of others through the table of changes, read every 250 ms. A process that could not read it for
//! `max_staleness` does not answer.

mod explain;
mod journal;
mod look_ups;
mod memory;
mod tally;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Condvar, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

pub use explain::{Explanation, explain, find_by_token};
use look_ups::LookUps;
pub use memory::{Access, Entry, Gateway, Owner, Tenant};
use memory::{Budget, Exists, Keys, KnownIds, Learnt, Tenants, Unknown, lock, read, write};
use tally::{LastUse, Tally};

use crate::{
    clock::{Clock, uptime},
    domain::{
        access::{KeyAccess, effective_scopes},
        ids::{AccessRoleId, KeyId, TenantId},
        names::Scopes,
        time::Time,
        token::{Purpose, SecretHash, Token},
        verdict::{self, Code, Presented, Request, Verdict},
    },
    secrets::Secrets,
    store::{
        self, Address, Change, Store, StoreError,
        facts::{self, Mark},
    },
};

/// How often the table of changes is read.
const READ_CHANGES: Duration = Duration::from_millis(250);

/// How often the tallies are written down.
const WRITE_TALLIES: Duration = Duration::from_secs(1);

/// How many unknown IDs and wrong secrets are looked up in a second where other processes may have made them.
const LOOK_UPS_A_SECOND: u64 = 500;

/// How many refused callers are logged in a second.
const LOG_LINES_A_SECOND: u64 = 10;

/// How many IDs are learnt at a time.
const IDS_AT_A_TIME: i64 = 20_000;

/// No answer can be given that is sure to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("verification is not sure of its facts: the database is away")]
pub struct Unavailable;

impl From<StoreError> for Unavailable {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "facts for verification cannot be read");
        Self
    }
}

/// What is asked of a token.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The token; `None` where none or more than one was presented.
    pub token: Option<&'a str>,
    /// What is asked besides the secret.
    pub request: &'a Request<'a>,
    /// A scope was asked that nothing can hold, since it is none.
    pub impossible_scope: bool,
    /// A resource was asked that nothing can cover, since it is none.
    pub impossible_resource: bool,
}

/// The decision, with the facts it was made from where the secret matched.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The verdict.
    pub verdict: Verdict,
    /// The key, once the secret matched.
    pub key: Option<(KeyId, Arc<Entry>)>,
}

/// Where the memory is used from, and how large it may get.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How old the last reading of the table of changes may be.
    pub max_staleness: Duration,
    /// About how many bytes the memory may take.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_staleness: Duration::from_secs(5), memory: 512 << 20 }
    }
}

/// Decides for gateways and programs.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    store: Store,
    /// The connection that reads the changes, and those for look-ups: however long the console's wait for a writer, these do not.
    reader_store: Store,
    look_up_store: Store,
    secrets: Arc<Secrets>,
    clock: Clock,
    limits: Limits,
    /// Other processes make keys in this database.
    shared: bool,
    keys: Keys,
    tenants: Tenants,
    gateways: RwLock<HashMap<KeyId, Arc<Gateway>, foldhash::quality::RandomState>>,
    ids: KnownIds,
    unknown: Unknown,
    look_ups: Budget,
    look_ups_waiting: Arc<LookUps>,
    log_lines: Budget,
    reads: AtomicU64,
    tally: Tally,
    /// Moves with every change that is obeyed. What was read before it moved is not kept.
    epoch: AtomicU64,
    keeping: RwLock<()>,
    /// Milliseconds of `uptime` when the changes were last read; 0 before the first time.
    confirmed: AtomicU64,
    reader: Mutex<Reader>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    cut_off: AtomicBool,
    counts: AtomicBool,
}

impl Inner {
    fn stop_threads(&self) {
        *lock(&self.stop.0) = true;
        self.stop.1.notify_all();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop_threads();
        self.look_ups_waiting.close();
        if let Err(error) = self.tally.write_down(&self.store, self.clock.now()) {
            tracing::warn!(%error, "the use of the last second was not written down");
        }
    }
}

/// What the reader of the changes knows.
#[derive(Default)]
struct Reader {
    started: bool,
    seen: i64,
    mark: Option<Mark>,
    lost_contact: bool,
    ids: Ids,
}

/// How far the IDs have been learnt.
#[derive(Default)]
struct Ids {
    /// The number of the newest key when learning began, then of the newest one learnt.
    newest: Option<i64>,
    /// The ID that the first pass has come to; `None` when it is done.
    pass: Option<String>,
    done: bool,
}

enum Look {
    Match(KeyId, Arc<Entry>, Presented, SecretHash),
    NoMatch,
    /// Only the database can tell.
    Unsure(KeyId),
}

impl Verifier {
    /// Remembers nothing yet, and answers nothing until [`Verifier::start`].
    pub fn new(store: Store, secrets: Arc<Secrets>, clock: Clock, limits: Limits) -> Self {
        let shared = matches!(store.address(), Address::Postgres(_));
        Self(Arc::new(Inner {
            reader_store: store.apart(1),
            look_up_store: store.apart(if shared { 6 } else { 4 }),
            store,
            secrets,
            clock,
            limits,
            shared,
            keys: Keys::new(limits.memory),
            tenants: Tenants::default(),
            gateways: RwLock::default(),
            ids: KnownIds::new(),
            unknown: Unknown::new(),
            look_ups: Budget::new(LOOK_UPS_A_SECOND),
            look_ups_waiting: Arc::default(),
            log_lines: Budget::new(LOG_LINES_A_SECOND),
            reads: AtomicU64::new(0),
            tally: Tally::default(),
            epoch: AtomicU64::new(1),
            keeping: RwLock::new(()),
            confirmed: AtomicU64::new(0),
            reader: Mutex::default(),
            stop: Arc::default(),
            cut_off: AtomicBool::new(false),
            counts: AtomicBool::new(true),
        }))
    }

    /// Obeys every commit of this process before the call that made it returns.
    pub fn obey_commits(&self) {
        let inner = Arc::downgrade(&self.0);
        self.0.store.on_commit(move |changes| {
            if let Some(inner) = inner.upgrade() {
                Self(inner).obey(changes);
            }
        });
    }

    /// Reads the changes for the first time, then goes on reading them and writing the tallies down, each on a thread of its own:
    /// neither waits for a request, and no request waits for them. A database that is away now may come later.
    pub fn start(&self) {
        // The IDs are learnt afterwards: nothing waits for them.
        self.catch_up(&mut lock(&self.0.reader));
        self.each("changes", READ_CHANGES, Self::confirm);
        self.each("tallies", WRITE_TALLIES, Self::write_tallies);
    }

    /// Stops both threads and writes down what is left.
    pub fn stop(&self) {
        self.0.stop_threads();
        if let Err(error) = self.0.tally.finish(&self.0.store, self.0.clock.now()) {
            tracing::warn!(%error, "the use of the last second was not written down");
        }
    }

    /// Does `work` after each pause, on a thread that ends with this verifier.
    fn each(&self, name: &str, pause: Duration, work: fn(&Self)) {
        let (this, stop) = (Arc::downgrade(&self.0), Arc::clone(&self.0.stop));
        let run = move || loop {
            let waited = stop.1.wait_timeout_while(lock(&stop.0), pause, |stopped| !*stopped);
            if *waited.unwrap_or_else(std::sync::PoisonError::into_inner).0 {
                return;
            }
            match this.upgrade() {
                Some(inner) => work(&Self(inner)),
                None => return,
            }
        };
        if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(run) {
            tracing::error!(%error, "no thread for verification");
        }
    }

    /// Writes the tallies down now.
    pub fn write_tallies(&self) {
        if let Err(error) = self.0.tally.write_down(&self.0.store, self.0.clock.now()) {
            tracing::warn!(%error, "use and counters are kept in memory until they can be written");
        }
    }

    /// Obeys changes: what rests on them is forgotten, and what is being read at this moment is not kept.
    pub fn obey(&self, changes: &[Change]) {
        let inner = &*self.0;
        let _alone = write(&inner.keeping);
        inner.epoch.fetch_add(1, Ordering::AcqRel);
        for change in changes {
            match change {
                Change::Key(_, id) => {
                    inner.keys.remove(id);
                    inner.ids.add([id.as_str()].into_iter());
                }
                Change::Tenant(tenant) => {
                    inner.tenants.drop_one(*tenant);
                    inner.ids.fall_behind();
                }
                Change::Everything => {
                    inner.tenants.drop_all();
                    inner.ids.fall_behind();
                }
            }
        }
    }

    /// Reads what others changed, and obeys it; then learns some more of the IDs that exist.
    pub fn confirm(&self) {
        let mut reader = lock(&self.0.reader);
        if self.catch_up(&mut reader)
            && let Err(error) = self.learn_ids(&mut reader.ids)
        {
            tracing::warn!(%error, "the IDs of keys cannot be read");
        }
    }

    /// Whether the changes could be read.
    fn catch_up(&self, reader: &mut Reader) -> bool {
        if self.0.cut_off.load(Ordering::Acquire) {
            reader.lost_contact = true;
            return false;
        }
        let began = uptime();
        match self.read_changes(reader) {
            Ok(()) => {
                reader.lost_contact = false;
                let millis = u64::try_from(began.as_millis()).unwrap_or(u64::MAX);
                self.0.confirmed.store(millis.max(1), Ordering::Release);
                true
            }
            Err(error) => {
                if !reader.lost_contact {
                    tracing::warn!(%error, "changes cannot be read; verification stops answering after max_staleness");
                }
                reader.lost_contact = true;
                false
            }
        }
    }

    fn read_changes(&self, reader: &mut Reader) -> Result<(), StoreError> {
        let (from, first) = (reader.seen, !reader.started);
        let check = if reader.lost_contact && reader.started { Some(reader.mark.clone()) } else { None };
        let (changes, newest, mark) = self.0.reader_store.read(|db| -> Result<_, StoreError> {
            if first {
                let newest = store::newest_change(db)?;
                return Ok((vec![Change::Everything], newest, facts::mark(db, newest)?));
            }
            // After a fail-over the numbers may name other changes than before.
            if let Some(mark) = check
                && (mark != facts::mark(db, from)? || store::newest_change(db)? < from)
            {
                let newest = store::newest_change(db)?;
                return Ok((vec![Change::Everything], newest, facts::mark(db, newest)?));
            }
            let (changes, newest) = store::changes_after(db, from)?;
            let mark = if changes.is_empty() { None } else { facts::mark(db, newest)? };
            Ok((changes, newest, mark))
        })?;
        if !changes.is_empty() {
            self.obey(&changes);
            reader.mark = mark;
        }
        reader.seen = newest;
        reader.started = true;
        Ok(())
    }

    /// Learns which IDs exist, some at a time, so that an unknown one is refused without reading.
    fn learn_ids(&self, ids: &mut Ids) -> Result<(), StoreError> {
        let inner = &*self.0;
        let began = uptime();
        while inner.ids.learnt() != Learnt::All && uptime().saturating_sub(began) < Duration::from_millis(100) {
            let Some(newest) = ids.newest else {
                ids.newest = Some(inner.reader_store.read(facts::newest_key)?);
                continue;
            };
            if !ids.done {
                let after = ids.pass.clone().unwrap_or_default();
                let learnt = inner.reader_store.read(|db| facts::key_ids_after(db, &after, IDS_AT_A_TIME))?;
                inner.ids.add(learnt.iter().map(String::as_str));
                ids.done = learnt.is_empty();
                ids.pass = learnt.into_iter().last();
                continue;
            }
            let epoch = inner.epoch.load(Ordering::Acquire);
            let gateways = inner.reader_store.read(facts::gateway_ids)?;
            inner.ids.add(gateways.iter().map(String::as_str));
            let learnt = inner.reader_store.read(|db| facts::key_ids_made_after(db, newest, IDS_AT_A_TIME))?;
            inner.ids.add(learnt.iter().map(|(_, id)| id.as_str()));
            match learnt.last() {
                Some((newest, _)) => ids.newest = Some(*newest),
                None => {
                    let _alone = write(&inner.keeping);
                    let unchanged = inner.epoch.load(Ordering::Acquire) == epoch;
                    inner.ids.set_learnt(if unchanged { Learnt::All } else { Learnt::Most });
                }
            }
        }
        Ok(())
    }

    /// Whether the last reading of the changes is young enough to answer from memory.
    pub fn is_fresh(&self) -> bool {
        let confirmed = self.0.confirmed.load(Ordering::Acquire);
        confirmed > 0 && uptime().saturating_sub(Duration::from_millis(confirmed)) < self.0.limits.max_staleness
    }

    /// How often the database was read for a request since the start.
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// How many keys are in memory.
    pub fn remembered(&self) -> usize {
        self.0.keys.len()
    }

    /// Whether every ID that exists has been learnt.
    pub fn knows_all_ids(&self) -> bool {
        self.0.ids.learnt() == Learnt::All
    }

    /// For tests: behaves as if the table of changes could not be read any more, or again.
    #[doc(hidden)]
    pub fn cut_off(&self, cut_off: bool) {
        self.0.cut_off.store(cut_off, Ordering::Release);
    }

    /// For the benchmark of its cost: whether decisions are counted.
    #[doc(hidden)]
    pub fn count(&self, counts: bool) {
        self.0.counts.store(counts, Ordering::Relaxed);
    }

    /// The gateway credential that this token is, if it opens the verify calls; the caller's address is remembered either way.
    ///
    /// # Errors
    /// The facts are too old, or cannot be read.
    pub async fn gateway(&self, token: Option<&str>, from: Option<IpAddr>) -> Result<Option<Arc<Gateway>>, Unavailable> {
        if !self.is_fresh() {
            return Err(Unavailable);
        }
        let Some((token, id)) = token.and_then(|token| Some((token, Token::check(Purpose::Gateway, token)?))) else {
            self.log_refused(None, from, "a verify call without a well-formed gateway credential");
            return Ok(None);
        };
        let inner = &*self.0;
        let mut gateway = read(&inner.gateways).get(&id).filter(|gateway| !gateway.tenant.is_stale()).cloned();
        let mut now = inner.clock.now();
        let mut is_admitted = gateway.as_ref().is_some_and(|gateway| gateway.admits(&inner.secrets, token, now));
        if !is_admitted && self.must_read(id, token, gateway.is_some()) {
            let (this, owned) = (self.clone(), token.to_owned());
            gateway = tokio::task::spawn_blocking(move || this.read_gateway(id, &owned)).await.map_err(|_| Unavailable)??;
            now = inner.clock.now();
            is_admitted = gateway.as_ref().is_some_and(|gateway| gateway.admits(&inner.secrets, token, now));
        }
        match gateway {
            Some(gateway) if is_admitted => {
                if inner.counts.load(Ordering::Relaxed) {
                    inner.tally.gateway_asked(gateway.id, now, from);
                }
                Ok(Some(gateway))
            }
            Some(gateway) => {
                self.log_refused(Some(id), from, "a gateway credential was refused");
                inner.tally.gateway_refused(gateway.id, now, from);
                Ok(None)
            }
            None => {
                self.log_refused(Some(id), from, "a gateway credential is unknown");
                Ok(None)
            }
        }
    }

    fn log_refused(&self, id: Option<KeyId>, from: Option<IpAddr>, words: &str) {
        if self.0.log_lines.take(uptime()) {
            tracing::warn!(?id, ?from, "{words}");
        }
    }

    fn read_gateway(&self, id: KeyId, token: &str) -> Result<Option<Arc<Gateway>>, Unavailable> {
        let inner = &*self.0;
        let epoch = inner.epoch.load(Ordering::Acquire);
        inner.reads.fetch_add(1, Ordering::Relaxed);
        let gateway = inner.look_up_store.read(|db| -> Result<_, StoreError> {
            let Some(stored) = facts::gateway(db, id)? else { return Ok(None) };
            let tenant = self.tenant(db, stored.tenant, epoch)?;
            Ok(Some(Arc::new(Gateway { id: stored.id, tenant, stored })))
        })?;
        let admitted = gateway.as_ref().is_some_and(|gateway| gateway.admits(&inner.secrets, token, inner.clock.now()));
        self.keep(epoch, || {
            if !admitted {
                inner.unknown.insert(token, epoch);
            }
            if let Some(gateway) = &gateway {
                write(&inner.gateways).insert(id, Arc::clone(gateway));
            }
        });
        Ok(gateway)
    }

    /// Decides, and counts the decision. Another tenant's key is nobody's.
    ///
    /// # Errors
    /// The facts are too old, or cannot be read.
    pub async fn verify(&self, tenant: TenantId, question: &Question<'_>) -> Result<Answer, Unavailable> {
        let refused = Answer { verdict: Verdict { code: Code::NotFound, grace: None }, key: None };
        if !self.is_fresh() {
            return Err(Unavailable);
        }
        let Some((token, id)) = question.token.and_then(|token| Some((token, Token::check(Purpose::Key, token)?))) else {
            return Ok(refused);
        };
        let look = match self.look(id, token) {
            Look::Unsure(id) => self.ask_database(id, token).await?,
            look => look,
        };
        let Look::Match(id, key, presented, hash) = look else { return Ok(refused) };
        if key.tenant.id != tenant {
            return Ok(refused);
        }
        let now = self.0.clock.now();
        let mut verdict = verdict::decide(&key.tenant.facts, &key.facts(), presented, question.request, now);
        if question.impossible_resource && (verdict.code.is_accepted() || verdict.code == Code::InsufficientScope) {
            verdict = Verdict { code: Code::ResourceDenied, grace: None };
        }
        if question.impossible_scope && verdict.code.is_accepted() {
            verdict = Verdict { code: Code::InsufficientScope, grace: None };
        }
        if !self.0.counts.load(Ordering::Relaxed) {
            return Ok(Answer { verdict, key: Some((id, key)) });
        }
        if verdict.code.is_accepted() {
            let first = presented == Presented::Current && key.is_first_use();
            self.0.tally.accepted(id, &key, LastUse { hash, at: now, ip: question.request.ip }, first);
        } else {
            self.0.tally.refused(id, &key, now);
        }
        Ok(Answer { verdict, key: Some((id, key)) })
    }

    /// What memory says of a token.
    fn look(&self, id: KeyId, token: &str) -> Look {
        let inner = &*self.0;
        if let Some(entry) = inner.keys.get(&id) {
            return match entry.compare(&inner.secrets, token) {
                Some((presented, hash)) => Look::Match(id, entry, presented, hash),
                None if self.must_read(id, token, true) => Look::Unsure(id),
                None => Look::NoMatch,
            };
        }
        if self.must_read(id, token, false) {
            return Look::Unsure(id);
        }
        // As much work as for an ID that exists.
        let presented = SecretHash(inner.secrets.keyed("nobody", token.as_bytes()));
        std::hint::black_box(presented.matches(&SecretHash([0; 32])));
        Look::NoMatch
    }

    /// Whether the database is asked about a token that memory does not accept: about an ID that exists always, about one that can
    /// only have been made a moment ago, by another process or command, so many times a second, about one that cannot exist never,
    /// and about no token twice until something changes. A wrong secret can be right only where other processes make keys.
    fn must_read(&self, id: KeyId, token: &str, is_wrong_secret: bool) -> bool {
        let inner = &*self.0;
        let exists = if is_wrong_secret { Exists::No } else { inner.ids.exists(id.as_str()) };
        if exists == Exists::No && !inner.shared {
            return false;
        }
        !inner.unknown.holds(token, inner.epoch.load(Ordering::Acquire)) && (exists == Exists::Maybe || inner.look_ups.take(uptime()))
    }

    /// What the database says of a token. Facts that something changed while they were read are read again.
    fn look_up(&self, id: KeyId, token: &str) -> Result<Look, Unavailable> {
        let inner = &*self.0;
        let mut look = Look::NoMatch;
        for _ in 0..3 {
            let epoch = inner.epoch.load(Ordering::Acquire);
            inner.reads.fetch_add(1, Ordering::Relaxed);
            let entry = inner.look_up_store.read(|db| self.entry(db, id, epoch))?;
            let matched = entry.as_ref().and_then(|entry| entry.compare(&inner.secrets, token));
            look = match (&entry, matched) {
                (Some(entry), Some((presented, hash))) => Look::Match(id, Arc::clone(entry), presented, hash),
                _ => Look::NoMatch,
            };
            let kept = self.keep(epoch, || {
                if matched.is_none() {
                    inner.unknown.insert(token, epoch);
                }
                if let Some(entry) = entry {
                    inner.ids.add([id.as_str()].into_iter());
                    inner.keys.insert(id, entry);
                }
            });
            if kept {
                break;
            }
        }
        Ok(look)
    }

    /// Keeps what was read, unless something was changed since `epoch`.
    fn keep(&self, epoch: u64, keep: impl FnOnce()) -> bool {
        let _no_change = read(&self.0.keeping);
        let unchanged = self.0.epoch.load(Ordering::Acquire) == epoch;
        if unchanged {
            keep();
        }
        unchanged
    }

    fn tenant(&self, db: &mut store::Db, id: TenantId, epoch: u64) -> Result<Arc<Tenant>, StoreError> {
        if let Some(tenant) = self.0.tenants.get(id) {
            return Ok(tenant);
        }
        let mut tenant = Arc::new(Tenant::new(&store::tenants::get(db, id)?));
        self.keep(epoch, || tenant = self.0.tenants.insert(Arc::clone(&tenant)));
        Ok(tenant)
    }

    fn entry(&self, db: &mut store::Db, id: KeyId, epoch: u64) -> Result<Option<Arc<Entry>>, StoreError> {
        let Some(stored) = facts::key(db, id)? else { return Ok(None) };
        let tenant = self.tenant(db, stored.tenant, epoch)?;
        let owner = match tenant.owner(stored.owner) {
            Some(owner) => owner,
            None => match facts::owner(db, stored.tenant, stored.owner)? {
                Some(owner) => {
                    let mut scopes = Scopes::new();
                    for role in owner.roles {
                        scopes.extend(role_of(db, &tenant, role)?.iter().flat_map(|held| held.iter().cloned()));
                    }
                    let access = tenant.access(scopes, owner.resources);
                    tenant.remember_owner(Owner { id: stored.owner, active: owner.active, email: owner.email.map(Into::into), access })
                }
                None => return Ok(None),
            },
        };
        let role = match stored.access {
            KeyAccess::Role(role) => role_of(db, &tenant, role)?,
            _ => None,
        };
        let scopes = effective_scopes(&stored.access, role.as_deref(), &owner.access.scopes);
        let resources = stored.resources.cut_to(&owner.access.resources);
        let access = tenant.access(scopes, resources);
        Ok(Some(Arc::new(Entry::new(&stored, tenant, owner, access))))
    }

    /// The moment by this verifier's clock.
    pub fn now(&self) -> Time {
        self.0.clock.now()
    }
}

/// The scopes of an access role of the tenant, which are read once; `None` where it is gone.
fn role_of(db: &mut store::Db, tenant: &Tenant, id: AccessRoleId) -> Result<Option<Arc<Scopes>>, StoreError> {
    if let Some(scopes) = tenant.role(id) {
        return Ok(Some(scopes));
    }
    Ok(store::access::role(db, tenant.id, id)?.map(|found| tenant.remember_role(id, found.scopes)))
}
