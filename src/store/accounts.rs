//! Accounts: a person's sign-in across tenants.

use diesel::prelude::*;

use super::{
    Db, StoreError, Tx, is_duplicate, micros, moment, per_backend,
    schema::{accounts as table, known_browsers as known, recovery_codes as codes},
};
use crate::domain::{
    ids::{AccountId, MemberId, TenantId},
    names::EmailAddress,
    time::Time,
};

/// A person's sign-in.
#[derive(Clone)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// The address, as it was typed.
    pub email: String,
    /// The spelling that look-ups and counters go by.
    pub email_canonical: String,
    /// The person's name.
    pub name: String,
    /// The password's hash (PHC string); `None` until one is set.
    pub password_hash: Option<String>,
    /// How many characters the password has.
    pub password_length: i64,
    /// The encrypted TOTP secret.
    pub totp_secret: Option<Vec<u8>>,
    /// An encrypted TOTP secret that waits for its first code.
    pub totp_pending: Option<Vec<u8>>,
    /// When TOTP was set up.
    pub totp_enrolled_at: Option<Time>,
    /// The time zone in which chosen dates end.
    pub time_zone: String,
    /// `system`, `light` or `dark`.
    pub theme: String,
    /// Whether keyboard shortcuts are on.
    pub shortcuts: bool,
    /// Whether this is the installation owner.
    pub installation_owner: bool,
    /// The tenant that was open last.
    pub last_tenant: Option<i64>,
}

type Row = (
    i64,
    (String, String, String),
    (Option<String>, i64),
    (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>),
    (String, String, bool),
    (bool, Option<i64>),
);

const COLUMNS: (
    table::id,
    (table::email, table::email_canonical, table::name),
    (table::password_hash, table::password_length),
    (table::totp_secret, table::totp_pending, table::totp_enrolled_at),
    (table::time_zone, table::theme, table::shortcuts),
    (table::installation_owner, table::last_tenant),
) = (
    table::id,
    (table::email, table::email_canonical, table::name),
    (table::password_hash, table::password_length),
    (table::totp_secret, table::totp_pending, table::totp_enrolled_at),
    (table::time_zone, table::theme, table::shortcuts),
    (table::installation_owner, table::last_tenant),
);

fn account((id, names, password, totp, look, rest): Row) -> Account {
    Account {
        id: AccountId(id),
        email: names.0,
        email_canonical: names.1,
        name: names.2,
        password_hash: password.0,
        password_length: password.1,
        totp_secret: totp.0,
        totp_pending: totp.1,
        totp_enrolled_at: totp.2.map(moment),
        time_zone: look.0,
        theme: look.1,
        shortcuts: look.2,
        installation_owner: rest.0,
        last_tenant: rest.1,
    }
}

impl Account {
    /// Whether the account has TOTP.
    pub fn has_totp(&self) -> bool {
        self.totp_secret.is_some()
    }
}

/// The account that signs in with an address in its canonical spelling.
///
/// # Errors
/// The database is away.
pub fn by_email(db: &mut Db, canonical: &str) -> Result<Option<Account>, StoreError> {
    let row: Option<Row> = table::table.filter(table::email_canonical.eq(canonical)).select(COLUMNS).first(db.conn()).optional()?;
    Ok(row.map(account))
}

/// An account that a session or link belongs to.
///
/// # Errors
/// The database is away.
pub fn get(db: &mut Db, id: AccountId) -> Result<Account, StoreError> {
    Ok(account(table::table.find(id.0).select(COLUMNS).first::<Row>(db.conn())?))
}

/// An account, where there is one of this ID.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, id: AccountId) -> Result<Option<Account>, StoreError> {
    Ok(table::table.find(id.0).select(COLUMNS).first::<Row>(db.conn()).optional()?.map(account))
}

/// Makes writers that ask about an account's tenants take turns until the commit.
///
/// # Errors
/// The database is away.
pub fn hold(tx: &mut Tx<'_>, id: AccountId) -> Result<(), StoreError> {
    diesel::update(table::table.find(id.0)).set(table::created_at.eq(table::created_at)).execute(tx.conn())?;
    Ok(())
}

/// Whether a link that was mailed to the account's address has been opened.
///
/// # Errors
/// The database is away.
pub fn has_opened_mail(db: &mut Db, id: AccountId) -> Result<bool, StoreError> {
    let at: Option<i64> = table::table.find(id.0).select(table::mail_opened_at).first(db.conn())?;
    Ok(at.is_some())
}

/// Gives an account another address; `false` where the address has an account.
///
/// # Errors
/// The database is away.
pub fn set_email(tx: &mut Tx<'_>, id: AccountId, email: &EmailAddress) -> Result<bool, StoreError> {
    let canonical = email.canonical();
    if by_email(tx, &canonical)?.is_some() {
        return Ok(false);
    }
    diesel::update(table::table.find(id.0)).set((table::email.eq(email.as_str()), table::email_canonical.eq(canonical))).execute(tx.conn())?;
    Ok(true)
}

/// Notes that a link that was mailed to the account's address has been opened.
///
/// # Errors
/// The database is away.
pub fn mail_opened(tx: &mut Tx<'_>, id: AccountId) -> Result<(), StoreError> {
    let now = micros(tx.now());
    diesel::update(table::table.find(id.0)).set(table::mail_opened_at.eq(now)).execute(tx.conn())?;
    Ok(())
}

/// Whether there is an installation owner.
///
/// # Errors
/// The database is away.
pub fn has_installation_owner(db: &mut Db) -> Result<bool, StoreError> {
    Ok(table::table.filter(table::installation_owner.eq(true)).count().get_result::<i64>(db.conn())? > 0)
}

/// Adds an account; `None` where the address has one.
///
/// # Errors
/// The database is away.
pub fn create(tx: &mut Tx<'_>, email: &EmailAddress, name: &str, installation_owner: bool) -> Result<Option<AccountId>, StoreError> {
    let canonical = email.canonical();
    if by_email(tx, &canonical)?.is_some() {
        return Ok(None);
    }
    let added = diesel::insert_into(table::table)
        .values((
            table::email.eq(email.as_str()),
            table::email_canonical.eq(&canonical),
            table::name.eq(name),
            table::installation_owner.eq(installation_owner),
            table::created_at.eq(micros(tx.now())),
        ))
        .execute(tx.conn());
    match added {
        Err(error) if is_duplicate(&error) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(by_email(tx, &canonical)?.map(|account| account.id)),
    }
}

/// Sets the password's hash and how many characters it has.
///
/// # Errors
/// The database is away.
pub fn set_password(tx: &mut Tx<'_>, id: AccountId, hash: &str, length: i64) -> Result<(), StoreError> {
    diesel::update(table::table.find(id.0)).set((table::password_hash.eq(hash), table::password_length.eq(length))).execute(tx.conn())?;
    Ok(())
}

/// Puts a hash with stronger parameters in the place of the one that was just checked.
///
/// # Errors
/// The database is away.
pub fn upgrade_hash(tx: &mut Tx<'_>, id: AccountId, before: &str, hash: &str) -> Result<(), StoreError> {
    diesel::update(table::table.find(id.0).filter(table::password_hash.eq(before))).set(table::password_hash.eq(hash)).execute(tx.conn())?;
    Ok(())
}

/// Keeps an encrypted TOTP secret until its first code confirms it.
///
/// # Errors
/// The database is away.
pub fn set_pending_totp(tx: &mut Tx<'_>, id: AccountId, secret: Option<&[u8]>) -> Result<(), StoreError> {
    diesel::update(table::table.find(id.0)).set(table::totp_pending.eq(secret)).execute(tx.conn())?;
    Ok(())
}

/// Turns the waiting secret into the account's TOTP; `step` is the one of the code that confirmed it, so it works no more.
/// `false` where no such secret waits.
///
/// # Errors
/// The database is away.
pub fn enrol_totp(tx: &mut Tx<'_>, id: AccountId, pending: &[u8], step: i64) -> Result<bool, StoreError> {
    let now = micros(tx.now());
    let none: Option<Vec<u8>> = None;
    let count = diesel::update(table::table.find(id.0).filter(table::totp_pending.eq(pending)))
        .set((table::totp_secret.eq(pending), table::totp_pending.eq(none), table::totp_enrolled_at.eq(now), table::totp_last_step.eq(step)))
        .execute(tx.conn())?;
    Ok(count == 1)
}

/// Takes TOTP and the recovery codes away.
///
/// # Errors
/// The database is away.
pub fn remove_totp(tx: &mut Tx<'_>, id: AccountId) -> Result<(), StoreError> {
    let none: Option<Vec<u8>> = None;
    let never: Option<i64> = None;
    diesel::update(table::table.find(id.0))
        .set((table::totp_secret.eq(none.clone()), table::totp_pending.eq(none), table::totp_enrolled_at.eq(never)))
        .execute(tx.conn())?;
    diesel::delete(codes::table.filter(codes::account_id.eq(id.0))).execute(tx.conn())?;
    Ok(())
}

/// Accepts the code of a step, once: `false` where this step or a later one was accepted before.
///
/// # Errors
/// The database is away.
pub fn accept_step(tx: &mut Tx<'_>, id: AccountId, step: i64) -> Result<bool, StoreError> {
    let count = diesel::update(table::table.find(id.0).filter(table::totp_last_step.is_null().or(table::totp_last_step.lt(step))))
        .set(table::totp_last_step.eq(step))
        .execute(tx.conn())?;
    Ok(count == 1)
}

/// Puts new recovery codes in the place of all before.
///
/// # Errors
/// The database is away.
pub fn set_recovery_codes(tx: &mut Tx<'_>, id: AccountId, hashes: &[[u8; 32]]) -> Result<(), StoreError> {
    diesel::delete(codes::table.filter(codes::account_id.eq(id.0))).execute(tx.conn())?;
    for hash in hashes {
        diesel::insert_into(codes::table).values((codes::account_id.eq(id.0), codes::hash.eq(hash.as_slice()))).execute(tx.conn())?;
    }
    Ok(())
}

/// Uses a recovery code up; `false` where it is unknown or used.
///
/// # Errors
/// The database is away.
pub fn use_recovery_code(tx: &mut Tx<'_>, id: AccountId, hash: &[u8; 32]) -> Result<bool, StoreError> {
    let now = micros(tx.now());
    let count =
        diesel::update(codes::table.find((id.0, hash.as_slice())).filter(codes::used_at.is_null())).set(codes::used_at.eq(now)).execute(tx.conn())?;
    Ok(count == 1)
}

/// How many recovery codes are left.
///
/// # Errors
/// The database is away.
pub fn recovery_codes_left(db: &mut Db, id: AccountId) -> Result<i64, StoreError> {
    Ok(codes::table.filter(codes::account_id.eq(id.0).and(codes::used_at.is_null())).count().get_result(db.conn())?)
}

/// Saves theme, shortcuts and time zone.
///
/// # Errors
/// The database is away.
pub fn set_look(tx: &mut Tx<'_>, id: AccountId, theme: &str, shortcuts: bool, time_zone: &str) -> Result<(), StoreError> {
    diesel::update(table::table.find(id.0))
        .set((table::theme.eq(theme), table::shortcuts.eq(shortcuts), table::time_zone.eq(time_zone)))
        .execute(tx.conn())?;
    Ok(())
}

/// Remembers the tenant that was open last.
///
/// # Errors
/// The database is away.
pub fn set_last_tenant(tx: &mut Tx<'_>, id: AccountId, tenant: TenantId) -> Result<(), StoreError> {
    diesel::update(table::table.find(id.0)).set(table::last_tenant.eq(tenant.number())).execute(tx.conn())?;
    Ok(())
}

/// Remembers a browser that signed in.
///
/// # Errors
/// The database is away.
pub fn know_browser(tx: &mut Tx<'_>, id: AccountId, hash: &[u8; 32]) -> Result<(), StoreError> {
    let row = (known::account_id.eq(id.0), known::hash.eq(hash.to_vec()), known::created_at.eq(micros(tx.now())));
    per_backend!(tx.conn(), |inner| diesel::insert_into(known::table).values(row).on_conflict_do_nothing().execute(inner))?;
    Ok(())
}

/// Whether a browser has signed in to the account before.
///
/// # Errors
/// The database is away.
pub fn knows_browser(db: &mut Db, id: AccountId, hash: &[u8; 32]) -> Result<bool, StoreError> {
    Ok(known::table.filter(known::account_id.eq(id.0).and(known::hash.eq(hash.to_vec()))).count().get_result::<i64>(db.conn())? > 0)
}

/// The chains that tell of an account: each tenant that it is in, with the member that it is there.
///
/// # Errors
/// The database is away.
pub fn members_of(db: &mut Db, id: AccountId) -> Result<Vec<(TenantId, MemberId)>, StoreError> {
    use super::schema::members;
    let rows: Vec<(i64, i64)> = members::table
        .filter(members::account_id.eq(id.0).and(members::removed_at.is_null()))
        .order(members::tenant_id)
        .select((members::tenant_id, members::id))
        .load(db.conn())?;
    Ok(rows.into_iter().map(|(tenant, member)| (TenantId::from_row(tenant), MemberId(member))).collect())
}
