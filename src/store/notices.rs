//! What a sweep for notices reads: keys that end soon or ended lately, what was told of them, and who is to be told.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::{
    Db, StoreError, extensions,
    members::{self, Owner},
    micros, moment,
    outbox::To,
    schema::{console_roles as roles, gateways, keepers, keys as table, member_roles, members as people, notices},
    tenants::Tenant,
};
use crate::domain::{
    ids::{KeyId, MemberId, TenantId},
    mail::Role,
    notice::Stage,
    permission::{BuiltIn, Permission, Permissions},
    time::Time,
};

/// A key that a notice may be due of.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its place in the order of creation.
    pub seq: i64,
    /// The key.
    pub id: KeyId,
    /// Its owner.
    pub owner: MemberId,
    /// When it expires.
    pub expires_at: Time,
    /// When this expiry was set, by a link, too.
    pub set_at: Time,
    /// The addresses that get its notices besides the owner.
    pub extra: Vec<String>,
    /// The last stage that everybody was told of for this expiry.
    pub told: Option<Stage>,
}

/// Place, ID, owner, expiry, when that was set, and extra recipients.
type CandidateRow = (i64, String, i64, Option<i64>, i64, String);

/// Some keys that a notice may be due of.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// The keys.
    pub keys: Vec<Candidate>,
    /// Behind which the next ones are (expiry and place); `None` where there are no more.
    pub last: Option<(Time, i64)>,
}

/// Keys of a tenant, neither revoked nor disabled, that expire between two moments: those after `last` (expiry and place), in the
/// order of their expiry, `most` at most. A key whose row cannot be read is left out, and the log says so. What was written from `unfinished` on belongs to a sweep that did not come to its end, so that others may
/// not have been told yet: it does not count as told.
///
/// # Errors
/// The database is away.
pub fn candidates(
    db: &mut Db,
    tenant: TenantId,
    (from, to): (Time, Time),
    last: (Time, i64),
    unfinished: Time,
    most: i64,
) -> Result<Candidates, StoreError> {
    let after = micros(last.0.max(from));
    let rows: Vec<CandidateRow> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::revoked_at.is_null()).and(table::disabled_at.is_null()))
        .filter(table::expires_at.ge(after).and(table::expires_at.lt(micros(to))))
        .filter(table::expires_at.gt(after).or(table::seq.gt(last.1)))
        .order((table::expires_at, table::seq))
        .limit(most)
        .select((table::seq, table::id, table::owner_id, table::expires_at, table::expiry_set_at, table::notice_recipients))
        .load(db.conn())?;
    let last = rows.last().map(|(seq, _, _, expires_at, ..)| (moment(expires_at.unwrap_or_default()), *seq));
    let mut found: Vec<Candidate> = rows.into_iter().filter_map(|row| readable(tenant, row)).collect();
    let ids: Vec<KeyId> = found.iter().map(|key| key.id).collect();
    let by_link = extensions::set_by_link(db, tenant, &ids)?;
    let told = told(db, tenant, &ids, unfinished)?;
    for key in &mut found {
        key.set_at = by_link.get(&key.id).copied().unwrap_or(key.set_at).max(key.set_at);
        key.told = told.get(&(key.id, micros(key.expires_at))).copied();
    }
    Ok(Candidates { keys: found, last })
}

/// A key from its row; what cannot be read of one must not keep the others from being told.
fn readable(tenant: TenantId, (seq, id, owner, expires_at, set_at, extra): CandidateRow) -> Option<Candidate> {
    let left_out = |what: &str| tracing::error!(tenant = tenant.number(), key = seq, "{what} of a key cannot be read: nobody is told of its end");
    let Some(id) = KeyId::parse(&id) else {
        left_out("the ID");
        return None;
    };
    let Ok(extra) = serde_json::from_str(&extra) else {
        left_out("the extra recipients");
        return None;
    };
    let expires_at = moment(expires_at.unwrap_or_default());
    Some(Candidate { seq, id, owner: MemberId(owner), expires_at, set_at: moment(set_at), extra, told: None })
}

fn told(db: &mut Db, tenant: TenantId, keys: &[KeyId], before: Time) -> Result<BTreeMap<(KeyId, i64), Stage>, StoreError> {
    let ids: Vec<&str> = keys.iter().map(KeyId::as_str).collect();
    let rows: Vec<(String, i64, String)> = notices::table
        .filter(notices::tenant_id.eq(tenant.number()).and(notices::key_id.eq_any(ids)))
        // Of what was dropped nobody was told.
        .filter(notices::created_at.lt(micros(before)).and(notices::dropped_at.is_null()))
        .select((notices::key_id, notices::expires_at, notices::stage))
        .load(db.conn())?;
    let mut last = BTreeMap::new();
    for (key, expires_at, stage) in rows {
        let (Some(key), Ok(stage)) = (KeyId::parse(&key), stage.parse::<Stage>()) else { continue };
        let told = last.entry((key, expires_at)).or_insert(stage);
        *told = stage.max(*told);
    }
    Ok(last)
}

/// Who is told what others did with a key of this owner: the owner while they are active; of a service account its contact and
/// keepers.
///
/// # Errors
/// The database is away.
pub fn who_looks_after(db: &mut Db, tenant: TenantId, owner: &Owner) -> Result<Vec<To>, StoreError> {
    if !owner.is_active() {
        return Ok(Vec::new());
    }
    let mut all = vec![To { address: owner.email.clone(), name: owner.name.clone() }];
    if owner.is_service() {
        let keepers = members::keepers(db, tenant, owner.id)?.into_iter().filter(Owner::is_active);
        all.extend(keepers.map(|keeper| To { address: keeper.email, name: keeper.name }));
    }
    all.retain(|to| !to.address.trim().is_empty());
    Ok(all)
}

/// Who is told of the keys of these owners: the owner; of a service account its contact and keepers; where nobody is active, the
/// admins of the tenant.
///
/// # Errors
/// The database is away.
pub fn recipients(db: &mut Db, tenant: &Tenant, owners: &[MemberId]) -> Result<BTreeMap<MemberId, Vec<(To, Role)>>, StoreError> {
    let ids: Vec<i64> = owners.iter().map(|id| id.0).collect();
    let kept: Vec<(i64, String, String)> = keepers::table
        .inner_join(people::table.on(people::tenant_id.eq(keepers::tenant_id).and(people::id.eq(keepers::keeper_id))))
        .filter(keepers::tenant_id.eq(tenant.id.number()).and(keepers::service_id.eq_any(ids)))
        .filter(people::suspended_at.is_null().and(people::removed_at.is_null()))
        .order((keepers::service_id, keepers::keeper_id))
        .select((keepers::service_id, people::email, people::name))
        .load(db.conn())?;
    let mut admins = None;
    let mut told = BTreeMap::new();
    for owner in members::find_many(db, tenant.id, owners)? {
        let mut to = Vec::new();
        if owner.is_active() {
            to.push((To { address: owner.email, name: owner.name }, Role::Owner));
            to.extend(kept.iter().filter(|(service, ..)| *service == owner.id.0).map(|(_, email, name)| {
                let to = To { address: email.clone(), name: name.clone() };
                (to, Role::Keeper)
            }));
            to.retain(|(to, _)| !to.address.trim().is_empty());
        }
        if to.is_empty() {
            if admins.is_none() {
                admins = Some(tenant_admins(db, tenant)?);
            }
            to = admins.iter().flatten().map(|to| (to.clone(), Role::Admin)).collect();
        }
        told.insert(owner.id, to);
    }
    Ok(told)
}

/// The active persons with the role Tenant admin.
///
/// # Errors
/// The database is away.
pub fn tenant_admins(db: &mut Db, tenant: &Tenant) -> Result<Vec<To>, StoreError> {
    let (_, stored, _) = BuiltIn::ALL[0];
    with_roles(db, tenant, |_, built_in, _| built_in == Some(stored))
}

/// The active persons who hold a permission.
///
/// # Errors
/// The database is away.
pub fn holders(db: &mut Db, tenant: &Tenant, permission: Permission) -> Result<Vec<To>, StoreError> {
    with_roles(db, tenant, |tenant, built_in, names| {
        let known = BuiltIn::ALL.iter().find(|(_, stored, _)| Some(*stored) == built_in);
        known.map_or_else(|| Permissions::parse(names), |(role, ..)| role.permissions(&tenant.settings)).has(permission)
    })
}

fn with_roles(db: &mut Db, tenant: &Tenant, has: impl Fn(&Tenant, Option<&str>, &str) -> bool) -> Result<Vec<To>, StoreError> {
    let all: Vec<(i64, Option<String>, String)> =
        roles::table.filter(roles::tenant_id.eq(tenant.id.number())).select((roles::id, roles::built_in, roles::permissions)).load(db.conn())?;
    let ids: Vec<i64> = all.iter().filter(|(_, built_in, names)| has(tenant, built_in.as_deref(), names)).map(|(id, ..)| *id).collect();
    let mut rows: Vec<(i64, String, String)> = people::table
        .inner_join(member_roles::table.on(member_roles::tenant_id.eq(people::tenant_id).and(member_roles::member_id.eq(people::id))))
        .filter(people::tenant_id.eq(tenant.id.number()).and(member_roles::role_id.eq_any(ids)))
        .filter(people::suspended_at.is_null().and(people::removed_at.is_null()).and(people::account_id.is_not_null()))
        .order(people::id)
        .select((people::id, people::email, people::name))
        .load(db.conn())?;
    rows.dedup_by_key(|(id, ..)| *id);
    Ok(rows.into_iter().map(|(_, address, name)| To { address, name }).collect())
}

/// A gateway credential that a notice may be due of.
#[derive(Debug, Clone)]
pub struct ExpiringGateway {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub set_at: Time,
    /// When it expires.
    pub expires_at: Time,
}

/// The gateway credentials of a tenant, not revoked, that expire between two moments.
///
/// # Errors
/// The database is away.
pub fn expiring_gateways(db: &mut Db, tenant: TenantId, (from, to): (Time, Time)) -> Result<Vec<ExpiringGateway>, StoreError> {
    let rows: Vec<(String, String, i64, Option<i64>)> = gateways::table
        .filter(gateways::tenant_id.eq(tenant.number()).and(gateways::revoked_at.is_null()))
        .filter(gateways::expires_at.ge(micros(from)).and(gateways::expires_at.lt(micros(to))))
        .order(gateways::id)
        .select((gateways::public_id, gateways::name, gateways::created_at, gateways::expires_at))
        .load(db.conn())?;
    let one = |(id, name, set_at, expires_at): (String, String, i64, Option<i64>)| ExpiringGateway {
        id,
        name,
        set_at: moment(set_at),
        expires_at: moment(expires_at.unwrap_or_default()),
    };
    Ok(rows.into_iter().map(one).collect())
}
