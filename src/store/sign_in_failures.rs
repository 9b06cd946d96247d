//! Failed sign-ins, counted by account and network, whether or not the account exists. An attempt is counted before its
//! password is looked at and taken back when it was right, so attempts in parallel gain nothing.

use chrono::Duration;
use diesel::prelude::*;

use super::{Db, StoreError, Tx, events, micros, moment, schema::sign_in_failures as table};
use crate::domain::time::{Time, days};

const WINDOW: Duration = Duration::minutes(15);
const FOR_ONE_ACCOUNT: usize = 5;
const FOR_ONE_NETWORK: usize = 20;
const A_DAY: i64 = 100;

/// Whether what failed so often refuses more: `often` failures within 15 minutes do for 15 minutes from the last.
fn refuses(newest_first: &[i64], often: usize, now: Time) -> bool {
    let (Some(last), Some(first)) = (newest_first.first(), newest_first.get(often - 1)) else { return false };
    moment(*last) - moment(*first) <= WINDOW && now < moment(*last) + WINDOW
}

/// Counts an attempt as failed until it is taken back with [`forgive`]; `None` where no attempt is allowed.
///
/// # Errors
/// The database is away.
pub fn attempt(tx: &mut Tx<'_>, email: &str, network: &str, browser_is_known: bool) -> Result<Option<i64>, StoreError> {
    // One lock for all: attempts take turns, so that none slips past the count.
    events::lock_chain(tx, events::INSTALLATION)?;
    if !may_try(tx, email, network, browser_is_known)? {
        return Ok(None);
    }
    count(tx, email, network).map(Some)
}

fn may_try(tx: &mut Tx<'_>, email: &str, network: &str, browser_is_known: bool) -> Result<bool, StoreError> {
    let now = tx.now();
    let mine = table::table.filter(table::network.eq(network).and(table::at.gt(micros(now - WINDOW * 2)))).order(table::at.desc());
    let of_account: Vec<i64> = mine.filter(table::email_canonical.eq(email)).select(table::at).limit(5).load(tx.conn())?;
    let of_network: Vec<i64> = mine.select(table::at).limit(20).load(tx.conn())?;
    if refuses(&of_account, FOR_ONE_ACCOUNT, now) || refuses(&of_network, FOR_ONE_NETWORK, now) {
        return Ok(false);
    }
    Ok(browser_is_known || in_a_day(tx, email, now)? < A_DAY)
}

/// Counts a failure.
///
/// # Errors
/// The database is away.
pub fn count(tx: &mut Tx<'_>, email: &str, network: &str) -> Result<i64, StoreError> {
    let now = micros(tx.now());
    diesel::insert_into(table::table).values((table::email_canonical.eq(email), table::network.eq(network), table::at.eq(now))).execute(tx.conn())?;
    let id: Option<i64> =
        table::table.filter(table::email_canonical.eq(email).and(table::network.eq(network))).select(diesel::dsl::max(table::id)).first(tx.conn())?;
    Ok(id.unwrap_or_default())
}

/// Takes an attempt back that was right.
///
/// # Errors
/// The database is away.
pub fn forgive(tx: &mut Tx<'_>, attempt: i64) -> Result<(), StoreError> {
    diesel::delete(table::table.find(attempt)).execute(tx.conn())?;
    Ok(())
}

/// Forgets what failed for an account from a network, once somebody has signed in to it there.
///
/// # Errors
/// The database is away.
pub fn forget(tx: &mut Tx<'_>, email: &str, network: &str) -> Result<(), StoreError> {
    diesel::delete(table::table.filter(table::email_canonical.eq(email).and(table::network.eq(network)))).execute(tx.conn())?;
    Ok(())
}

/// How often signing in to an account failed within the last hour.
///
/// # Errors
/// The database is away.
pub fn in_an_hour(db: &mut Db, email: &str, now: Time) -> Result<i64, StoreError> {
    since(db, email, now - Duration::hours(1))
}

fn in_a_day(db: &mut Db, email: &str, now: Time) -> Result<i64, StoreError> {
    since(db, email, now - days(1))
}

fn since(db: &mut Db, email: &str, since: Time) -> Result<i64, StoreError> {
    Ok(table::table.filter(table::email_canonical.eq(email).and(table::at.gt(micros(since)))).count().get_result(db.conn())?)
}

/// Forgets what no rule looks at any more.
///
/// # Errors
/// The database is away.
pub fn purge(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let oldest = micros(tx.now() - days(2));
    Ok(diesel::delete(table::table.filter(table::at.lt(oldest))).execute(tx.conn())?)
}
