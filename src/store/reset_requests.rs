//! Requests for a link to set a new password, from the answer to the mail. One is written for every address that somebody enters,
//! so that neither the answer nor its time tells which of them have an account.

use diesel::prelude::*;

use super::{Db, StoreError, Tx, micros, moment, per_backend, schema::reset_requests as table};
use crate::domain::time::Time;

/// How many may wait: more are made only by a flood, or while no process writes mails.
const MOST: i64 = 200;

/// What was asked for, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The address that was entered, folded.
    pub email: String,
    /// The client's network address; may be empty.
    pub address: String,
    /// The client's user agent; may be empty.
    pub user_agent: String,
}

/// Keeps a request; `false` where too many wait already.
///
/// # Errors
/// The database is away.
pub fn add(tx: &mut Tx<'_>, asked: &Asked) -> Result<bool, StoreError> {
    let waiting: i64 = table::table.count().get_result(tx.conn())?;
    if waiting >= MOST {
        return Ok(false);
    }
    let what = (table::email.eq(&asked.email), table::address.eq(&asked.address), table::user_agent.eq(&asked.user_agent));
    diesel::insert_into(table::table).values((what, table::at.eq(micros(tx.now())))).execute(tx.conn())?;
    Ok(true)
}

/// The number of the first request after another.
///
/// # Errors
/// The database is away.
pub fn next(db: &mut Db, last: i64) -> Result<Option<i64>, StoreError> {
    Ok(table::table.filter(table::id.gt(last)).select(table::id).order(table::id).first(db.conn()).optional()?)
}

/// Takes a request away. Answers it and when it was made; `None` where another process has taken it.
///
/// # Errors
/// The database is away.
pub fn take(tx: &mut Tx<'_>, id: i64) -> Result<Option<(Asked, Time)>, StoreError> {
    let taken: Option<(String, String, String, i64)> = per_backend!(tx.conn(), |inner| diesel::delete(table::table.find(id))
        .returning((table::email, table::address, table::user_agent, table::at))
        .get_result(inner)
        .optional())?;
    Ok(taken.map(|(email, address, user_agent, at)| (Asked { email, address, user_agent }, moment(at))))
}
