//! One-purpose, one-use links. Stored is a keyed hash of the token.

use diesel::prelude::*;

use super::{Db, StoreError, Tx, micros, moment, schema::links as table};
use crate::domain::{
    ids::{AccountId, ConsoleRoleId, TenantId},
    names::EmailAddress,
    time::Time,
    token::Purpose,
};

/// A link that can still be used.
#[derive(Debug, Clone)]
pub struct Link {
    /// Whose password it resets.
    pub account: Option<AccountId>,
    /// Until when it works.
    pub expires_at: Time,
}

const fn word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::SetUp => "set_up",
        Purpose::Invite => "invite",
        Purpose::Reset => "reset",
        Purpose::Extend => "extend",
        Purpose::Key | Purpose::Gateway => "none",
    }
}

/// Adds a link. Those of the same purpose for the same account die.
///
/// # Errors
/// The database is away.
pub fn replace(tx: &mut Tx<'_>, purpose: Purpose, hash: &[u8; 32], account: Option<AccountId>, until: Time) -> Result<(), StoreError> {
    let now = micros(tx.now());
    let same = table::table.filter(table::purpose.eq(word(purpose)).and(table::used_at.is_null()));
    match account {
        Some(account) => diesel::update(same.filter(table::account_id.eq(account.0))).set(table::used_at.eq(now)).execute(tx.conn())?,
        None => diesel::update(same.filter(table::account_id.is_null())).set(table::used_at.eq(now)).execute(tx.conn())?,
    };
    diesel::insert_into(table::table)
        .values((
            table::hash.eq(hash.to_vec()),
            table::purpose.eq(word(purpose)),
            table::account_id.eq(account.map(|id| id.0)),
            table::details.eq("{}"),
            table::created_at.eq(now),
            table::expires_at.eq(micros(until)),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Adds an invitation of an address to be the Tenant admin of a tenant that has none. Earlier ones of this kind die.
///
/// # Errors
/// The database is away.
pub fn invite_first_admin(
    tx: &mut Tx<'_>,
    hash: &[u8; 32],
    tenant: TenantId,
    email: &EmailAddress,
    role: ConsoleRoleId,
    until: Time,
) -> Result<(), StoreError> {
    let now = micros(tx.now());
    let open = table::table.filter(table::purpose.eq(word(Purpose::Invite)).and(table::tenant_id.eq(tenant.number())).and(table::used_at.is_null()));
    diesel::update(open.filter(table::details.like("%\"first_admin\":true%"))).set(table::used_at.eq(now)).execute(tx.conn())?;
    let details = serde_json::json!({ "email": email.as_str(), "roles": [role.0], "first_admin": true });
    diesel::insert_into(table::table)
        .values((
            table::hash.eq(hash.to_vec()),
            table::purpose.eq(word(Purpose::Invite)),
            table::tenant_id.eq(tenant.number()),
            table::details.eq(details.to_string()),
            table::created_at.eq(now),
            table::expires_at.eq(micros(until)),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// A link that is neither used nor late.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, purpose: Purpose, hash: &[u8; 32], now: Time) -> Result<Option<Link>, StoreError> {
    let row: Option<(Option<i64>, i64)> = table::table
        .filter(table::hash.eq(hash.to_vec()).and(table::purpose.eq(word(purpose))))
        .filter(table::used_at.is_null().and(table::expires_at.gt(micros(now))))
        .select((table::account_id, table::expires_at))
        .first(db.conn())
        .optional()?;
    Ok(row.map(|(account, until)| Link { account: account.map(AccountId), expires_at: moment(until) }))
}

/// Uses a link up; `false` where it was used or is late. Of two at once one wins.
///
/// # Errors
/// The database is away.
pub fn use_up(tx: &mut Tx<'_>, purpose: Purpose, hash: &[u8; 32]) -> Result<bool, StoreError> {
    let now = micros(tx.now());
    let open = table::table
        .filter(table::hash.eq(hash.to_vec()).and(table::purpose.eq(word(purpose))))
        .filter(table::used_at.is_null().and(table::expires_at.gt(now)));
    Ok(diesel::update(open).set(table::used_at.eq(now)).execute(tx.conn())? == 1)
}
