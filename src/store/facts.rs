//! What verification needs to know of a key, its owner, its tenant and a gateway credential, in few reads by key.
//!
//! A key is found here by its ID alone: who presents its secret has named it. The hashes leave the store for verification only.

use diesel::prelude::*;

use super::{
    Db, StoreError, access, moment,
    schema::{changes, dead_secrets as dead, gateways, keys as table, member_access_roles as held, members},
    tenants::{self, Tenant},
};
use crate::domain::{
    access::{KeyAccess, ResourceSet, effective_scopes},
    ids::{AccessRoleId, GatewayId, KeyId, MemberId, TenantId},
    ip_range::IpRanges,
    key::Life,
    names::Scopes,
    time::Time,
    token::SecretHash,
};

/// The stored form of a secret, with the version of the pepper that it was hashed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSecret {
    /// The keyed hash.
    pub hash: SecretHash,
    /// The pepper's version.
    pub pepper: i64,
}

/// The older secret of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredOld {
    /// Its stored form.
    pub secret: StoredSecret,
    /// When it was first replaced.
    pub replaced_at: Time,
    /// When it stops, or stopped.
    pub stops_at: Time,
}

/// A key as verification needs it.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its owner.
    pub owner: MemberId,
    /// Its name.
    pub name: String,
    /// How its scopes were chosen.
    pub access: KeyAccess,
    /// Its resources, not yet cut to the owner's.
    pub resources: ResourceSet,
    /// Where it may be used from.
    pub ip_ranges: IpRanges,
    /// Expiry, disabled, revoked.
    pub life: Life,
    /// The current secret.
    pub current: StoredSecret,
    /// Whether the current secret was ever used.
    pub used: bool,
    /// The older one.
    pub old: Option<StoredOld>,
    /// The last ten that are dead.
    pub dead: Vec<StoredSecret>,
}

/// The owner as verification needs it.
#[derive(Debug, Clone)]
pub struct StoredOwner {
    /// Neither suspended nor removed.
    pub active: bool,
    /// The address of a person; a service account has none of its own.
    pub email: Option<String>,
    /// The access roles that they hold.
    pub roles: Vec<AccessRoleId>,
    /// The resources that they may reach.
    pub resources: ResourceSet,
}

/// A gateway credential as verification needs it.
#[derive(Debug, Clone)]
pub struct StoredGateway {
    /// The credential.
    pub id: GatewayId,
    /// Its tenant.
    pub tenant: TenantId,
    /// When it ends; there is no grace.
    pub expires_at: Option<Time>,
    /// It was stopped for good.
    pub revoked: bool,
    /// The current secret.
    pub current: StoredSecret,
    /// The one before it, and when that stops.
    pub old: Option<(StoredSecret, Time)>,
}

fn secret(hash: Vec<u8>, pepper: i64) -> Result<StoredSecret, StoreError> {
    let hash = hash.try_into().map_err(|_| StoreError::Row("the hash of a secret".into()))?;
    Ok(StoredSecret { hash: SecretHash(hash), pepper })
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Row(error.to_string()))
}

type KeyColumns = (
    (i64, i64, String, String, Option<i64>, String, bool, String, String),
    (Option<i64>, Option<i64>, Option<i64>, i64, i64, Option<i64>),
    (Vec<u8>, i64, Option<Vec<u8>>, Option<i64>, Option<i64>, Option<i64>),
);

/// The key with this ID.
///
/// # Errors
/// The database is away.
pub fn key(db: &mut Db, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
    // One row at most, and no LIMIT: SQLite prepares a statement anew each time a limit is bound to it.
    let found: Option<KeyColumns> = table::table
        .filter(table::id.eq(id.as_str()))
        .select((
            (
                table::tenant_id,
                table::owner_id,
                table::name,
                table::access_kind,
                table::access_role_id,
                table::scopes,
                table::all_resources,
                table::resources,
                table::ip_ranges,
            ),
            (table::expires_at, table::disabled_at, table::revoked_at, table::created_at, table::made_at, table::used_at),
            (table::hash, table::pepper, table::old_hash, table::old_pepper, table::old_replaced_at, table::old_stops_at),
        ))
        .get_result(db.conn())
        .optional()?;
    let Some((what, times, hashes)) = found else { return Ok(None) };
    let (tenant, owner, name, access_kind, role, scopes, all_resources, resources, ip_ranges) = what;
    let (expires_at, disabled_at, revoked_at, created_at, made_at, used_at) = times;
    let (hash, pepper, old_hash, old_pepper, old_replaced_at, old_stops_at) = hashes;
    let access = match (access_kind.as_str(), role) {
        ("owner", _) => KeyAccess::Owner,
        ("role", Some(role)) => KeyAccess::Role(AccessRoleId(role)),
        ("scopes", _) => KeyAccess::Scopes(json(&scopes)?),
        _ => return Err(StoreError::Row(format!("the access of key {id}"))),
    };
    let old = match (old_hash, old_pepper, old_replaced_at, old_stops_at) {
        (Some(hash), Some(pepper), Some(replaced_at), Some(stops_at)) => {
            Some(StoredOld { secret: secret(hash, pepper)?, replaced_at: moment(replaced_at), stops_at: moment(stops_at) })
        }
        _ => None,
    };
    // A key that was never rolled has no dead secret, so most keys need one read only.
    let dead = if made_at == created_at { Vec::new() } else { dead_secrets(db, TenantId::from_row(tenant), id)? };
    Ok(Some(StoredKey {
        tenant: TenantId::from_row(tenant),
        owner: MemberId(owner),
        name,
        access,
        resources: if all_resources { ResourceSet::All } else { ResourceSet::Chosen(json(&resources)?) },
        ip_ranges: if ip_ranges == "[]" { IpRanges::default() } else { json(&ip_ranges)? },
        life: Life { expires_at: expires_at.map(moment), disabled_at: disabled_at.map(moment), revoked_at: revoked_at.map(moment) },
        current: secret(hash, pepper)?,
        used: used_at.is_some(),
        old,
        dead,
    }))
}

fn dead_secrets(db: &mut Db, tenant: TenantId, id: KeyId) -> Result<Vec<StoredSecret>, StoreError> {
    let rows: Vec<(Vec<u8>, i64)> = dead::table
        .filter(dead::tenant_id.eq(tenant.number()).and(dead::key_id.eq(id.as_str())))
        .order(dead::died_at.desc())
        .limit(10)
        .select((dead::hash, dead::pepper))
        .load(db.conn())?;
    rows.into_iter().map(|(hash, pepper)| secret(hash, pepper)).collect()
}

/// The owner of a key of the tenant, in one read but for chosen resources.
///
/// # Errors
/// The database is away.
pub fn owner(db: &mut Db, tenant: TenantId, id: MemberId) -> Result<Option<StoredOwner>, StoreError> {
    type Row = (Option<i64>, String, Option<i64>, Option<i64>, bool, Option<i64>);
    let rows: Vec<Row> = members::table
        .left_join(held::table.on(held::tenant_id.eq(members::tenant_id).and(held::member_id.eq(members::id))))
        .filter(members::tenant_id.eq(tenant.number()).and(members::id.eq(id.0)))
        .select((members::account_id, members::email, members::suspended_at, members::removed_at, members::all_resources, held::role_id.nullable()))
        .load(db.conn())?;
    let roles = rows.iter().filter_map(|row| row.5).map(AccessRoleId).collect();
    let Some((account, email, suspended_at, removed_at, all_resources, _)) = rows.into_iter().next() else { return Ok(None) };
    Ok(Some(StoredOwner {
        active: suspended_at.is_none() && removed_at.is_none(),
        email: account.map(|_| email),
        roles,
        resources: if all_resources { ResourceSet::All } else { access::chosen_resources(db, tenant, id)? },
    }))
}

/// The gateway credential with this public ID.
///
/// # Errors
/// The database is away.
pub fn gateway(db: &mut Db, id: KeyId) -> Result<Option<StoredGateway>, StoreError> {
    type Row = (i64, i64, Option<i64>, Option<i64>, (Vec<u8>, i64), (Option<Vec<u8>>, Option<i64>, Option<i64>));
    let found: Option<Row> = gateways::table
        .filter(gateways::public_id.eq(id.as_str()))
        .select((
            gateways::id,
            gateways::tenant_id,
            gateways::expires_at,
            gateways::revoked_at,
            (gateways::hash, gateways::pepper),
            (gateways::old_hash, gateways::old_pepper, gateways::old_stops_at),
        ))
        .get_result(db.conn())
        .optional()?;
    let Some((id, tenant, expires_at, revoked_at, (hash, pepper), old)) = found else { return Ok(None) };
    let old = match old {
        (Some(hash), Some(pepper), Some(stops_at)) => Some((secret(hash, pepper)?, moment(stops_at))),
        _ => None,
    };
    Ok(Some(StoredGateway {
        id: GatewayId(id),
        tenant: TenantId::from_row(tenant),
        expires_at: expires_at.map(moment),
        revoked: revoked_at.is_some(),
        current: secret(hash, pepper)?,
        old,
    }))
}

/// A key with all that its verdict depends on, as it is now.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The tenant.
    pub tenant: Tenant,
    /// The key.
    pub key: StoredKey,
    /// The owner.
    pub owner: StoredOwner,
    /// The scopes that the owner's access roles hold.
    pub owner_scopes: Scopes,
    /// The scopes in effect, cut to the owner's.
    pub scopes: Scopes,
    /// The resources in effect, cut to the owner's.
    pub resources: ResourceSet,
}

/// A key of the tenant with all that its verdict depends on.
///
/// # Errors
/// The database is away.
pub fn resolved(db: &mut Db, tenant: TenantId, id: KeyId) -> Result<Option<Resolved>, StoreError> {
    let Some(key) = key(db, id)?.filter(|key| key.tenant == tenant) else { return Ok(None) };
    let Some(owner) = owner(db, tenant, key.owner)? else { return Ok(None) };
    let role = match key.access {
        KeyAccess::Role(role) => access::role(db, tenant, role)?.map(|role| role.scopes),
        _ => None,
    };
    let owner_scopes = access::held_by(db, tenant, key.owner)?.scopes;
    let scopes = effective_scopes(&key.access, role.as_ref(), &owner_scopes);
    let resources = key.resources.cut_to(&owner.resources);
    Ok(Some(Resolved { tenant: tenants::get(db, tenant)?, key, owner, owner_scopes, scopes, resources }))
}

/// The IDs of keys after `after`, in their own order.
///
/// # Errors
/// The database is away.
pub fn key_ids_after(db: &mut Db, after: &str, most: i64) -> Result<Vec<String>, StoreError> {
    Ok(table::table.filter(table::id.gt(after)).order(table::id).limit(most).select(table::id).load(db.conn())?)
}

/// The IDs of keys made after the key with number `after`, with their numbers.
///
/// # Errors
/// The database is away.
pub fn key_ids_made_after(db: &mut Db, after: i64, most: i64) -> Result<Vec<(i64, String)>, StoreError> {
    Ok(table::table.filter(table::seq.gt(after)).order(table::seq).limit(most).select((table::seq, table::id)).load(db.conn())?)
}

/// The number of the newest key.
///
/// # Errors
/// The database is away.
pub fn newest_key(db: &mut Db) -> Result<i64, StoreError> {
    Ok(table::table.select(diesel::dsl::max(table::seq)).first::<Option<i64>>(db.conn())?.unwrap_or(0))
}

/// The public IDs of every gateway credential.
///
/// # Errors
/// The database is away.
pub fn gateway_ids(db: &mut Db) -> Result<Vec<String>, StoreError> {
    Ok(gateways::table.select(gateways::public_id).load(db.conn())?)
}

/// A notice of change as it was written: it tells whether a database is still the one that was read before.
pub type Mark = (i64, i64, String, String, i64);

/// The notice of change with this number.
///
/// # Errors
/// The database is away.
pub fn mark(db: &mut Db, seq: i64) -> Result<Option<Mark>, StoreError> {
    Ok(changes::table.find(seq).first(db.conn()).optional()?)
}
