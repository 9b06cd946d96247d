//! Taking mails that are due, for a while; of several senders each takes others.

use chrono::Duration;
use diesel::prelude::*;

use super::{COLUMNS, Row, RowValues, folded, readable};
use crate::{
    domain::{
        mail::{Rank, TRIED_FOR},
        time::{Time, days},
    },
    store::{AnyConn, Db, StoreError, Tx, micros, moment, schema::mails as table},
};

/// How long a sender has for a mail before another may take it.
pub const LEASE: Duration = Duration::minutes(10);

/// Takes up to `most` mails that are due, for [`LEASE`]: those of the first rank first. Of several senders each takes others. What
/// this version cannot read is left to a newer one, and given up after two days.
///
/// # Errors
/// The database is away.
pub fn take(tx: &mut Tx<'_>, sender: &str, most: i64) -> Result<Vec<Row>, StoreError> {
    let now = micros(tx.now());
    let mut ids: Vec<i64> = Vec::new();
    for rank in Rank::ALL {
        let left = most - i64::try_from(ids.len()).unwrap_or(most);
        let due = table::table.filter(table::rank.eq(rank.number()).and(table::next_at.le(now)));
        let due = due.order((table::next_at, table::id)).limit(left.max(0)).select(table::id);
        ids.extend(match tx.conn() {
            AnyConn::Sqlite(inner) => due.load::<i64>(inner)?,
            AnyConn::Postgres(inner) => due.for_update().skip_locked().load(inner)?,
        });
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let until = micros(tx.now() + LEASE);
    diesel::update(table::table.filter(table::id.eq_any(&ids))).set((table::next_at.eq(until), table::leased_by.eq(sender))).execute(tx.conn())?;
    diesel::update(table::table.filter(table::id.eq_any(&ids).and(table::taken_at.is_null()))).set(table::taken_at.eq(now)).execute(tx.conn())?;
    let rows: Vec<RowValues> =
        table::table.filter(table::id.eq_any(&ids)).order((table::rank, table::due_at, table::id)).select(COLUMNS).load(tx.conn())?;
    let rows = readable(rows);
    ids.retain(|id| !rows.iter().any(|row| row.id.0 == *id));
    if !ids.is_empty() {
        leave(tx, &ids)?;
    }
    Ok(rows)
}

/// Puts mails back that cannot be read.
fn leave(tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    let (now, next) = (tx.now(), micros(tx.now() + Duration::minutes(1)));
    let theirs = || table::table.filter(table::id.eq_any(ids));
    diesel::update(theirs()).set((table::next_at.eq(next), table::leased_by.eq(None::<String>))).execute(tx.conn())?;
    diesel::update(theirs().filter(table::due_at.lt(micros(now - days(TRIED_FOR)))))
        .set((
            (table::next_at.eq(None::<i64>), table::failed_at.eq(micros(now))),
            table::said.eq("this version of Keyward cannot read it: a newer one wrote it"),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Gives back what senders have taken, whoever they were: for the one process of an SQLite database when it starts.
///
/// # Errors
/// The database is away.
pub fn release_all(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let now = micros(tx.now());
    let taken = table::table.filter(table::leased_by.is_not_null().and(table::next_at.gt(now)));
    Ok(diesel::update(taken).set((table::next_at.eq(now), table::leased_by.eq(None::<String>))).execute(tx.conn())?)
}

/// When the next mail is due; `None` where none waits.
///
/// # Errors
/// The database is away.
pub fn next_due(db: &mut Db) -> Result<Option<Time>, StoreError> {
    let mut next: Option<i64> = None;
    // One look at the end of the index for each rank.
    for rank in Rank::ALL {
        let waiting = table::table.filter(table::rank.eq(rank.number()).and(table::next_at.is_not_null()));
        let first: Option<i64> = waiting.select(diesel::dsl::min(table::next_at)).first(db.conn())?;
        next = next.into_iter().chain(first).min();
    }
    Ok(next.map(moment))
}

/// How many mails wait, in all tenants and outside of them.
///
/// # Errors
/// The database is away.
pub fn count_waiting(db: &mut Db) -> Result<i64, StoreError> {
    Ok(table::table.filter(table::next_at.is_not_null()).count().get_result(db.conn())?)
}

/// How many mails an address got since a moment, but for those of the first rank.
///
/// # Errors
/// The database is away.
pub fn sent_since(db: &mut Db, address: &str, since: Time) -> Result<i64, StoreError> {
    Ok(table::table
        .filter(table::recipient_folded.eq(folded(address)).and(table::sent_at.ge(micros(since))))
        .filter(table::rank.gt(Rank::First.number()))
        .count()
        .get_result(db.conn())?)
}
