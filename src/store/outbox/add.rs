//! Writing a mail, and what was written to an address lately.

use diesel::prelude::*;

use super::{COLUMNS, Row, RowValues, To, folded, readable};
use crate::{
    domain::{
        ids::{AccountId, MailId, TenantId},
        mail::{Mail, Rank},
        time::Time,
    },
    store::{Db, StoreError, Tx, micros, per_backend, schema::mails as table},
};

/// A mail to send.
#[derive(Debug, Clone)]
pub struct NewMail<'a> {
    /// The tenant on whose Mail page it stands.
    pub tenant: Option<TenantId>,
    /// The account that it is about, where it is about one.
    pub account: Option<AccountId>,
    /// The recipient.
    pub to: &'a To,
    /// What it tells of.
    pub mail: &'a Mail,
    /// What it is the only mail of: a second one with the same words here is not written.
    pub once: &'a str,
}

/// Writes a mail, to leave at once; `None` where one with the same `once` was written before.
///
/// # Errors
/// The database is away.
pub fn add(tx: &mut Tx<'_>, new: &NewMail<'_>) -> Result<Option<MailId>, StoreError> {
    let now = tx.now();
    insert(tx, new, now)
}

/// As [`add`], to leave at a moment.
///
/// # Errors
/// The database is away.
pub fn add_for(tx: &mut Tx<'_>, new: &NewMail<'_>, due_at: Time) -> Result<Option<MailId>, StoreError> {
    insert(tx, new, due_at)
}

/// The newest mails of a tenant to an address that were written since a moment, `most` at most.
///
/// # Errors
/// The database is away.
pub fn newest_to(db: &mut Db, tenant: TenantId, address: &str, since: Time, most: i64) -> Result<Vec<Row>, StoreError> {
    let rows: Vec<RowValues> = table::table
        .filter(table::recipient_folded.eq(folded(address)).and(table::created_at.ge(micros(since))))
        .filter(table::tenant_id.eq(tenant.number()).and(table::rank.eq(Rank::Middle.number())))
        .order((table::created_at.desc(), table::id.desc()))
        .limit(most)
        .select(COLUMNS)
        .load(db.conn())?;
    Ok(readable(rows))
}

/// Changes what a mail tells of, while no sender has had it; `false` once one has.
///
/// # Errors
/// The database is away.
pub fn rewrite(tx: &mut Tx<'_>, id: MailId, mail: &Mail) -> Result<bool, StoreError> {
    let facts = serde_json::to_string(mail).map_err(|error| StoreError::Row(error.to_string()))?;
    let open = table::table.filter(table::id.eq(id.0).and(table::taken_at.is_null()));
    Ok(diesel::update(open).set((table::facts.eq(facts), table::kind.eq(mail.word()))).execute(tx.conn())? == 1)
}

/// A mail as it is first written.
#[derive(Insertable)]
#[diesel(table_name = table, treat_none_as_default_value = false)]
pub(super) struct Values<'a> {
    tenant_id: Option<i64>,
    account_id: Option<i64>,
    kind: &'a str,
    facts: String,
    once: &'a str,
    rank: i64,
    recipient: &'a str,
    recipient_folded: String,
    recipient_name: &'a str,
    created_at: i64,
    due_at: i64,
    next_at: i64,
}

/// A mail that leaves at a moment, as a row.
pub(super) fn values<'a>(new: &NewMail<'a>, now: Time, due_at: Time) -> Result<Values<'a>, StoreError> {
    Ok(Values {
        tenant_id: new.tenant.map(TenantId::number),
        account_id: new.account.map(|id| id.0),
        kind: new.mail.word(),
        facts: serde_json::to_string(new.mail).map_err(|error| StoreError::Row(error.to_string()))?,
        once: new.once,
        rank: new.mail.rank().number(),
        recipient: new.to.address.trim(),
        recipient_folded: folded(&new.to.address),
        recipient_name: &new.to.name,
        created_at: micros(now),
        due_at: micros(due_at),
        next_at: micros(due_at),
    })
}

pub(super) fn insert(tx: &mut Tx<'_>, new: &NewMail<'_>, due_at: Time) -> Result<Option<MailId>, StoreError> {
    let row = values(new, tx.now(), due_at)?;
    let id: Option<i64> = per_backend!(tx.conn(), |inner| diesel::insert_into(table::table)
        .values(row)
        .on_conflict_do_nothing()
        .returning(table::id)
        .get_result(inner)
        .optional())?;
    Ok(id.map(MailId))
}

/// How many mails of one kind were written to an address since a moment.
///
/// # Errors
/// The database is away.
pub fn written_since(db: &mut Db, kind: &str, address: &str, since: Time) -> Result<i64, StoreError> {
    Ok(table::table
        .filter(table::recipient_folded.eq(folded(address)).and(table::created_at.ge(micros(since))).and(table::kind.eq(kind)))
        .count()
        .get_result(db.conn())?)
}

/// How many invitations to a tenant were mailed to an address since a moment.
///
/// # Errors
/// The database is away.
pub fn invited_since(db: &mut Db, tenant: TenantId, address: &str, since: Time) -> Result<i64, StoreError> {
    Ok(table::table
        .filter(table::recipient_folded.eq(folded(address)).and(table::created_at.ge(micros(since))))
        .filter(table::kind.eq("invitation").and(table::tenant_id.eq(tenant.number())))
        .count()
        .get_result(db.conn())?)
}
