//! Connections: SQLite or PostgreSQL behind one type, chosen by the address.

use std::time::Duration;

use diesel::{
    Connection as _, PgConnection, QueryResult, RunQueryDsl as _, SqliteConnection,
    connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _},
    r2d2::{ManageConnection, Pool},
};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::StoreError;

/// One connection to either database.
#[derive(diesel::MultiConnection)]
pub enum AnyConn {
    /// SQLite, compiled in.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(PgConnection),
}

/// Runs the same expression on the inner connection of either database: for upserts and inserts of several rows, which the
/// derived connection cannot build.
macro_rules! per_backend {
    ($conn:expr, |$inner:ident| $body:expr) => {
        match $conn {
            $crate::store::conn::AnyConn::Sqlite($inner) => $body,
            $crate::store::conn::AnyConn::Postgres($inner) => $body,
        }
    };
}
pub(crate) use per_backend;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The path of an SQLite file.
    Sqlite(String),
    /// A `postgres://` URL.
    Postgres(String),
}

impl Address {
    /// Reads `sqlite://path` or `postgres://…`.
    ///
    /// # Errors
    /// Any other scheme.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            Ok(Self::Sqlite(path.to_owned()))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Ok(Self::Postgres(url.to_owned()))
        } else {
            Err(StoreError::Address)
        }
    }

    /// Opens one connection, ready for use.
    ///
    /// # Errors
    /// The database is away, or refuses.
    pub fn connect(&self) -> Result<AnyConn, StoreError> {
        match self {
            Self::Sqlite(path) => {
                let mut conn = SqliteConnection::establish(path).map_err(|error| StoreError::Away(error.to_string()))?;
                conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -8000; PRAGMA wal_autocheckpoint = 8000;")?;
                Ok(AnyConn::Sqlite(conn))
            }
            Self::Postgres(url) => {
                let url = with_connect_timeout(url);
                let mut conn = PgConnection::establish(&url).map_err(|error| StoreError::Away(error.to_string()))?;
                conn.batch_execute("SET statement_timeout = '5s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '30s'")?;
                Ok(AnyConn::Postgres(conn))
            }
        }
    }
}

/// libpq waits for ever unless told otherwise.
fn with_connect_timeout(url: &str) -> String {
    if url.contains("connect_timeout=") {
        return url.to_owned();
    }
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}connect_timeout=2")
}

#[derive(diesel::QueryableByName)]
struct One {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    #[allow(dead_code)]
    one: i64,
}

impl Address {
    /// Whether a pooled connection still answers.
    pub(super) fn is_valid(&self, conn: &mut AnyConn) -> Result<(), StoreError> {
        // A file does not go away; a server does.
        if matches!(conn, AnyConn::Postgres(_)) {
            diesel::sql_query("SELECT 1::bigint AS one").load::<One>(conn)?;
        }
        Ok(())
    }

    /// Whether a connection is stuck in a transaction or lost.
    pub(super) fn has_broken(&self, conn: &mut AnyConn) -> bool {
        let depth = per_backend!(conn, |inner| AnsiTransactionManager::transaction_manager_status_mut(inner).transaction_depth());
        !matches!(depth, Ok(None))
    }
}

/// A pool of connections that are opened when first needed.
pub(super) fn pool<M: ManageConnection<Error = StoreError>>(manager: M, size: u32) -> Pool<M> {
    Pool::builder().max_size(size).min_idle(Some(0)).connection_timeout(Duration::from_secs(2)).test_on_check_out(true).build_unchecked(manager)
}

/// Brings the tables up to this version.
///
/// # Errors
/// The database is newer than this program, away, or refuses.
pub(super) fn migrate(conn: &mut AnyConn) -> Result<(), StoreError> {
    fn run<B: diesel::backend::Backend, C: diesel_migrations::MigrationHarness<B>>(
        conn: &mut C,
        source: EmbeddedMigrations,
    ) -> Result<(), StoreError> {
        let known = diesel::migration::MigrationSource::<B>::migrations(&source).map_err(|error| StoreError::Migration(error.to_string()))?;
        let newest = known.iter().map(|migration| migration.name().version().as_owned()).max();
        let applied = conn.applied_migrations().map_err(|error| StoreError::Migration(error.to_string()))?;
        if applied.iter().max() > newest.as_ref() {
            return Err(StoreError::Newer);
        }
        conn.run_pending_migrations(source).map(|_| ()).map_err(|error| StoreError::Migration(error.to_string()))
    }
    match conn {
        AnyConn::Sqlite(inner) => run(inner, SQLITE),
        AnyConn::Postgres(inner) => {
            // A migration takes the time that it takes, and whoever starts meanwhile waits for it.
            inner.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock(5270349)")?;
            let done = run(inner, POSTGRES);
            inner.batch_execute("SELECT pg_advisory_unlock(5270349); SET statement_timeout = '5s'; SET lock_timeout = '5s'")?;
            done
        }
    }
}

/// Opens a transaction with this statement.
pub(super) fn begin(conn: &mut AnyConn, statement: &str) -> QueryResult<()> {
    per_backend!(conn, |inner| AnsiTransactionManager::begin_transaction_sql(inner, statement))
}

/// Commits the open transaction.
pub(super) fn commit(conn: &mut AnyConn) -> QueryResult<()> {
    per_backend!(conn, |inner| AnsiTransactionManager::commit_transaction(inner))
}

/// Rolls the open transaction back.
pub(super) fn rollback(conn: &mut AnyConn) -> QueryResult<()> {
    per_backend!(conn, |inner| AnsiTransactionManager::rollback_transaction(inner))
}
