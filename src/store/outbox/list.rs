//! What the Mail pages show, of a tenant or of the installation, and *Send again*.

use diesel::prelude::*;

use super::{COLUMNS, Row, RowValues, State, readable, row};
use crate::{
    domain::{
        ids::{MailId, TenantId},
        time::Time,
    },
    store::{AnyConn, Db, StoreError, Tx, installation::InstallationReach, micros, schema::mails as table},
};

type Mails = table::BoxedQuery<'static, <AnyConn as diesel::Connection>::Backend>;

/// The mails of a tenant, or those of none.
fn of(tenant: Option<TenantId>) -> Mails {
    match tenant {
        Some(tenant) => table::table.filter(table::tenant_id.eq(tenant.number())).into_boxed(),
        None => table::table.filter(table::tenant_id.is_null()).into_boxed(),
    }
}

/// The mails of a tenant, newest first: of one state where one is named, older than `before`.
///
/// # Errors
/// The database is away.
pub fn list(db: &mut Db, tenant: TenantId, state: Option<State>, before: Option<MailId>, most: i64) -> Result<Vec<Row>, StoreError> {
    list_of(db, Some(tenant), state, before, most)
}

/// As [`list`], for the mails that belong to no tenant.
///
/// # Errors
/// The database is away.
pub fn list_of_installation(
    db: &mut Db,
    _: &InstallationReach,
    state: Option<State>,
    before: Option<MailId>,
    most: i64,
) -> Result<Vec<Row>, StoreError> {
    list_of(db, None, state, before, most)
}

fn list_of(db: &mut Db, tenant: Option<TenantId>, state: Option<State>, before: Option<MailId>, most: i64) -> Result<Vec<Row>, StoreError> {
    let mut query = of(tenant);
    query = match state {
        Some(State::Waiting) => query.filter(table::next_at.is_not_null()),
        Some(State::Sent) => query.filter(table::sent_at.is_not_null()),
        Some(State::Failed) => query.filter(table::failed_at.is_not_null()),
        Some(State::Dropped) => query.filter(table::dropped_at.is_not_null()),
        None => query,
    };
    if let Some(before) = before {
        query = query.filter(table::id.lt(before.0));
    }
    let rows: Vec<RowValues> = query.order(table::id.desc()).limit(most).select(COLUMNS).load(db.conn())?;
    Ok(readable(rows))
}

/// A mail of a tenant.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, tenant: TenantId, id: MailId) -> Result<Option<Row>, StoreError> {
    find_of(db, Some(tenant), id)
}

/// A mail that belongs to no tenant.
///
/// # Errors
/// The database is away.
pub fn find_of_installation(db: &mut Db, _: &InstallationReach, id: MailId) -> Result<Option<Row>, StoreError> {
    find_of(db, None, id)
}

fn find_of(db: &mut Db, tenant: Option<TenantId>, id: MailId) -> Result<Option<Row>, StoreError> {
    let found: Option<RowValues> = of(tenant).filter(table::id.eq(id.0)).select(COLUMNS).first(db.conn()).optional()?;
    found.map(row).transpose()
}

/// How many mails of a tenant failed since a moment and were not sent again.
///
/// # Errors
/// The database is away.
pub fn failed_since(db: &mut Db, tenant: TenantId, since: Time) -> Result<i64, StoreError> {
    failed_since_of(db, Some(tenant), since)
}

/// As [`failed_since`], for the mails that belong to no tenant.
///
/// # Errors
/// The database is away.
pub fn failed_since_of_installation(db: &mut Db, _: &InstallationReach, since: Time) -> Result<i64, StoreError> {
    failed_since_of(db, None, since)
}

fn failed_since_of(db: &mut Db, tenant: Option<TenantId>, since: Time) -> Result<i64, StoreError> {
    Ok(of(tenant).filter(table::failed_at.ge(micros(since))).count().get_result(db.conn())?)
}

/// How many mails failed since a moment, in all tenants and outside of them.
///
/// # Errors
/// The database is away.
pub fn all_failed_since(db: &mut Db, since: Time) -> Result<i64, StoreError> {
    Ok(table::table.filter(table::failed_at.ge(micros(since))).count().get_result(db.conn())?)
}

/// Lets a mail that failed be tried anew, for two days from now; `false` where it has not failed.
///
/// # Errors
/// The database is away.
pub fn send_again(tx: &mut Tx<'_>, tenant: TenantId, id: MailId) -> Result<bool, StoreError> {
    if find(tx, tenant, id)?.is_none() {
        return Ok(false);
    }
    try_anew(tx, id)
}

/// As [`send_again`], for a mail that belongs to no tenant.
///
/// # Errors
/// The database is away.
pub fn send_again_of_installation(tx: &mut Tx<'_>, reach: &InstallationReach, id: MailId) -> Result<bool, StoreError> {
    if find_of_installation(tx, reach, id)?.is_none() {
        return Ok(false);
    }
    try_anew(tx, id)
}

/// A mail stays with its tenant for ever, so whose it is was decided before.
fn try_anew(tx: &mut Tx<'_>, id: MailId) -> Result<bool, StoreError> {
    let now = micros(tx.now());
    let failed = table::table.filter(table::id.eq(id.0).and(table::failed_at.is_not_null()));
    let changed = diesel::update(failed)
        .set((table::failed_at.eq(None::<i64>), table::due_at.eq(now), table::taken_at.eq(now), table::next_at.eq(now), table::tries.eq(0)))
        .execute(tx.conn())?;
    Ok(changed == 1)
}
