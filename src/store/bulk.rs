//! Storing very many keys at once, in a database that nobody is served from: its indexes are made afterwards, which is several times
//! as fast as keeping them up to date, and in the same transaction, so that nobody ever meets a table without them.

use diesel::{connection::SimpleConnection as _, prelude::*};

use super::{AnyConn, Store, StoreError, Tx, per_backend};
use crate::domain::time::Time;

#[derive(QueryableByName)]
struct Definition {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    sql: String,
}

#[derive(QueryableByName)]
struct Newest {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    seq: i64,
}

/// What is made again after the keys are in.
struct Postponed {
    /// The statements that make the indexes.
    statements: Vec<String>,
    /// The newest key that the filter's index had.
    newest: i64,
}

const SQLITE_INDEXES: &str = "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'keys' AND sql IS NOT NULL AND (type = 'index' OR name = 'keys_search_insert') ORDER BY rowid";
const POSTGRES_INDEXES: &str = "SELECT i.indexname::text AS name, i.indexdef AS sql FROM pg_indexes i WHERE i.schemaname = current_schema() AND i.tablename IN ('keys', 'keys_search') AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname) ORDER BY i.indexname";

impl Store {
    /// As [`Store::write`], with the indexes of the keys made at the end. Nobody else can write, nor on PostgreSQL read a key, meanwhile.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn bulk<T, E: From<StoreError>>(&self, now: Time, f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let value = self.write(now, |tx| {
            let postponed = postpone(tx)?;
            let value = f(tx)?;
            catch_up(tx, &postponed)?;
            Ok::<T, E>(value)
        })?;
        // SQLite's log has grown to the size of all that was written; PostgreSQL does not know yet which pages hold only rows that
        // everybody sees, and would look each of them up.
        self.read(|db| {
            let statements: &[&str] = match db.conn() {
                AnyConn::Sqlite(_) => &["PRAGMA wal_checkpoint(TRUNCATE)"],
                AnyConn::Postgres(_) => &["SET statement_timeout = 0", "VACUUM keys, keys_search", "SET statement_timeout = '5s'"],
            };
            statements.iter().try_for_each(|statement| per_backend!(db.conn(), |inner| inner.batch_execute(statement)))?;
            Ok::<(), StoreError>(())
        })?;
        Ok(value)
    }
}

fn postpone(tx: &mut Tx<'_>) -> Result<Postponed, StoreError> {
    match tx.conn() {
        AnyConn::Sqlite(inner) => inner.batch_execute("PRAGMA cache_size = -131072")?,
        AnyConn::Postgres(inner) => inner.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL maintenance_work_mem = '512MB'")?,
    }
    let newest = diesel::sql_query("SELECT CAST(coalesce(max(seq), 0) AS BIGINT) AS seq FROM keys").get_result::<Newest>(tx.conn())?.seq;
    let sql = if tx.is_postgres() { POSTGRES_INDEXES } else { SQLITE_INDEXES };
    let definitions: Vec<Definition> = diesel::sql_query(sql).load(tx.conn())?;
    for Definition { name, sql } in &definitions {
        let kind = if sql.contains("TRIGGER") { "TRIGGER" } else { "INDEX" };
        per_backend!(tx.conn(), |inner| inner.batch_execute(&format!("DROP {kind} {name}"))?);
    }
    Ok(Postponed { statements: definitions.into_iter().map(|definition| definition.sql).collect(), newest })
}

fn catch_up(tx: &mut Tx<'_>, postponed: &Postponed) -> Result<(), StoreError> {
    for statement in &postponed.statements {
        per_backend!(tx.conn(), |inner| inner.batch_execute(statement)?);
    }
    match tx.conn() {
        // The text is taken in by large portions, which leaves few pieces to put together.
        AnyConn::Sqlite(inner) => inner.batch_execute(&format!(
            "INSERT INTO keys_search (keys_search, rank) VALUES ('hashsize', 67108864);
             INSERT INTO keys_search (rowid, search) SELECT seq, search FROM keys WHERE seq > {} ORDER BY seq;
             INSERT INTO keys_search (keys_search, rank) VALUES ('hashsize', 1048576);
             PRAGMA cache_size = -8000;",
            postponed.newest
        ))?,
        AnyConn::Postgres(inner) => inner.batch_execute("ANALYZE keys, keys_search")?,
    }
    Ok(())
}
