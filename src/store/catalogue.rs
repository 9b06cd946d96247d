//! What the tenant's API can allow, as its admins keep it: pages of scopes and access roles, who uses them, and how they change.
//! Resources are in [`super::resources`], what somebody holds is in [`super::access`].

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    dsl::exists,
    prelude::*,
    sql_types::{BigInt, Text},
};

use super::{
    Change, Db, StoreError, Tx,
    access::{self, AccessRole},
    micros,
    schema::{access_role_scopes as role_scopes, access_roles as roles, keys, member_access_roles as held, members, resources, scopes},
};
use crate::domain::{
    ids::{AccessRoleId, KeyId, MemberId, TenantId},
    names::{Scope, Scopes},
};

/// How many keys are looked at for the counts in a list; beyond, the list has none.
const MOST_COUNTED: i64 = 10_000;

diesel::define_sql_function! {
    /// Lower case.
    fn lower(text: Text) -> Text;
}

/// Where a page of a list is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The first page.
    Start,
    /// After this entry.
    After(String),
    /// Before this entry.
    Before(String),
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Paged<T> {
    /// The entries.
    pub rows: Vec<T>,
    /// Whether there are entries before.
    pub previous: bool,
    /// Whether there are entries after.
    pub next: bool,
}

/// A page from one row more than it has, as they were read: backwards for a page before something.
pub(super) fn paged<T>(mut rows: Vec<T>, turn: &Turn, most: usize) -> Paged<T> {
    let more = rows.len() > most;
    rows.truncate(most);
    if matches!(turn, Turn::Before(_)) {
        rows.reverse();
    }
    match turn {
        Turn::Start => Paged { rows, previous: false, next: more },
        Turn::After(_) => Paged { rows, previous: true, next: more },
        Turn::Before(_) => Paged { rows, previous: more, next: true },
    }
}

/// A pattern that finds what contains `text`. SQLite folds ASCII alone, so whatever may hold other letters is looked up as typed
/// too.
pub(super) fn containing(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Scopes.
    pub scopes: i64,
    /// Access roles.
    pub roles: i64,
    /// Resources.
    pub resources: i64,
}

/// How many scopes, access roles and resources the tenant has.
///
/// # Errors
/// The database is away.
pub fn counts(db: &mut Db, tenant: TenantId) -> Result<Counts, StoreError> {
    let tenant = tenant.number();
    Ok(Counts {
        scopes: scopes::table.filter(scopes::tenant_id.eq(tenant)).count().get_result(db.conn())?,
        roles: roles::table.filter(roles::tenant_id.eq(tenant)).count().get_result(db.conn())?,
        resources: resources::table.filter(resources::tenant_id.eq(tenant)).count().get_result(db.conn())?,
    })
}

/// A page of the tenant's scopes whose name or description contains `text`, with their descriptions, by name.
///
/// # Errors
/// The database is away.
pub fn scopes(db: &mut Db, tenant: TenantId, text: &str, turn: &Turn, most: usize) -> Result<Paged<(Scope, String)>, StoreError> {
    let mut query = scopes::table.filter(scopes::tenant_id.eq(tenant.number())).select((scopes::name, scopes::description)).into_boxed();
    if !text.is_empty() {
        let (folded, typed) = (containing(&text.to_lowercase()), containing(text));
        let said = lower(scopes::description).like(folded.clone()).escape('\\').or(scopes::description.like(typed).escape('\\'));
        query = query.filter(lower(scopes::name).like(folded).escape('\\').or(said));
    }
    query = match turn {
        Turn::Start => query.order(scopes::name.asc()),
        Turn::After(name) => query.filter(scopes::name.gt(name.clone())).order(scopes::name.asc()),
        Turn::Before(name) => query.filter(scopes::name.lt(name.clone())).order(scopes::name.desc()),
    };
    let rows: Vec<(String, String)> = query.limit(limit(most)).load(db.conn())?;
    let rows = rows.into_iter().map(|(name, description)| Ok((access::parse(&name)?, description))).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(paged(rows, turn, most))
}

/// One row more than a page has, which tells whether there is a next one.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most + 1).unwrap_or(i64::MAX)
}

/// The description of a scope; `None` where the tenant has no such scope.
///
/// # Errors
/// The database is away.
pub fn scope(db: &mut Db, tenant: TenantId, scope: &Scope) -> Result<Option<String>, StoreError> {
    let row = scopes::table.filter(scopes::tenant_id.eq(tenant.number()).and(scopes::name.eq(scope.as_str())));
    Ok(row.select(scopes::description).first(db.conn()).optional()?)
}

/// The first of these scopes that the tenant does not have.
///
/// # Errors
/// The database is away.
pub fn missing_scope(db: &mut Db, tenant: TenantId, wanted: &Scopes) -> Result<Option<Scope>, StoreError> {
    let names: Vec<&str> = wanted.iter().map(Scope::as_str).collect();
    let known: Vec<String> =
        scopes::table.filter(scopes::tenant_id.eq(tenant.number()).and(scopes::name.eq_any(names))).select(scopes::name).load(db.conn())?;
    let known: BTreeSet<String> = known.into_iter().collect();
    Ok(wanted.iter().find(|scope| !known.contains(scope.as_str())).cloned())
}

/// The access roles that have one of these scopes: the scope, the role, its name; by the role's name.
///
/// # Errors
/// The database is away.
pub fn roles_with(db: &mut Db, tenant: TenantId, wanted: &[&str]) -> Result<Vec<(String, AccessRoleId, String)>, StoreError> {
    let rows: Vec<(String, i64, String)> = role_scopes::table
        .inner_join(roles::table.on(roles::tenant_id.eq(role_scopes::tenant_id).and(roles::id.eq(role_scopes::role_id))))
        .filter(role_scopes::tenant_id.eq(tenant.number()).and(role_scopes::scope.eq_any(wanted)))
        .order(roles::name)
        .select((role_scopes::scope, roles::id, roles::name))
        .load(db.conn())?;
    Ok(rows.into_iter().map(|(scope, id, name)| (scope, AccessRoleId(id), name)).collect())
}

/// How many keys that are not revoked have each scope chosen; `None` where too many keys have chosen scopes to count them for a
/// list.
///
/// # Errors
/// The database is away.
pub fn chosen_scopes(db: &mut Db, tenant: TenantId) -> Result<Option<BTreeMap<String, usize>>, StoreError> {
    let lists: Vec<String> = keys::table
        .filter(keys::tenant_id.eq(tenant.number()).and(keys::access_kind.eq("scopes")).and(keys::revoked_at.is_null()))
        .limit(MOST_COUNTED + 1)
        .select(keys::scopes)
        .load(db.conn())?;
    count_chosen(&lists)
}

pub(super) fn count_chosen(lists: &[String]) -> Result<Option<BTreeMap<String, usize>>, StoreError> {
    if i64::try_from(lists.len()).is_ok_and(|count| count > MOST_COUNTED) {
        return Ok(None);
    }
    let mut counts = BTreeMap::new();
    for list in lists {
        for name in list_of::<String>(list)? {
            *counts.entry(name).or_default() += 1;
        }
    }
    Ok(Some(counts))
}

pub(super) fn list_of<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Row(error.to_string()))
}

/// A key that uses something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub id: KeyId,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: MemberId,
    /// Whether it is revoked, so that it loses nothing.
    pub revoked: bool,
}

/// Who loses something when it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// The access roles that have it, by name, and who has those.
    pub roles: Vec<(String, Holders)>,
    /// The names of members who hold it.
    pub members: Vec<String>,
    /// Keys that were given it and are not revoked.
    pub keys: Vec<KeyUse>,
}

impl Uses {
    /// A short mark of all that a question named, so that an answer to another one is noticed.
    pub fn mark(&self) -> String {
        let mut hash = crc32fast::Hasher::new();
        for (name, Holders { members, keys }) in &self.roles {
            hash.update(format!("role {name} {members} {keys}\n").as_bytes());
        }
        for name in &self.members {
            hash.update(format!("member {name}\n").as_bytes());
        }
        for key in &self.keys {
            hash.update(format!("key {}\n", key.id).as_bytes());
        }
        format!("{:08x}", hash.finalize())
    }

    /// Whether nobody loses anything.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.members.is_empty() && self.keys.is_empty()
    }
}

pub(super) type KeyUseRow = (String, String, i64, Option<i64>, String);

pub(super) fn key_use((id, name, owner, revoked, _): &KeyUseRow) -> Result<KeyUse, StoreError> {
    let id = KeyId::parse(id).ok_or_else(|| StoreError::Row(format!("key ID {id}")))?;
    Ok(KeyUse { id, name: name.clone(), owner: MemberId(*owner), revoked: revoked.is_some() })
}

/// A pattern that finds a JSON list with this entry; LIKE may take another case for the same, so look again.
pub(super) fn in_list(entry: &str) -> String {
    format!("%\"{}\"%", entry.replace('_', "\\_"))
}

fn keys_with_scope(db: &mut Db, tenant: TenantId, scope: &Scope) -> Result<Vec<KeyUseRow>, StoreError> {
    let rows: Vec<KeyUseRow> = keys::table
        .filter(keys::tenant_id.eq(tenant.number()).and(keys::access_kind.eq("scopes")))
        .filter(keys::scopes.like(in_list(scope.as_str())).escape('\\'))
        .order(keys::id)
        .select((keys::id, keys::name, keys::owner_id, keys::revoked_at, keys::scopes))
        .load(db.conn())?;
    Ok(rows.into_iter().filter(|row| row.4.contains(&format!("\"{scope}\""))).collect())
}

/// Who loses a scope when it goes: access roles, and keys for which it was chosen.
///
/// # Errors
/// The database is away.
pub fn scope_uses(db: &mut Db, tenant: TenantId, scope: &Scope) -> Result<Uses, StoreError> {
    let mut roles = Vec::new();
    for (_, id, name) in roles_with(db, tenant, &[scope.as_str()])? {
        roles.push((name, holders(db, tenant, id, None)?));
    }
    let keys = keys_with_scope(db, tenant, scope)?.iter().map(key_use).collect::<Result<Vec<_>, _>>()?;
    Ok(Uses { roles, members: Vec::new(), keys: keys.into_iter().filter(|key| !key.revoked).collect() })
}

/// Describes a scope anew.
///
/// # Errors
/// The database is away.
pub fn describe_scope(tx: &mut Tx<'_>, tenant: TenantId, scope: &Scope, description: &str) -> Result<(), StoreError> {
    let row = scopes::table.filter(scopes::tenant_id.eq(tenant.number()).and(scopes::name.eq(scope.as_str())));
    diesel::update(row).set(scopes::description.eq(description)).execute(tx.conn())?;
    Ok(())
}

/// Removes a scope from the catalogue, from access roles, and from every key for which it was chosen, so that it comes back with
/// none of them. Returns those keys.
///
/// # Errors
/// The database is away.
pub fn delete_scope(tx: &mut Tx<'_>, tenant: TenantId, scope: &Scope) -> Result<Vec<KeyUse>, StoreError> {
    let number = tenant.number();
    let rows = keys_with_scope(tx, tenant, scope)?;
    for (id, _, _, _, chosen) in &rows {
        let rest: Vec<String> = list_of::<String>(chosen)?.into_iter().filter(|name| name != scope.as_str()).collect();
        let rest = serde_json::json!(rest).to_string();
        diesel::update(keys::table.filter(keys::tenant_id.eq(number).and(keys::id.eq(id))))
            .set((keys::scopes.eq(rest), keys::changed_at.eq(micros(tx.now())), keys::version.eq(keys::version + 1)))
            .execute(tx.conn())?;
    }
    diesel::delete(role_scopes::table.filter(role_scopes::tenant_id.eq(number).and(role_scopes::scope.eq(scope.as_str())))).execute(tx.conn())?;
    diesel::delete(scopes::table.filter(scopes::tenant_id.eq(number).and(scopes::name.eq(scope.as_str())))).execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    rows.iter().map(key_use).collect()
}

/// A page of the tenant's access roles whose name contains `text`, by name.
///
/// # Errors
/// The database is away.
pub fn roles(db: &mut Db, tenant: TenantId, text: &str, turn: &Turn, most: usize) -> Result<Paged<AccessRole>, StoreError> {
    let mut query = roles::table.filter(roles::tenant_id.eq(tenant.number())).select((roles::id, roles::name, roles::description)).into_boxed();
    if !text.is_empty() {
        let (folded, typed) = (containing(&text.to_lowercase()), containing(text));
        query = query.filter(lower(roles::name).like(folded).escape('\\').or(roles::name.like(typed).escape('\\')));
    }
    query = match turn {
        Turn::Start => query.order(roles::name.asc()),
        Turn::After(name) => query.filter(roles::name.gt(name.clone())).order(roles::name.asc()),
        Turn::Before(name) => query.filter(roles::name.lt(name.clone())).order(roles::name.desc()),
    };
    let rows: Vec<(i64, String, String)> = query.limit(limit(most)).load(db.conn())?;
    let ids: Vec<i64> = rows.iter().map(|(id, ..)| *id).collect();
    let mut scopes: BTreeMap<i64, Scopes> = BTreeMap::new();
    let pairs: Vec<(i64, String)> = role_scopes::table
        .filter(role_scopes::tenant_id.eq(tenant.number()).and(role_scopes::role_id.eq_any(ids)))
        .select((role_scopes::role_id, role_scopes::scope))
        .load(db.conn())?;
    for (id, scope) in pairs {
        scopes.entry(id).or_default().insert(access::parse(&scope)?);
    }
    let rows = rows
        .into_iter()
        .map(|(id, name, description)| AccessRole { id: AccessRoleId(id), name, description, scopes: scopes.remove(&id).unwrap_or_default() })
        .collect();
    Ok(paged(rows, turn, most))
}

/// Whether another access role of the tenant than `except` has this name.
///
/// # Errors
/// The database is away.
pub fn role_name_taken(db: &mut Db, tenant: TenantId, name: &str, except: Option<AccessRoleId>) -> Result<bool, StoreError> {
    let found = roles::table.filter(roles::tenant_id.eq(tenant.number()).and(roles::name.eq(name))).filter(roles::id.ne(except.map_or(0, |id| id.0)));
    Ok(diesel::select(exists(found)).get_result(db.conn())?)
}

/// How many members hold an access role, and how many keys that are not revoked have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holders {
    /// Members.
    pub members: i64,
    /// Keys.
    pub keys: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many members hold an access role, and how many keys have it; counting stops at `most` keys.
///
/// # Errors
/// The database is away.
pub fn holders(db: &mut Db, tenant: TenantId, role: AccessRoleId, most: Option<i64>) -> Result<Holders, StoreError> {
    let members: i64 = held::table
        .inner_join(members::table.on(members::tenant_id.eq(held::tenant_id).and(members::id.eq(held::member_id))))
        .filter(held::tenant_id.eq(tenant.number()).and(held::role_id.eq(role.0)).and(members::removed_at.is_null()))
        .count()
        .get_result(db.conn())?;
    let counted: Count = diesel::sql_query(
        "SELECT COUNT(*) AS count FROM (SELECT 1 FROM keys WHERE tenant_id = $1 AND access_role_id = $2 AND revoked_at IS NULL LIMIT $3) AS counted",
    )
    .bind::<BigInt, _>(tenant.number())
    .bind::<BigInt, _>(role.0)
    .bind::<BigInt, _>(most.unwrap_or(i64::MAX))
    .get_result(db.conn())?;
    Ok(Holders { members, keys: counted.count })
}

fn keys_with_role(db: &mut Db, tenant: TenantId, role: AccessRoleId) -> Result<Vec<KeyUse>, StoreError> {
    let rows: Vec<KeyUseRow> = keys::table
        .filter(keys::tenant_id.eq(tenant.number()).and(keys::access_role_id.eq(role.0)))
        .order(keys::id)
        .select((keys::id, keys::name, keys::owner_id, keys::revoked_at, keys::access_kind))
        .load(db.conn())?;
    rows.iter().map(key_use).collect()
}

/// Who loses an access role when it goes: members, and keys that have it.
///
/// # Errors
/// The database is away.
pub fn role_uses(db: &mut Db, tenant: TenantId, role: AccessRoleId) -> Result<Uses, StoreError> {
    let members: Vec<String> = held::table
        .inner_join(members::table.on(members::tenant_id.eq(held::tenant_id).and(members::id.eq(held::member_id))))
        .filter(held::tenant_id.eq(tenant.number()).and(held::role_id.eq(role.0)).and(members::removed_at.is_null()))
        .order(members::name)
        .select(members::name)
        .load(db.conn())?;
    let keys = keys_with_role(db, tenant, role)?.into_iter().filter(|key| !key.revoked).collect();
    Ok(Uses { roles: Vec::new(), members, keys })
}

/// Saves an access role: name, description, and exactly these scopes.
///
/// # Errors
/// The database is away, the name is taken, or a scope is not in the catalogue.
pub fn save_role(tx: &mut Tx<'_>, tenant: TenantId, role: &AccessRole) -> Result<(), StoreError> {
    let number = tenant.number();
    diesel::update(roles::table.filter(roles::tenant_id.eq(number).and(roles::id.eq(role.id.0))))
        .set((roles::name.eq(&role.name), roles::description.eq(&role.description)))
        .execute(tx.conn())?;
    let of_role = role_scopes::tenant_id.eq(number).and(role_scopes::role_id.eq(role.id.0));
    let had: Vec<String> = role_scopes::table.filter(of_role).select(role_scopes::scope).load(tx.conn())?;
    for gone in had.iter().filter(|scope| !role.scopes.iter().any(|kept| kept.as_str() == scope.as_str())) {
        diesel::delete(role_scopes::table.filter(of_role).filter(role_scopes::scope.eq(gone))).execute(tx.conn())?;
    }
    for new in role.scopes.iter().filter(|scope| !had.iter().any(|had| had == scope.as_str())) {
        diesel::insert_into(role_scopes::table)
            .values((role_scopes::tenant_id.eq(number), role_scopes::role_id.eq(role.id.0), role_scopes::scope.eq(new.as_str())))
            .execute(tx.conn())?;
    }
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Removes an access role. Members lose it, and keys that had it keep no scope at all. Returns those keys.
///
/// # Errors
/// The database is away.
pub fn delete_role(tx: &mut Tx<'_>, tenant: TenantId, role: AccessRoleId) -> Result<Vec<KeyUse>, StoreError> {
    let number = tenant.number();
    let lost = keys_with_role(tx, tenant, role)?;
    // Chosen scopes, and none of them: never all.
    diesel::update(keys::table.filter(keys::tenant_id.eq(number).and(keys::access_role_id.eq(role.0))))
        .set((
            keys::access_kind.eq("scopes"),
            keys::access_role_id.eq(None::<i64>),
            keys::scopes.eq("[]"),
            keys::changed_at.eq(micros(tx.now())),
            keys::version.eq(keys::version + 1),
        ))
        .execute(tx.conn())?;
    diesel::delete(held::table.filter(held::tenant_id.eq(number).and(held::role_id.eq(role.0)))).execute(tx.conn())?;
    diesel::delete(role_scopes::table.filter(role_scopes::tenant_id.eq(number).and(role_scopes::role_id.eq(role.0)))).execute(tx.conn())?;
    diesel::delete(roles::table.filter(roles::tenant_id.eq(number).and(roles::id.eq(role.0)))).execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(lost)
}
