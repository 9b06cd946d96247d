//! One-purpose, one-use links. Stored is a keyed hash of the token.

use diesel::prelude::*;

use super::{Db, StoreError, Tx, micros, moment, schema::links as table};
use crate::domain::{
    ids::{AccountId, TenantId},
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
    /// Whether it went by mail, so that whoever uses it reads that address; else it was shown to somebody.
    pub mailed: bool,
}

/// What stands in the details of a link that was shown.
const SHOWN: &str = r#"{"shown":true}"#;

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

/// Notes that a link was shown to somebody, rather than mailed.
///
/// # Errors
/// The database is away.
pub fn mark_shown(tx: &mut Tx<'_>, hash: &[u8; 32]) -> Result<(), StoreError> {
    diesel::update(table::table.filter(table::hash.eq(hash.to_vec()))).set(table::details.eq(SHOWN)).execute(tx.conn())?;
    Ok(())
}

/// Adds an invitation of an address to be the Tenant admin of a tenant that has none. Earlier ones of this kind die.
///
/// # Errors
/// The database is away.
pub fn invite_first_admin(tx: &mut Tx<'_>, hash: &[u8; 32], tenant: TenantId, new: &NewInvitation<'_>, until: Time) -> Result<(), StoreError> {
    let now = micros(tx.now());
    let open = table::table.filter(table::purpose.eq(word(Purpose::Invite)).and(table::tenant_id.eq(tenant.number())).and(table::used_at.is_null()));
    diesel::update(open.filter(table::details.like("%\"first_admin\":true%"))).set(table::used_at.eq(now)).execute(tx.conn())?;
    invite(tx, hash, tenant, new, until)
}

/// A link that is neither used nor late.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, purpose: Purpose, hash: &[u8; 32], now: Time) -> Result<Option<Link>, StoreError> {
    let row: Option<(Option<i64>, i64, String)> = table::table
        .filter(table::hash.eq(hash.to_vec()).and(table::purpose.eq(word(purpose))))
        .filter(table::used_at.is_null().and(table::expires_at.gt(micros(now))))
        .select((table::account_id, table::expires_at, table::details))
        .first(db.conn())
        .optional()?;
    Ok(row.map(|(account, until, details)| Link { account: account.map(AccountId), expires_at: moment(until), mailed: details != SHOWN }))
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

/// An invitation that waits to be accepted.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The tenant that it is to.
    pub tenant: TenantId,
    /// Who is invited to what, as the action that made it wrote it down.
    pub details: String,
    /// Until when it works.
    pub expires_at: Time,
}

/// A link of an invitation that is to be stored.
#[derive(Debug)]
pub struct NewInvitation<'a> {
    /// The name of the invitation, which its links share.
    pub id: &'a str,
    /// Who is invited.
    pub email: &'a EmailAddress,
    /// Who is invited to what, as the action writes it down.
    pub details: &'a str,
}

/// Adds a link of an invitation to a tenant.
///
/// # Errors
/// The database is away.
pub fn invite(tx: &mut Tx<'_>, hash: &[u8; 32], tenant: TenantId, new: &NewInvitation<'_>, until: Time) -> Result<(), StoreError> {
    diesel::insert_into(table::table)
        .values((
            table::hash.eq(hash.to_vec()),
            table::purpose.eq(word(Purpose::Invite)),
            table::tenant_id.eq(tenant.number()),
            table::details.eq(new.details),
            table::invitation.eq(new.id),
            table::email.eq(new.email.canonical()),
            table::created_at.eq(micros(tx.now())),
            table::expires_at.eq(micros(until)),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// An invitation that is neither used nor late.
///
/// # Errors
/// The database is away.
pub fn invitation(db: &mut Db, hash: &[u8; 32], now: Time) -> Result<Option<Invitation>, StoreError> {
    let row: Option<(Option<i64>, String, i64)> = table::table
        .filter(table::hash.eq(hash.to_vec()).and(table::purpose.eq(word(Purpose::Invite))))
        .filter(table::used_at.is_null().and(table::expires_at.gt(micros(now))))
        .select((table::tenant_id, table::details, table::expires_at))
        .first(db.conn())
        .optional()?;
    Ok(row.and_then(|(tenant, details, until)| Some(Invitation { tenant: TenantId::from_row(tenant?), details, expires_at: moment(until) })))
}

/// The invitations to a tenant that wait and whose address contains `text`, newest first: `most` of them after the first `skip`. Each
/// once, though it has a link that was shown and one that was mailed.
///
/// # Errors
/// The database is away.
pub fn invitations(db: &mut Db, tenant: TenantId, text: &str, (skip, most): (i64, i64), now: Time) -> Result<Vec<Invitation>, StoreError> {
    let rows: Vec<(String, i64)> = table::table
        .filter(table::purpose.eq(word(Purpose::Invite)).and(table::tenant_id.eq(tenant.number())))
        .filter(table::used_at.is_null().and(table::expires_at.gt(micros(now))))
        .filter(table::details.not_like("%\"mailed\":true%"))
        .filter(table::email.like(super::members::containing(text)).escape('\\'))
        .order((table::created_at.desc(), table::hash))
        .offset(skip)
        .limit(most)
        .select((table::details, table::expires_at))
        .load(db.conn())?;
    Ok(rows.into_iter().map(|(details, until)| Invitation { tenant, details, expires_at: moment(until) }).collect())
}

/// Uses up every link of the invitation of this name to a tenant. What it says; `None` where none waits.
///
/// # Errors
/// The database is away.
pub fn end_invitation(tx: &mut Tx<'_>, tenant: TenantId, id: &str) -> Result<Option<String>, StoreError> {
    let now = micros(tx.now());
    if id.is_empty() {
        return Ok(None);
    }
    let open = table::table
        .filter(table::purpose.eq(word(Purpose::Invite)).and(table::tenant_id.eq(tenant.number())).and(table::invitation.eq(id)))
        .filter(table::used_at.is_null().and(table::expires_at.gt(now)));
    let details: Option<String> = open.select(table::details).first(tx.conn()).optional()?;
    diesel::update(open).set(table::used_at.eq(now)).execute(tx.conn())?;
    Ok(details)
}

/// Uses up every link of the invitations of an address to a tenant.
///
/// # Errors
/// The database is away.
pub fn end_invitations_of(tx: &mut Tx<'_>, tenant: TenantId, email: &EmailAddress) -> Result<(), StoreError> {
    let now = micros(tx.now());
    let open = table::table
        .filter(table::purpose.eq(word(Purpose::Invite)).and(table::tenant_id.eq(tenant.number())).and(table::email.eq(email.canonical())))
        .filter(table::used_at.is_null());
    diesel::update(open).set(table::used_at.eq(now)).execute(tx.conn())?;
    Ok(())
}

/// Whether an address in its canonical spelling is invited to any tenant.
///
/// # Errors
/// The database is away.
pub fn is_invited(db: &mut Db, canonical: &str, now: Time) -> Result<bool, StoreError> {
    let waiting: i64 = table::table
        .filter(table::purpose.eq(word(Purpose::Invite)).and(table::email.eq(canonical)))
        .filter(table::used_at.is_null().and(table::expires_at.gt(micros(now))))
        .count()
        .get_result(db.conn())?;
    Ok(waiting > 0)
}

/// The stored word of links that confirm a new address.
const ADDRESS: &str = "address";

/// Adds a link that confirms a new address of an account. Earlier ones of the account die.
///
/// # Errors
/// The database is away.
pub fn add_address(tx: &mut Tx<'_>, hash: &[u8; 32], account: AccountId, email: &str, until: Time) -> Result<(), StoreError> {
    let now = micros(tx.now());
    end_all(tx, ADDRESS, account)?;
    diesel::insert_into(table::table)
        .values((
            table::hash.eq(hash.to_vec()),
            table::purpose.eq(ADDRESS),
            table::account_id.eq(account.0),
            table::details.eq(email),
            table::created_at.eq(now),
            table::expires_at.eq(micros(until)),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// The account and the new address of a link that is neither used nor late.
///
/// # Errors
/// The database is away.
pub fn address(db: &mut Db, hash: &[u8; 32], now: Time) -> Result<Option<(AccountId, String)>, StoreError> {
    let row: Option<(Option<i64>, String)> = table::table
        .filter(table::hash.eq(hash.to_vec()).and(table::purpose.eq(ADDRESS)))
        .filter(table::used_at.is_null().and(table::expires_at.gt(micros(now))))
        .select((table::account_id, table::details))
        .first(db.conn())
        .optional()?;
    Ok(row.and_then(|(account, email)| Some((AccountId(account?), email))))
}

/// Uses a link up that confirms an address; `false` where it was used or is late.
///
/// # Errors
/// The database is away.
pub fn use_up_address(tx: &mut Tx<'_>, hash: &[u8; 32]) -> Result<bool, StoreError> {
    let now = micros(tx.now());
    let open = table::table
        .filter(table::hash.eq(hash.to_vec()).and(table::purpose.eq(ADDRESS)))
        .filter(table::used_at.is_null().and(table::expires_at.gt(now)));
    Ok(diesel::update(open).set(table::used_at.eq(now)).execute(tx.conn())? == 1)
}

/// Ends the links to set a new password of an account.
///
/// # Errors
/// The database is away.
pub fn end_resets(tx: &mut Tx<'_>, account: AccountId) -> Result<(), StoreError> {
    end_all(tx, word(Purpose::Reset), account)
}

fn end_all(tx: &mut Tx<'_>, word: &str, account: AccountId) -> Result<(), StoreError> {
    let now = micros(tx.now());
    let open = table::table.filter(table::purpose.eq(word).and(table::account_id.eq(account.0)).and(table::used_at.is_null()));
    diesel::update(open).set(table::used_at.eq(now)).execute(tx.conn())?;
    Ok(())
}
