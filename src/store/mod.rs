//! The only place that knows the database. SQLite and PostgreSQL run the same queries.
//!
//! Reading needs a [`Db`], writing a [`Tx`]. A `Tx` is one transaction: state, events and the notice of what changed are
//! committed together or not at all. Calls block: never make them on an async thread.

pub mod access;
pub mod accounts;
mod bulk;
pub mod catalogue;
mod conn;
pub mod console_roles;
pub mod event_search;
pub mod events;
pub mod extensions;
pub mod facts;
pub mod form_ids;
pub mod gateways;
pub mod grid;
pub mod installation;
pub mod jobs;
pub mod keys;
pub mod links;
pub mod member_list;
pub mod members;
pub mod notices;
pub mod outbox;
pub mod reset_requests;
pub mod resources;
pub mod schema;
pub mod sessions;
pub mod sign_in_failures;
pub mod skew;
pub mod tenants;
pub mod usage;
pub mod use_journal;

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
    time::Duration,
};

use diesel::{connection::SimpleConnection as _, prelude::*, r2d2::Pool};

pub(crate) use conn::per_backend;
pub use conn::{Address, AnyConn};
use parking_lot::FairMutex;

use crate::{
    domain::{
        ids::{KeyId, TenantId},
        time::Time,
    },
    secrets::Secrets,
};

/// Why the database did not do what was asked. What it says is for the log, never for a page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    #[error("database_url must begin with sqlite:// or postgres://")]
    Address,
    #[error("the database is away: {0}")]
    Away(String),
    #[error("the database is locked by another writer")]
    Busy,
    #[error("the outcome of a commit is unknown: {0}")]
    CommitUnknown(String),
    #[error("the database was made by a newer Keyward: install that version or restore a backup")]
    Newer,
    #[error("the tables cannot be brought up to date: {0}")]
    Migration(String),
    #[error("a row cannot be read: {0}")]
    Row(String),
    #[error(transparent)]
    Query(#[from] diesel::result::Error),
}

impl StoreError {
    /// Whether trying again later may help (503), rather than a fault of ours (500).
    pub fn is_outage(&self) -> bool {
        use diesel::result::{DatabaseErrorKind as Kind, Error};
        match self {
            Self::Away(_) | Self::Busy | Self::CommitUnknown(_) => true,
            Self::Query(
                Error::DatabaseError(Kind::ClosedConnection | Kind::SerializationFailure | Kind::UnableToSendCommand | Kind::ReadOnlyTransaction, _)
                | Error::BrokenTransactionManager,
            ) => true,
            Self::Query(Error::DatabaseError(_, info)) => {
                let text = info.message();
                [
                    "locked",
                    "busy",
                    "timeout",
                    "deadlock",
                    "disk I/O",
                    "disk is full",
                    "terminating connection",
                    "shutting down",
                    "starting up",
                    "readonly",
                ]
                .iter()
                .any(|sign| text.contains(sign))
            }
            _ => false,
        }
    }
}

/// Whether `error` says that a row like this exists already.
pub fn is_duplicate(error: &diesel::result::Error) -> bool {
    matches!(error, diesel::result::Error::DatabaseError(diesel::result::DatabaseErrorKind::UniqueViolation, _))
}

/// What a commit changed, for the memory of every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// One key.
    Key(TenantId, KeyId),
    /// Anything that many keys of a tenant depend on: its settings, members, access, gateways.
    Tenant(TenantId),
    /// So much that every memory starts anew; also what a reader takes an unknown outcome for.
    Everything,
}

/// May read.
pub struct Db {
    conn: AnyConn,
}

impl Db {
    /// The connection to run a query on.
    pub(crate) fn conn(&mut self) -> &mut AnyConn {
        &mut self.conn
    }

    /// Whether this is PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.conn, AnyConn::Postgres(_))
    }
}

/// May write: one transaction.
pub struct Tx<'a> {
    db: &'a mut Db,
    secrets: &'a Secrets,
    now: Time,
    changes: Vec<Change>,
}

impl Deref for Tx<'_> {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.db
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Db {
        self.db
    }
}

impl Tx<'_> {
    /// Notes what this transaction changes, so that no memory outlives it.
    pub fn changed(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// The moment of this transaction.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The secrets of the installation.
    pub fn secrets(&self) -> &Secrets {
        self.secrets
    }

    /// Makes writers of one tenant take turns until the commit, so that what was read stays true: limits, the last admin, the
    /// chain of events. SQLite has one writer anyway.
    ///
    /// # Errors
    /// The database is away, or another writer holds on for too long.
    pub fn lock(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        events::lock_chain(self, tenant.number())
    }
}

/// How long a writer waits for its turn: as long as SQLite's own busy timeout.
const PATIENCE: Duration = Duration::from_secs(5);

type OnCommit = dyn Fn(&[Change]) + Send + Sync;

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: Pool<Pooled>,
    address: Address,
    secrets: Arc<Secrets>,
    on_commit: Arc<OnceLock<Box<OnCommit>>>,
    /// SQLite lets one write at a time and has the others look again after pauses that grow: who writes again and again leaves them
    /// next to no moment. Here they go in the order in which they came. PostgreSQL has many writers at once.
    turns: Option<Arc<FairMutex<()>>>,
}

/// Hands out [`Db`]s.
#[derive(Debug)]
struct Pooled(Address);

impl diesel::r2d2::ManageConnection for Pooled {
    type Connection = Db;
    type Error = StoreError;

    fn connect(&self) -> Result<Db, StoreError> {
        Ok(Db { conn: self.0.connect()? })
    }

    fn is_valid(&self, db: &mut Db) -> Result<(), StoreError> {
        self.0.is_valid(&mut db.conn)
    }

    fn has_broken(&self, db: &mut Db) -> bool {
        self.0.has_broken(&mut db.conn)
    }
}

impl Store {
    /// Names the database; the first connection is made when it is needed.
    ///
    /// # Errors
    /// An address that is neither SQLite's nor PostgreSQL's.
    pub fn open(url: &str, secrets: Arc<Secrets>) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        let is_sqlite = matches!(address, Address::Sqlite(_));
        let pool = conn::pool(Pooled(address.clone()), if is_sqlite { 8 } else { 10 });
        Ok(Self { pool, address, secrets, on_commit: Arc::default(), turns: is_sqlite.then(Arc::default) })
    }

    /// The same database through `size` connections of its own, for whoever must not wait until others have done with theirs.
    #[must_use]
    pub fn apart(&self, size: u32) -> Self {
        Self { pool: conn::pool(Pooled(self.address.clone()), size), ..self.clone() }
    }

    /// Where the database is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Brings the tables up to this version.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn migrate(&self) -> Result<(), StoreError> {
        conn::migrate(&mut self.checkout()?.conn)
    }

    /// Who is told of each commit, before [`Store::write`] returns. Set once.
    pub fn on_commit(&self, tell: impl Fn(&[Change]) + Send + Sync + 'static) {
        let _ = self.on_commit.set(Box::new(tell));
    }

    fn checkout(&self) -> Result<diesel::r2d2::PooledConnection<Pooled>, StoreError> {
        self.pool.get().map_err(|error| StoreError::Away(error.to_string()))
    }

    /// Reads. Each query sees what was committed before it.
    ///
    /// # Errors
    /// What `f` returns, or the database is away.
    pub fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&mut Db) -> Result<T, E>) -> Result<T, E> {
        f(&mut *self.checkout()?)
    }

    /// Reads with every query seeing the same state of the database.
    ///
    /// # Errors
    /// What `f` returns, or the database is away.
    pub fn snapshot<T, E: From<StoreError>>(&self, f: impl FnOnce(&mut Db) -> Result<T, E>) -> Result<T, E> {
        let mut db = self.checkout()?;
        let begin = if db.is_postgres() { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { "BEGIN" };
        conn::begin(&mut db.conn, begin).map_err(StoreError::from)?;
        let result = f(&mut db);
        conn::rollback(&mut db.conn).map_err(StoreError::from)?;
        result
    }

    /// Runs `f` in one transaction and commits it, with the notice of what changed, unless `f` fails.
    ///
    /// # Errors
    /// What `f` returns (nothing is changed then), or the database is away; [`StoreError::CommitUnknown`] where nobody can say
    /// whether the commit took place.
    pub fn write<T, E: From<StoreError>>(&self, now: Time, f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        // Who waits for their turn holds no connection that others could read with.
        let _turn = self.turns.as_deref().map(|turns| turns.try_lock_for(PATIENCE).ok_or(StoreError::Busy)).transpose()?;
        let mut db = self.checkout()?;
        // A deferred SQLite transaction that reads and then writes fails at once in spite of the busy timeout.
        let begin = if db.is_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" };
        conn::begin(&mut db.conn, begin).map_err(StoreError::from)?;
        let mut tx = Tx { db: &mut db, secrets: &self.secrets, now, changes: Vec::new() };
        let result = f(&mut tx).and_then(|value| {
            write_changes(&mut tx)?;
            Ok(value)
        });
        let changes = std::mem::take(&mut tx.changes);
        match result {
            Ok(value) => {
                if let Err(error) = conn::commit(&mut db.conn) {
                    self.tell(&[Change::Everything]);
                    return Err(StoreError::CommitUnknown(error.to_string()).into());
                }
                self.tell(&changes);
                Ok(value)
            }
            Err(error) => {
                if let Err(rollback) = conn::rollback(&mut db.conn) {
                    tracing::warn!(%rollback, "a transaction could not be rolled back; its connection is dropped");
                }
                Err(error)
            }
        }
    }

    fn tell(&self, changes: &[Change]) {
        if let Some(tell) = self.on_commit.get()
            && !changes.is_empty()
        {
            tell(changes);
        }
    }
}

/// Writes the notices last, under a lock that is held until the commit, so that their order is the order of the commits: a
/// reader that has seen number n has seen all below n.
fn write_changes(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    use schema::changes::dsl;
    if tx.changes.is_empty() {
        return Ok(());
    }
    if let AnyConn::Postgres(inner) = tx.db.conn() {
        inner.batch_execute("SELECT pg_advisory_xact_lock(5270350)")?;
    }
    let at = tx.now.timestamp_micros();
    for change in tx.changes.clone() {
        let (tenant, kind, key) = match change {
            Change::Key(tenant, key) => (tenant.number(), "key", key.to_string()),
            Change::Tenant(tenant) => (tenant.number(), "tenant", String::new()),
            Change::Everything => (0, "everything", String::new()),
        };
        diesel::insert_into(dsl::changes)
            .values((dsl::tenant_id.eq(tenant), dsl::kind.eq(kind), dsl::key_id.eq(key), dsl::at.eq(at)))
            .execute(tx.conn())?;
    }
    Ok(())
}

/// The number of the newest change; 0 where there was none.
///
/// # Errors
/// The database is away.
pub fn newest_change(db: &mut Db) -> Result<i64, StoreError> {
    use schema::changes::dsl;
    Ok(dsl::changes.select(diesel::dsl::max(dsl::seq)).first::<Option<i64>>(db.conn())?.unwrap_or(0))
}

/// When the newest change was made, by the clock of who made it.
///
/// # Errors
/// The database is away.
pub fn newest_moment(db: &mut Db) -> Result<Option<Time>, StoreError> {
    use schema::changes::dsl;
    Ok(dsl::changes.select(diesel::dsl::max(dsl::at)).first::<Option<i64>>(db.conn())?.map(moment))
}

/// What changed after number `after`, with the newest number. More than 10 000 changes are told as [`Change::Everything`].
///
/// # Errors
/// The database is away.
pub fn changes_after(db: &mut Db, after: i64) -> Result<(Vec<Change>, i64), StoreError> {
    use schema::changes::dsl;
    let rows: Vec<(i64, i64, String, String)> = dsl::changes
        .filter(dsl::seq.gt(after))
        .order(dsl::seq)
        .limit(10_001)
        .select((dsl::seq, dsl::tenant_id, dsl::kind, dsl::key_id))
        .load(db.conn())?;
    if rows.len() > 10_000 {
        return Ok((vec![Change::Everything], newest_change(db)?));
    }
    let newest = rows.last().map_or(after, |row| row.0);
    let changes = rows
        .into_iter()
        .map(|(_, tenant, kind, key)| match (kind.as_str(), KeyId::parse(&key)) {
            ("key", Some(key)) => Change::Key(TenantId::from_row(tenant), key),
            ("tenant", _) => Change::Tenant(TenantId::from_row(tenant)),
            _ => Change::Everything,
        })
        .collect();
    Ok((changes, newest))
}

/// A moment as it is stored.
pub(crate) fn micros(at: Time) -> i64 {
    at.timestamp_micros()
}

/// A stored moment.
pub(crate) fn moment(micros: i64) -> Time {
    chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// Whether nobody has used this database yet: no account, no tenant.
///
/// # Errors
/// The database is away.
pub fn is_untouched(db: &mut Db) -> Result<bool, StoreError> {
    use schema::{accounts, tenants};
    let accounts: i64 = accounts::table.count().get_result(db.conn())?;
    let tenants: i64 = tenants::table.count().get_result(db.conn())?;
    Ok(accounts + tenants == 0)
}
