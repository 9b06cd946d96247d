//! What mailed links extended, and what such a link leads to.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::{
    Db, StoreError, Tx, keys,
    members::{self, Owner, Reach},
    micros, moment,
    outbox::{self, Notice},
    schema::{deleted_keys, extensions as table, keys as key_table},
    tenants::{self, Tenant},
};
use crate::{
    domain::{
        ids::{KeyId, NoticeId, TenantId},
        key::Key,
        time::Time,
        token::{Purpose, Token},
    },
    secrets::Secrets,
};

/// What a link did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The expiry after it.
    pub to: Time,
    /// When.
    pub at: Time,
    /// Whose link it was, folded.
    pub recipient: String,
}

/// What an extend link leads to.
#[derive(Debug, Clone)]
pub struct Linked {
    /// The line of a digest that the link stands in.
    pub notice: Notice,
    /// The key's tenant.
    pub tenant: Tenant,
    /// The key, with its owner; `None` once it was deleted.
    pub key: Option<(Key, Owner)>,
    /// The key's name, which stays known after it was deleted.
    pub name: String,
    /// What a link for the same expiry did.
    pub extension: Option<Extension>,
}

/// The token of the link in a notice: the same each time, and stored nowhere.
pub fn token(secrets: &Secrets, notice: &Notice) -> Token {
    let (tenant, expiry) = (notice.tenant.number().to_be_bytes(), micros(notice.expires_at).to_be_bytes());
    secrets.link(Purpose::Extend, notice.id.0, &[&tenant, notice.key.as_str().as_bytes(), &expiry, notice.recipient.as_bytes()])
}

/// The notice that a token was mailed with; `None` for a token that Keyward never made.
///
/// # Errors
/// The database is away.
pub fn notice(db: &mut Db, secrets: &Secrets, text: &str) -> Result<Option<Notice>, StoreError> {
    let Some(presented) = Token::parse(Purpose::Extend, text) else { return Ok(None) };
    let Some(row) = presented.row() else { return Ok(None) };
    let found = outbox::notice_of_link(db, NoticeId(row))?;
    Ok(found.filter(|notice| token(secrets, notice).is(&presented)))
}

/// What the link in a notice leads to.
///
/// # Errors
/// The database is away.
pub fn linked(db: &mut Db, notice: Notice) -> Result<Linked, StoreError> {
    let tenant = tenants::get(db, notice.tenant)?;
    let key = keys::find(db, &Reach::of_row(notice.tenant), notice.key)?;
    let extension = find(db, notice.tenant, notice.key, notice.expires_at)?;
    let name = match &key {
        Some(key) => key.name.as_str().to_owned(),
        None => deleted_keys::table
            .find((notice.tenant.number(), notice.key.as_str()))
            .select(deleted_keys::name)
            .first(db.conn())
            .optional()?
            .unwrap_or_default(),
    };
    let key = match key {
        Some(key) => members::find(db, notice.tenant, key.owner)?.map(|owner| (key, owner)),
        None => None,
    };
    Ok(Linked { notice, tenant, key, name, extension })
}

fn find(db: &mut Db, tenant: TenantId, key: KeyId, from: Time) -> Result<Option<Extension>, StoreError> {
    let row: Option<(i64, i64, String)> = table::table
        .find((tenant.number(), key.as_str(), micros(from)))
        .select((table::to_expiry, table::at, table::recipient_folded))
        .first(db.conn())
        .optional()?;
    Ok(row.map(|(to, at, recipient)| Extension { to: moment(to), at: moment(at), recipient }))
}

/// Remembers that the link of a notice was used.
///
/// # Errors
/// The database is away, or a link for the same expiry was used.
pub fn add(tx: &mut Tx<'_>, notice: &Notice, to: Time) -> Result<(), StoreError> {
    let at = micros(tx.now());
    diesel::insert_into(table::table)
        .values((
            table::tenant_id.eq(notice.tenant.number()),
            table::key_id.eq(notice.key.as_str()),
            table::from_expiry.eq(micros(notice.expires_at)),
            table::to_expiry.eq(micros(to)),
            table::at.eq(at),
            table::recipient_folded.eq(&notice.recipient),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// When links set the expiries that these keys have now, by key.
///
/// # Errors
/// The database is away.
pub fn set_by_link(db: &mut Db, tenant: TenantId, keys: &[KeyId]) -> Result<BTreeMap<KeyId, Time>, StoreError> {
    let ids: Vec<&str> = keys.iter().map(KeyId::as_str).collect();
    let rows: Vec<(String, i64)> = table::table
        .inner_join(key_table::table.on(key_table::tenant_id.eq(table::tenant_id).and(key_table::id.eq(table::key_id))))
        .filter(table::tenant_id.eq(tenant.number()).and(table::key_id.eq_any(ids)))
        .filter(key_table::expires_at.eq(table::to_expiry.nullable()).and(table::at.ge(key_table::expiry_set_at)))
        .select((table::key_id, table::at))
        .load(db.conn())?;
    Ok(rows.into_iter().filter_map(|(id, at)| Some((KeyId::parse(&id)?, moment(at)))).collect())
}
