//! The database server's clock.

use chrono::Duration;
use diesel::RunQueryDsl as _;

use super::{Db, StoreError, conn::AnyConn, moment};
use crate::domain::time::Time;

#[derive(diesel::QueryableByName)]
struct Moment {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    at: i64,
}

/// How far the server's clock is ahead of `now`; `None` where the database is a file.
///
/// # Errors
/// The database is away.
pub fn ahead_of(db: &mut Db, now: &dyn Fn() -> Time) -> Result<Option<Duration>, StoreError> {
    if matches!(db.conn(), AnyConn::Sqlite(_)) {
        return Ok(None);
    }
    let before = now();
    let query = diesel::sql_query("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS at");
    let theirs = moment(query.get_result::<Moment>(db.conn())?.at);
    // The answer was under way for a while: the middle of it is the best guess.
    Ok(Some(theirs - (before + (now() - before) / 2)))
}
