//! The journal of uses: where much was used in a second, one row a bucket says it all, and is folded into the keys' own rows later.
//! A row is taken in the transaction that applies it, so a process that dies in between leaves it to the next, and two processes
//! never take the same one. What a row says is `verify`'s affair; whose a key is, its own row says.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Binary},
};

use super::{Db, StoreError, Tx, per_backend, schema::use_journal as table};

/// The most rows that are taken at a time.
const MOST: i64 = 600;

/// Adds rows, each of a bucket.
///
/// # Errors
/// The database is away.
pub fn add(tx: &mut Tx<'_>, rows: &[(i64, Vec<u8>)]) -> Result<(), StoreError> {
    for chunk in rows.chunks(100) {
        let rows: Vec<_> = chunk.iter().map(|(bucket, uses)| (table::bucket.eq(bucket), table::uses.eq(uses))).collect();
        per_backend!(tx.conn(), |inner| diesel::insert_into(table::table).values(&rows).execute(inner))?;
    }
    Ok(())
}

/// The first bucket after `last` that has rows, or the first of all.
///
/// # Errors
/// The database is away.
pub fn next(db: &mut Db, last: i64) -> Result<Option<i64>, StoreError> {
    let first = || table::table.select(table::bucket).order(table::bucket).limit(1);
    match first().filter(table::bucket.gt(last)).first(db.conn()).optional()? {
        Some(bucket) => Ok(Some(bucket)),
        None => Ok(first().first(db.conn()).optional()?),
    }
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Binary)]
    uses: Vec<u8>,
}

/// Takes away the oldest rows of a bucket, but those that another process is taking. Answers them, oldest first.
///
/// # Errors
/// The database is away.
pub fn take(tx: &mut Tx<'_>, bucket: i64) -> Result<Vec<Vec<u8>>, StoreError> {
    let skip = if tx.is_postgres() { "FOR UPDATE SKIP LOCKED" } else { "" };
    let sql = format!(
        "DELETE FROM use_journal WHERE id IN (SELECT id FROM use_journal WHERE bucket = {bucket} ORDER BY id LIMIT {MOST} {skip}) RETURNING id, uses"
    );
    let mut rows: Vec<Taken> = diesel::sql_query(sql).load(tx.conn())?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows.into_iter().map(|row| row.uses).collect())
}
