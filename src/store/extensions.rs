//! What mailed links extended, and what such a link leads to.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::{
    Db, StoreError, Tx, keys,
    members::{self, Owner, Reach},
    micros, moment, notices,
    outbox::{self, Notice},
    schema::{deleted_keys, extensions as table, keys as key_table},
    tenants::{self, Tenant},
};
use crate::{
    domain::{
        ids::{KeyId, MemberId, NoticeId, TenantId},
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
    /// Who is told of the key now, but for its extra recipients; folded addresses.
    pub recipients: Vec<String>,
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
    let mut found = linked_all(db, &tenant, vec![notice])?;
    let mut linked = found.pop().ok_or_else(|| StoreError::Row("a notice".into()))?;
    if linked.key.is_none() {
        linked.name = deleted_keys::table
            .find((linked.notice.tenant.number(), linked.notice.key.as_str()))
            .select(deleted_keys::name)
            .first(db.conn())
            .optional()?
            .unwrap_or_default();
    }
    Ok(linked)
}

/// What the links in the notices of one tenant lead to, in their order; the names of deleted keys stay empty.
///
/// # Errors
/// The database is away.
pub fn linked_all(db: &mut Db, tenant: &Tenant, lines: Vec<Notice>) -> Result<Vec<Linked>, StoreError> {
    let ids: Vec<KeyId> = lines.iter().map(|notice| notice.key).collect();
    let keys: BTreeMap<KeyId, Key> = keys::find_readable(db, &Reach::of_row(tenant.id), &ids)?.into_iter().map(|key| (key.id, key)).collect();
    let mut owners: Vec<MemberId> = keys.values().map(|key| key.owner).collect();
    owners.sort_unstable();
    owners.dedup();
    let told = notices::recipients(db, tenant, &owners)?;
    let owners: BTreeMap<MemberId, Owner> = members::find_many(db, tenant.id, &owners)?.into_iter().map(|owner| (owner.id, owner)).collect();
    let used = used(db, tenant.id, &ids)?;
    let all = lines.into_iter().map(|notice| {
        let key = keys.get(&notice.key).and_then(|key| Some((key.clone(), owners.get(&key.owner)?.clone())));
        let recipients = key.iter().filter_map(|(_, owner)| told.get(&owner.id)).flatten().map(|(to, _)| outbox::folded(&to.address));
        Linked {
            tenant: tenant.clone(),
            recipients: recipients.collect(),
            name: key.as_ref().map(|(key, _)| key.name.as_str().to_owned()).unwrap_or_default(),
            extension: used.get(&(notice.key, micros(notice.expires_at))).cloned(),
            key,
            notice,
        }
    });
    Ok(all.collect())
}

/// What links did with these keys, by key and the expiry before.
fn used(db: &mut Db, tenant: TenantId, keys: &[KeyId]) -> Result<BTreeMap<(KeyId, i64), Extension>, StoreError> {
    let ids: Vec<&str> = keys.iter().map(KeyId::as_str).collect();
    let rows: Vec<(String, i64, i64, i64, String)> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::key_id.eq_any(ids)))
        .select((table::key_id, table::from_expiry, table::to_expiry, table::at, table::recipient_folded))
        .load(db.conn())?;
    let one = |(id, from, to, at, recipient): (String, i64, i64, i64, String)| {
        Some(((KeyId::parse(&id)?, from), Extension { to: moment(to), at: moment(at), recipient }))
    };
    Ok(rows.into_iter().filter_map(one).collect())
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
