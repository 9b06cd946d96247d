//! Keys: rows ↔ [`Key`], and the few ways in which they change.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::{
    Change, Db, StoreError, Tx,
    members::{Owner, Reach},
    micros, moment, per_backend,
    schema::{dead_secrets as dead, deleted_keys as deleted, key_usage as usage, keys as table},
};
use crate::domain::{
    access::{KeyAccess, ResourceSet},
    ids::{AccessRoleId, KeyId, MemberId, TenantId},
    ip_range::IpRanges,
    key::{Actor, Key, Life, OldSecret, SecretFacts, Use},
    names::{EmailAddress, KeyName, ResourcePattern, Scopes},
    roll::Stays,
    time::Time,
    token::SecretHash,
};

/// How many dead secrets of a key are remembered.
const DEAD_SECRETS: usize = 10;

/// A row of `keys`; the secrets' hashes never leave the store but for verification.
#[derive(Debug, Clone, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = table, primary_key(seq), treat_none_as_null = true)]
pub(crate) struct KeyRow {
    #[diesel(skip_insertion)]
    pub seq: i64,
    pub tenant_id: i64,
    pub id: String,
    pub owner_id: i64,
    pub name: String,
    pub comment: String,
    pub access_kind: String,
    pub access_role_id: Option<i64>,
    pub scopes: String,
    pub all_resources: bool,
    pub resources: String,
    pub ip_ranges: String,
    pub notice_recipients: String,
    pub created_at: i64,
    pub changed_at: i64,
    pub expires_at: Option<i64>,
    pub lifetime: Option<String>,
    pub expiry_set_at: i64,
    pub extensions: i64,
    pub disabled_at: Option<i64>,
    pub disabled_by_id: Option<i64>,
    pub disabled_by: Option<String>,
    pub disable_reason: String,
    pub revoked_at: Option<i64>,
    pub revoked_by_id: Option<i64>,
    pub revoked_by: Option<String>,
    pub revoke_reason: String,
    pub hash: Vec<u8>,
    pub pepper: i64,
    pub made_at: i64,
    pub made_by: String,
    pub used_at: Option<i64>,
    pub used_ip: Option<String>,
    pub old_hash: Option<Vec<u8>>,
    pub old_pepper: Option<i64>,
    pub old_made_at: Option<i64>,
    pub old_made_by: Option<String>,
    pub old_used_at: Option<i64>,
    pub old_used_ip: Option<String>,
    pub old_replaced_at: Option<i64>,
    pub old_own_expiry: Option<i64>,
    pub old_stops_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub last_used_ip: Option<String>,
    pub version: i64,
    pub name_folded: String,
    pub owner_folded: String,
    pub search: String,
}

fn list<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Row(error.to_string()))
}

fn text<T: serde::Serialize>(list: &T) -> String {
    serde_json::to_string(list).unwrap_or_else(|_| "[]".into())
}

fn last_use(at: Option<i64>, ip: Option<String>) -> Option<Use> {
    at.map(|at| Use { at: moment(at), ip })
}

impl TryFrom<KeyRow> for Key {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let broken = |what: &str| StoreError::Row(format!("key {}: {what}", row.id));
        let access = match (row.access_kind.as_str(), row.access_role_id) {
            ("owner", _) => KeyAccess::Owner,
            ("role", Some(role)) => KeyAccess::Role(AccessRoleId(role)),
            ("scopes", _) => KeyAccess::Scopes(list::<Scopes>(&row.scopes)?),
            _ => return Err(broken("access")),
        };
        let resources = if row.all_resources { ResourceSet::All } else { ResourceSet::Chosen(list::<BTreeSet<ResourcePattern>>(&row.resources)?) };
        let old = match (row.old_made_at, row.old_replaced_at, row.old_stops_at) {
            (Some(made_at), Some(replaced_at), Some(stops_at)) => Some(OldSecret {
                secret: SecretFacts {
                    made_at: moment(made_at),
                    made_by: row.old_made_by.unwrap_or_default(),
                    last_used: last_use(row.old_used_at, row.old_used_ip),
                },
                replaced_at: moment(replaced_at),
                own_expiry: row.old_own_expiry.map(moment),
                stops_at: moment(stops_at),
            }),
            _ => None,
        };
        let actor = |id: Option<i64>, name: Option<String>| name.map(|name| Actor { member: id.map(MemberId), name });
        Ok(Self {
            id: KeyId::parse(&row.id).ok_or_else(|| StoreError::Row(format!("key ID {}", row.id)))?,
            tenant: TenantId::from_row(row.tenant_id),
            seq: row.seq,
            owner: MemberId(row.owner_id),
            name: KeyName::try_from(row.name).map_err(|error| StoreError::Row(error.to_string()))?,
            comment: row.comment,
            access,
            resources,
            ip_ranges: list::<IpRanges>(&row.ip_ranges)?,
            notice_recipients: list::<Vec<EmailAddress>>(&row.notice_recipients)?,
            created_at: moment(row.created_at),
            changed_at: moment(row.changed_at),
            life: Life { expires_at: row.expires_at.map(moment), disabled_at: row.disabled_at.map(moment), revoked_at: row.revoked_at.map(moment) },
            lifetime: row.lifetime.as_deref().map(str::parse).transpose().map_err(|_| StoreError::Row("lifetime".into()))?,
            expiry_set_at: moment(row.expiry_set_at),
            extensions: u32::try_from(row.extensions).unwrap_or_default(),
            current: SecretFacts { made_at: moment(row.made_at), made_by: row.made_by, last_used: last_use(row.used_at, row.used_ip) },
            old,
            disabled_by: actor(row.disabled_by_id, row.disabled_by),
            disable_reason: row.disable_reason,
            revoked_by: actor(row.revoked_by_id, row.revoked_by),
            revoke_reason: row.revoke_reason,
            last_used: last_use(row.last_used_at, row.last_used_ip),
            version: row.version,
        })
    }
}

/// What parts words, and the capital that stands for each of them in [`search_text`].
const SIGNS: &str = "\n .@-_/:%\\,()#+=&!?*;'\"[]";
const CAPITALS: &[u8; SIGNS.len()] = b"QXZJVKWYBFGHPUMCDEAILNORS";

/// A text as filters compare it: small letters, with capitals in the place of what parts words. The index of PostgreSQL leaves
/// out all but letters and digits, so without them it would know of no order of words, and a filter of words that every key
/// has, in an order that none has, would read every key.
pub fn as_searched(text: &str) -> String {
    let stand_in = |c: char| SIGNS.find(c).map_or(c, |at| char::from(CAPITALS[at]));
    text.to_lowercase().chars().map(stand_in).collect()
}

/// All that the grid's filter looks at, [`as_searched`]; each field begins after two line breaks, so that its beginning can be asked for.
pub fn search_text(id: KeyId, name: &str, comment: &str, owner: &Owner) -> String {
    as_searched(&format!("\n\n{name}\n\n{id}\n\n{}\n\n{}\n\n{comment}", owner.name, owner.email))
}

/// The owner as keys are sorted by it.
pub fn owner_folded(owner: &Owner) -> String {
    format!("{}\n{}", owner.name, owner.email).to_lowercase()
}

/// The changeable part of a row, written from a [`Key`]; hashes, use and creation stay.
fn assign(row: &mut KeyRow, key: &Key, owner: &Owner) {
    row.owner_id = key.owner.0;
    key.name.as_str().clone_into(&mut row.name);
    row.comment.clone_from(&key.comment);
    (row.access_kind, row.access_role_id, row.scopes) = match &key.access {
        KeyAccess::Owner => ("owner".to_owned(), None, "[]".to_owned()),
        KeyAccess::Role(role) => ("role".to_owned(), Some(role.0), "[]".to_owned()),
        KeyAccess::Scopes(scopes) => ("scopes".to_owned(), None, text(scopes)),
    };
    row.all_resources = key.resources == ResourceSet::All;
    row.resources = key.resources.chosen().map_or_else(|| "[]".to_owned(), text);
    row.ip_ranges = text(&key.ip_ranges);
    row.notice_recipients = text(&key.notice_recipients);
    row.changed_at = micros(key.changed_at);
    row.expires_at = key.life.expires_at.map(micros);
    row.lifetime = key.lifetime.map(|lifetime| lifetime.to_string());
    row.expiry_set_at = micros(key.expiry_set_at);
    row.extensions = key.extensions.into();
    row.disabled_at = key.life.disabled_at.map(micros);
    row.disabled_by_id = key.disabled_by.as_ref().and_then(|by| by.member).map(|id| id.0);
    row.disabled_by = key.disabled_by.as_ref().map(|by| by.name.clone());
    row.disable_reason.clone_from(&key.disable_reason);
    row.revoked_at = key.life.revoked_at.map(micros);
    row.revoked_by_id = key.revoked_by.as_ref().and_then(|by| by.member).map(|id| id.0);
    row.revoked_by = key.revoked_by.as_ref().map(|by| by.name.clone());
    row.revoke_reason.clone_from(&key.revoke_reason);
    row.old_stops_at = key.old.as_ref().map(|old| micros(old.stops_at)).or(row.old_stops_at);
    row.name_folded = key.name.as_str().to_lowercase();
    row.owner_folded = owner_folded(owner);
    row.search = search_text(key.id, key.name.as_str(), &key.comment, owner);
}

/// Brings what the rows of a member's keys say of their owner up to date.
///
/// # Errors
/// The database is away.
pub(super) fn follow_owner(tx: &mut Tx<'_>, tenant: TenantId, owner: &Owner) -> Result<(), StoreError> {
    let mine = || table::table.filter(table::tenant_id.eq(tenant.number()).and(table::owner_id.eq(owner.id.0)));
    let rows: Vec<(i64, String, String, String)> = mine().select((table::seq, table::id, table::name, table::comment)).load(tx.conn())?;
    for (seq, id, name, comment) in rows {
        let id = KeyId::parse(&id).ok_or_else(|| StoreError::Row(format!("key ID {id}")))?;
        diesel::update(table::table.filter(table::seq.eq(seq)))
            .set((table::owner_folded.eq(owner_folded(owner)), table::search.eq(search_text(id, &name, &comment, owner))))
            .execute(tx.conn())?;
    }
    Ok(())
}

/// A row that nobody has stored yet.
fn new_row(key: &Key, owner: &Owner, hash: SecretHash, pepper: i64) -> KeyRow {
    let mut row = KeyRow {
        seq: 0,
        tenant_id: key.tenant.number(),
        id: key.id.to_string(),
        owner_id: 0,
        name: String::new(),
        comment: String::new(),
        access_kind: String::new(),
        access_role_id: None,
        scopes: String::new(),
        all_resources: false,
        resources: String::new(),
        ip_ranges: String::new(),
        notice_recipients: String::new(),
        created_at: micros(key.created_at),
        changed_at: 0,
        expires_at: None,
        lifetime: None,
        expiry_set_at: 0,
        extensions: 0,
        disabled_at: None,
        disabled_by_id: None,
        disabled_by: None,
        disable_reason: String::new(),
        revoked_at: None,
        revoked_by_id: None,
        revoked_by: None,
        revoke_reason: String::new(),
        hash: hash.0.to_vec(),
        pepper,
        made_at: micros(key.current.made_at),
        made_by: key.current.made_by.clone(),
        used_at: key.current.last_used.as_ref().map(|used| micros(used.at)),
        used_ip: key.current.last_used.as_ref().and_then(|used| used.ip.clone()),
        old_hash: None,
        old_pepper: None,
        old_made_at: None,
        old_made_by: None,
        old_used_at: None,
        old_used_ip: None,
        old_replaced_at: None,
        old_own_expiry: None,
        old_stops_at: None,
        last_used_at: key.last_used.as_ref().map(|used| micros(used.at)),
        last_used_ip: key.last_used.as_ref().and_then(|used| used.ip.clone()),
        version: 1,
        name_folded: String::new(),
        owner_folded: String::new(),
        search: String::new(),
    };
    assign(&mut row, key, owner);
    row
}

/// A key that `reach` lets the caller see; `None` for one that does not exist, and for one out of reach alike.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, reach: &Reach, id: KeyId) -> Result<Option<Key>, StoreError> {
    find_row(db, reach, id)?.map(Key::try_from).transpose()
}

fn find_row(db: &mut Db, reach: &Reach, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
    let row: Option<KeyRow> =
        table::table.filter(table::tenant_id.eq(reach.tenant().number()).and(table::id.eq(id.as_str()))).first(db.conn()).optional()?;
    Ok(row.filter(|row| reach.owners().is_none_or(|owners| owners.contains(&row.owner_id))))
}

/// Several keys that `reach` lets the caller see, newest first.
///
/// # Errors
/// The database is away.
pub fn find_many(db: &mut Db, reach: &Reach, ids: &[KeyId]) -> Result<Vec<Key>, StoreError> {
    let ids: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
    let rows: Vec<KeyRow> =
        table::table.filter(table::tenant_id.eq(reach.tenant().number()).and(table::id.eq_any(ids))).order(table::seq.desc()).load(db.conn())?;
    rows.into_iter().filter(|row| reach.owners().is_none_or(|owners| owners.contains(&row.owner_id))).map(Key::try_from).collect()
}

/// As [`find_many`], without the keys whose rows cannot be read; the log says which.
///
/// # Errors
/// The database is away.
pub fn find_readable(db: &mut Db, reach: &Reach, ids: &[KeyId]) -> Result<Vec<Key>, StoreError> {
    let ids: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
    let rows: Vec<KeyRow> =
        table::table.filter(table::tenant_id.eq(reach.tenant().number()).and(table::id.eq_any(ids))).order(table::seq.desc()).load(db.conn())?;
    let seen = rows.into_iter().filter(|row| reach.owners().is_none_or(|owners| owners.contains(&row.owner_id)));
    let read = seen.filter_map(|row| {
        let (tenant, seq) = (row.tenant_id, row.seq);
        Key::try_from(row).inspect_err(|error| tracing::error!(tenant, key = seq, %error, "a key cannot be read and is left out")).ok()
    });
    Ok(read.collect())
}

/// The keys of a member that are not revoked, newest first.
///
/// # Errors
/// The database is away.
pub fn not_revoked_of(db: &mut Db, tenant: TenantId, owner: MemberId) -> Result<Vec<Key>, StoreError> {
    let rows: Vec<KeyRow> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::owner_id.eq(owner.0)).and(table::revoked_at.is_null()))
        .order(table::seq.desc())
        .load(db.conn())?;
    rows.into_iter().map(Key::try_from).collect()
}

/// The keys of a member that count against the limit, by what they are at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// Active ones.
    pub active: usize,
    /// Expired ones.
    pub expired: usize,
    /// Disabled ones.
    pub disabled: usize,
}

impl Parts {
    /// How many there are.
    pub fn all(self) -> i64 {
        i64::try_from(self.active + self.expired + self.disabled).unwrap_or(i64::MAX)
    }
}

impl std::fmt::Display for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [(self.active, "active"), (self.expired, "expired"), (self.disabled, "disabled")];
        let named: Vec<String> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        write!(f, "{}", named.join(", "))
    }
}

/// The keys of a member that count against the limit, by what they are.
///
/// # Errors
/// The database is away.
pub fn parts(db: &mut Db, tenant: TenantId, owner: MemberId, now: Time) -> Result<Parts, StoreError> {
    let rows: Vec<(Option<i64>, Option<i64>)> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::owner_id.eq(owner.0)).and(table::revoked_at.is_null()))
        .select((table::disabled_at, table::expires_at))
        .load(db.conn())?;
    let mut parts = Parts::default();
    for row in rows {
        match row {
            (Some(_), _) => parts.disabled += 1,
            (None, Some(end)) if end <= micros(now) => parts.expired += 1,
            _ => parts.active += 1,
        }
    }
    Ok(parts)
}

/// How many keys of the tenant are disabled by another than their owner, or a keeper of it: these their owners cannot enable.
///
/// # Errors
/// The database is away.
pub fn disabled_by_others(db: &mut Db, tenant: TenantId) -> Result<i64, StoreError> {
    use super::schema::keepers;
    let rows: Vec<(i64, Option<i64>)> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::revoked_at.is_null()).and(table::disabled_at.is_not_null()))
        .filter(table::disabled_by_id.is_null().or(table::disabled_by_id.ne(table::owner_id.nullable())))
        .select((table::owner_id, table::disabled_by_id))
        .load(db.conn())?;
    let kept: Vec<(i64, i64)> =
        keepers::table.filter(keepers::tenant_id.eq(tenant.number())).select((keepers::service_id, keepers::keeper_id)).load(db.conn())?;
    let by_another = |(owner, by): &&(i64, Option<i64>)| !by.is_some_and(|by| kept.contains(&(*owner, by)));
    Ok(i64::try_from(rows.iter().filter(by_another).count()).unwrap_or(i64::MAX))
}

/// How many keys of a member count against the limit: those neither revoked nor deleted.
///
/// # Errors
/// The database is away.
pub fn count_for_limit(db: &mut Db, tenant: TenantId, owner: MemberId) -> Result<i64, StoreError> {
    Ok(table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::owner_id.eq(owner.0)).and(table::revoked_at.is_null()))
        .count()
        .get_result(db.conn())?)
}

/// Stores a new key; its `seq` is given by the database.
///
/// # Errors
/// The database is away.
pub fn insert(tx: &mut Tx<'_>, key: &Key, owner: &Owner, hash: SecretHash, pepper: i64) -> Result<(), StoreError> {
    let row = new_row(key, owner, hash, pepper);
    diesel::insert_into(table::table).values(&row).execute(tx.conn())?;
    tx.changed(Change::Key(key.tenant, key.id));
    Ok(())
}

/// A key to store with the hashes of its secrets, for many at once.
pub struct NewKey<'a> {
    /// The key; `old` may be set.
    pub key: &'a Key,
    /// Its owner.
    pub owner: &'a Owner,
    /// The hash of the current secret.
    pub hash: SecretHash,
    /// The hash of the old secret, where there is one.
    pub old_hash: Option<SecretHash>,
    /// The version of the pepper.
    pub pepper: i64,
}

/// Stores many new keys, several rows a statement.
///
/// # Errors
/// The database is away.
pub fn insert_many(tx: &mut Tx<'_>, keys: &[NewKey<'_>]) -> Result<(), StoreError> {
    // SQLite takes 32 766 values in one statement.
    for chunk in keys.chunks(500) {
        let rows: Vec<KeyRow> = chunk
            .iter()
            .map(|new| {
                let mut row = new_row(new.key, new.owner, new.hash, new.pepper);
                if let (Some(old), Some(hash)) = (&new.key.old, new.old_hash) {
                    row.old_hash = Some(hash.0.to_vec());
                    row.old_pepper = Some(new.pepper);
                    row.old_made_at = Some(micros(old.secret.made_at));
                    row.old_made_by = Some(old.secret.made_by.clone());
                    row.old_used_at = old.secret.last_used.as_ref().map(|used| micros(used.at));
                    row.old_used_ip = old.secret.last_used.as_ref().and_then(|used| used.ip.clone());
                    row.old_replaced_at = Some(micros(old.replaced_at));
                    row.old_own_expiry = old.own_expiry.map(micros);
                }
                row
            })
            .collect();
        insert_rows(tx, &rows)?;
    }
    tx.changed(Change::Everything);
    Ok(())
}

fn insert_rows(tx: &mut Tx<'_>, rows: &[KeyRow]) -> Result<(), StoreError> {
    per_backend!(tx.conn(), |inner| diesel::insert_into(table::table).values(rows).execute(inner))?;
    Ok(())
}

/// Saves a changed key, unless somebody changed it since it was read as `version`. Returns whether it was saved.
///
/// # Errors
/// The database is away.
pub fn save(tx: &mut Tx<'_>, key: &Key, version: i64, owner: &Owner) -> Result<bool, StoreError> {
    let Some(mut row) = hold(tx, key, version)? else { return Ok(false) };
    assign(&mut row, key, owner);
    write(tx, &mut row, version)
}

/// Reads the row for changing it: nobody else writes it until the commit, so the use that is written behind is not lost.
fn hold(tx: &mut Tx<'_>, key: &Key, version: i64) -> Result<Option<KeyRow>, StoreError> {
    let target = table::table.filter(table::tenant_id.eq(key.tenant.number()).and(table::id.eq(key.id.as_str())).and(table::version.eq(version)));
    if diesel::update(target).set(table::version.eq(version)).execute(tx.conn())? == 0 {
        return Ok(None);
    }
    Ok(table::table.filter(table::tenant_id.eq(key.tenant.number()).and(table::id.eq(key.id.as_str()))).first(tx.conn()).optional()?)
}

fn write(tx: &mut Tx<'_>, row: &mut KeyRow, version: i64) -> Result<bool, StoreError> {
    row.version = version + 1;
    let rows = {
        let row = &*row;
        let target = table::table.filter(table::tenant_id.eq(row.tenant_id).and(table::id.eq(&row.id)).and(table::version.eq(version)));
        diesel::update(target).set(row).execute(tx.conn())?
    };
    if let Some(id) = KeyId::parse(&row.id) {
        tx.changed(Change::Key(TenantId::from_row(row.tenant_id), id));
    }
    Ok(rows == 1)
}

/// Gives a key a new secret and saves the rest of `key` with it. Secrets that stop are remembered as dead, the last ten.
/// Returns whether it was saved: not if somebody changed the key since it was read as `version`.
///
/// # Errors
/// The database is away.
pub fn replace_secret(
    tx: &mut Tx<'_>,
    key: &Key,
    version: i64,
    owner: &Owner,
    stays: Stays,
    hash: SecretHash,
    pepper: i64,
) -> Result<bool, StoreError> {
    let Some(mut row) = hold(tx, key, version)? else { return Ok(false) };
    let own_expiry = row.expires_at;
    assign(&mut row, key, owner);
    let now = micros(tx.now());
    let current = Dead { hash: row.hash.clone(), pepper: row.pepper, made_at: row.made_at, made_by: row.made_by.clone() };
    let old = old_secret(&row);
    match stays {
        Stays::Old(until) => {
            bury(tx, &row, &current, now)?;
            row.old_stops_at = Some(micros(until));
        }
        Stays::Current(until) => {
            if let Some(old) = old {
                bury(tx, &row, &old, now)?;
            }
            row.old_hash = Some(current.hash);
            row.old_pepper = Some(current.pepper);
            row.old_made_at = Some(current.made_at);
            row.old_made_by = Some(current.made_by);
            row.old_used_at = row.used_at;
            row.old_used_ip = row.used_ip.take();
            row.old_replaced_at = Some(now);
            row.old_own_expiry = own_expiry;
            row.old_stops_at = Some(micros(until));
        }
        Stays::None => {
            if let Some(old) = old {
                bury(tx, &row, &old, now)?;
            }
            bury(tx, &row, &current, now)?;
            forget_old(&mut row);
        }
    }
    row.hash = hash.0.to_vec();
    row.pepper = pepper;
    row.made_at = micros(key.current.made_at);
    row.made_by.clone_from(&key.current.made_by);
    row.used_at = None;
    row.used_ip = None;
    write(tx, &mut row, version)
}

/// Ends an overlap: the old secret is remembered as dead, so that no clock that goes back makes it work again. Returns whether it
/// was saved: not if somebody changed the key since it was read as `version`.
///
/// # Errors
/// The database is away.
pub fn finish(tx: &mut Tx<'_>, key: &Key, version: i64, owner: &Owner) -> Result<bool, StoreError> {
    let Some(mut row) = hold(tx, key, version)? else { return Ok(false) };
    assign(&mut row, key, owner);
    if let Some(old) = old_secret(&row) {
        let now = micros(tx.now());
        bury(tx, &row, &old, now)?;
    }
    forget_old(&mut row);
    write(tx, &mut row, version)
}

fn old_secret(row: &KeyRow) -> Option<Dead> {
    let (hash, pepper, made_at) = (row.old_hash.clone()?, row.old_pepper?, row.old_made_at?);
    Some(Dead { hash, pepper, made_at, made_by: row.old_made_by.clone().unwrap_or_default() })
}

fn forget_old(row: &mut KeyRow) {
    row.old_hash = None;
    row.old_pepper = None;
    row.old_made_at = None;
    row.old_made_by = None;
    row.old_used_at = None;
    row.old_used_ip = None;
    row.old_replaced_at = None;
    row.old_own_expiry = None;
    row.old_stops_at = None;
}

struct Dead {
    hash: Vec<u8>,
    pepper: i64,
    made_at: i64,
    made_by: String,
}

fn bury(tx: &mut Tx<'_>, row: &KeyRow, secret: &Dead, now: i64) -> Result<(), StoreError> {
    diesel::insert_into(dead::table)
        .values((
            dead::tenant_id.eq(row.tenant_id),
            dead::key_id.eq(&row.id),
            dead::hash.eq(&secret.hash),
            dead::pepper.eq(secret.pepper),
            dead::made_at.eq(secret.made_at),
            dead::made_by.eq(&secret.made_by),
            dead::died_at.eq(now),
        ))
        .execute(tx.conn())?;
    let of_key = dead::tenant_id.eq(row.tenant_id).and(dead::key_id.eq(row.id.clone()));
    let made: Vec<(i64, Vec<u8>)> =
        dead::table.filter(of_key.clone()).order((dead::died_at.desc(), dead::made_at.desc())).select((dead::made_at, dead::hash)).load(tx.conn())?;
    for (_, hash) in made.into_iter().skip(DEAD_SECRETS) {
        diesel::delete(dead::table.filter(of_key.clone()).filter(dead::hash.eq(hash))).execute(tx.conn())?;
    }
    Ok(())
}

/// Removes a revoked key; a tombstone stays for its events.
///
/// # Errors
/// The database is away.
pub fn delete(tx: &mut Tx<'_>, key: &Key, owner: &Owner) -> Result<(), StoreError> {
    let (tenant, now) = (key.tenant.number(), micros(tx.now()));
    diesel::insert_into(deleted::table)
        .values((
            deleted::tenant_id.eq(tenant),
            deleted::id.eq(key.id.as_str()),
            deleted::name.eq(key.name.as_str()),
            deleted::owner_id.eq(key.owner.0),
            deleted::owner_name.eq(&owner.name),
            deleted::created_at.eq(micros(key.created_at)),
            deleted::revoked_at.eq(key.life.revoked_at.map_or(now, micros)),
            deleted::deleted_at.eq(now),
        ))
        .execute(tx.conn())?;
    diesel::delete(dead::table.filter(dead::tenant_id.eq(tenant).and(dead::key_id.eq(key.id.as_str())))).execute(tx.conn())?;
    diesel::delete(table::table.filter(table::tenant_id.eq(tenant).and(table::id.eq(key.id.as_str())))).execute(tx.conn())?;
    tx.changed(Change::Key(key.tenant, key.id));
    Ok(())
}

/// The hours in which a key was used since `from`, oldest first: `(hour, accepted, refused)`.
///
/// # Errors
/// The database is away.
pub fn usage_since(db: &mut Db, tenant: TenantId, key: KeyId, from: Time) -> Result<Vec<(Time, i64, i64)>, StoreError> {
    let rows: Vec<(i64, i64, i64)> = usage::table
        .filter(usage::tenant_id.eq(tenant.number()).and(usage::key_id.eq(key.as_str())).and(usage::hour.ge(from.timestamp().div_euclid(3600))))
        .order(usage::hour)
        .select((usage::hour, usage::accepted, usage::refused))
        .load(db.conn())?;
    Ok(rows.into_iter().map(|(hour, accepted, refused)| (moment(hour * 3_600_000_000), accepted, refused)).collect())
}
