//! How far each job has come. Of several processes one is at a job at a time; one that died loses its hold after a while.

use chrono::Duration;
use diesel::prelude::*;

use super::{Db, StoreError, Tx, micros, moment, per_backend, schema::jobs as table};
use crate::domain::time::Time;

/// How long a process may be silent before another takes the job over.
const HOLD: Duration = Duration::minutes(2);

/// Takes a job, or keeps it; `false` while another process is at it.
///
/// # Errors
/// The database is away.
pub fn hold(tx: &mut Tx<'_>, name: &str, holder: &str) -> Result<bool, StoreError> {
    let (now, until) = (micros(tx.now()), micros(tx.now() + HOLD));
    let row = (table::name.eq(name), table::done_to.eq(0i64), table::holder.eq(""), table::held_until.eq(0i64));
    per_backend!(tx.conn(), |inner| diesel::insert_into(table::table).values(row).on_conflict_do_nothing().execute(inner))?;
    // A hold that ends too far away was taken by a clock that was ahead.
    let free = table::held_until.le(now).or(table::held_until.gt(until)).or(table::holder.eq(holder));
    let target = table::table.filter(table::name.eq(name).and(free));
    Ok(diesel::update(target).set((table::holder.eq(holder), table::held_until.eq(until))).execute(tx.conn())? == 1)
}

/// Gives a job back, done up to a moment where it came to its end.
///
/// # Errors
/// The database is away.
pub fn release(tx: &mut Tx<'_>, name: &str, holder: &str, done_to: Option<Time>) -> Result<(), StoreError> {
    let target = table::table.filter(table::name.eq(name).and(table::holder.eq(holder)));
    if let Some(done_to) = done_to {
        diesel::update(target).set(table::done_to.eq(micros(done_to))).execute(tx.conn())?;
    }
    diesel::update(target).set(table::held_until.eq(0i64)).execute(tx.conn())?;
    Ok(())
}

/// Up to when a job is done.
///
/// # Errors
/// The database is away.
pub fn done_to(db: &mut Db, name: &str) -> Result<Option<Time>, StoreError> {
    let found: Option<i64> = table::table.find(name).select(table::done_to).first(db.conn()).optional()?;
    Ok(found.map(moment))
}

/// Whether a job that is done up to one moment need not be done for another. Of two clocks that differ a little, the slow one does
/// not begin again with the day before; one that was set wrong by days does.
pub fn is_done(done_to: Time, at: Time) -> bool {
    done_to == at || (done_to > at && done_to - at <= Duration::days(1))
}
