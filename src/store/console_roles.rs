//! Console roles: what each opens, who holds it, and how many seats that takes.

use diesel::prelude::*;

use super::{
    Change, Db, StoreError, Tx,
    members::{self, Owner},
    schema::{console_roles as table, member_roles as held, members as people},
    tenants::Tenant,
};
use crate::domain::{
    ids::{ConsoleRoleId, MemberId, TenantId},
    mark::mark,
    permission::{BuiltIn, Permission, Permissions},
};

/// A named set of console permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleRole {
    /// The role.
    pub id: ConsoleRoleId,
    /// Its name.
    pub name: String,
    /// Which of the built-in ones it is, if it is one.
    pub built_in: Option<BuiltIn>,
    /// What it opens under the tenant's settings.
    pub permissions: Permissions,
}

impl ConsoleRole {
    /// A short mark of name and permissions, so that a form that showed others is noticed.
    pub fn mark(&self) -> String {
        mark([self.name.as_str(), &self.permissions.names()])
    }
}

/// A short mark of the console roles that somebody holds, as [`of_member`] lists them.
pub fn mark_of(held: &[ConsoleRoleId]) -> String {
    mark(held.iter().map(ToString::to_string))
}

/// Every console role of the tenant: the built-in ones first, then by name.
///
/// # Errors
/// The database is away.
pub fn all(db: &mut Db, tenant: &Tenant) -> Result<Vec<ConsoleRole>, StoreError> {
    let rows: Vec<(i64, String, Option<String>, String)> = table::table
        .filter(table::tenant_id.eq(tenant.id.number()))
        .order((table::name, table::id))
        .select((table::id, table::name, table::built_in, table::permissions))
        .load(db.conn())?;
    let mut roles: Vec<ConsoleRole> = rows
        .into_iter()
        .map(|(id, name, built_in, names)| ConsoleRole {
            id: ConsoleRoleId(id),
            name,
            built_in: BuiltIn::ALL.iter().find(|(_, stored, _)| Some(*stored) == built_in.as_deref()).map(|(role, ..)| *role),
            permissions: members::of_role(built_in.as_deref(), &names, &tenant.settings),
        })
        .collect();
    roles.sort_by_key(|role| role.built_in.map_or(usize::MAX, |built_in| BuiltIn::ALL.iter().position(|(r, ..)| *r == built_in).unwrap_or(0)));
    Ok(roles)
}

/// The console roles that a member holds.
///
/// # Errors
/// The database is away.
pub fn of_member(db: &mut Db, tenant: TenantId, member: MemberId) -> Result<Vec<ConsoleRoleId>, StoreError> {
    let ids: Vec<i64> = held::table
        .filter(held::tenant_id.eq(tenant.number()).and(held::member_id.eq(member.0)))
        .order(held::role_id)
        .select(held::role_id)
        .load(db.conn())?;
    Ok(ids.into_iter().map(ConsoleRoleId).collect())
}

/// Puts these roles in the place of all that a member holds.
///
/// # Errors
/// The database is away.
pub fn set(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, roles: &[ConsoleRoleId]) -> Result<(), StoreError> {
    diesel::delete(held::table.filter(held::tenant_id.eq(tenant.number()).and(held::member_id.eq(member.0)))).execute(tx.conn())?;
    for role in roles {
        diesel::insert_into(held::table)
            .values((held::tenant_id.eq(tenant.number()), held::member_id.eq(member.0), held::role_id.eq(role.0)))
            .execute(tx.conn())?;
    }
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Adds a custom role.
///
/// # Errors
/// The database is away, or the name is taken.
pub fn create(tx: &mut Tx<'_>, tenant: TenantId, name: &str, permissions: Permissions) -> Result<ConsoleRoleId, StoreError> {
    diesel::insert_into(table::table)
        .values((table::tenant_id.eq(tenant.number()), table::name.eq(name), table::permissions.eq(permissions.names())))
        .execute(tx.conn())?;
    let id: i64 = table::table.filter(table::tenant_id.eq(tenant.number()).and(table::name.eq(name))).select(table::id).first(tx.conn())?;
    Ok(ConsoleRoleId(id))
}

/// Changes a custom role.
///
/// # Errors
/// The database is away, or the name is taken.
pub fn save(tx: &mut Tx<'_>, tenant: TenantId, role: ConsoleRoleId, name: &str, permissions: Permissions) -> Result<(), StoreError> {
    diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(role.0)).and(table::built_in.is_null())))
        .set((table::name.eq(name), table::permissions.eq(permissions.names())))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Deletes a custom role; whoever held it holds it no more.
///
/// # Errors
/// The database is away.
pub fn delete(tx: &mut Tx<'_>, tenant: TenantId, role: ConsoleRoleId) -> Result<(), StoreError> {
    diesel::delete(held::table.filter(held::tenant_id.eq(tenant.number()).and(held::role_id.eq(role.0)))).execute(tx.conn())?;
    diesel::delete(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(role.0)).and(table::built_in.is_null())))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// How many members hold each role.
///
/// # Errors
/// The database is away.
pub fn counts(db: &mut Db, tenant: TenantId) -> Result<Vec<(ConsoleRoleId, i64)>, StoreError> {
    let rows: Vec<(i64, i64)> = held::table
        .filter(held::tenant_id.eq(tenant.number()))
        .group_by(held::role_id)
        .select((held::role_id, diesel::dsl::count_star()))
        .load(db.conn())?;
    Ok(rows.into_iter().map(|(id, count)| (ConsoleRoleId(id), count)).collect())
}

/// The first `most` members who hold a role, by name.
///
/// # Errors
/// The database is away.
pub fn holders(db: &mut Db, tenant: TenantId, role: ConsoleRoleId, most: i64) -> Result<Vec<Owner>, StoreError> {
    let rows: Vec<members::OwnerRow> = people::table
        .inner_join(held::table.on(held::tenant_id.eq(people::tenant_id).and(held::member_id.eq(people::id))))
        .filter(held::tenant_id.eq(tenant.number()).and(held::role_id.eq(role.0)).and(people::removed_at.is_null()))
        .order((people::folded, people::id))
        .limit(most)
        .select(members::OWNER)
        .load(db.conn())?;
    Ok(rows.into_iter().map(members::owner).collect())
}

/// How many active persons hold one of these roles.
fn persons_with(db: &mut Db, tenant: TenantId, roles: &[i64]) -> Result<i64, StoreError> {
    let with = held::table.filter(held::tenant_id.eq(tenant.number()).and(held::role_id.eq_any(roles))).select(held::member_id);
    Ok(people::table
        .filter(people::tenant_id.eq(tenant.number()).and(people::account_id.is_not_null()))
        .filter(people::suspended_at.is_null().and(people::removed_at.is_null()))
        .filter(people::id.eq_any(with))
        .count()
        .get_result(db.conn())?)
}

/// How many seats are taken: active persons who hold `keys.manage_own`.
///
/// # Errors
/// The database is away.
pub fn seats_taken(db: &mut Db, tenant: &Tenant) -> Result<i64, StoreError> {
    let roles: Vec<i64> = all(db, tenant)?.into_iter().filter(|role| role.permissions.has(Permission::KeysManageOwn)).map(|role| role.id.0).collect();
    persons_with(db, tenant.id, &roles)
}

/// How many active persons are Tenant admin.
///
/// # Errors
/// The database is away.
pub fn admins(db: &mut Db, tenant: TenantId) -> Result<i64, StoreError> {
    let roles: Vec<i64> =
        table::table.filter(table::tenant_id.eq(tenant.number()).and(table::built_in.eq("tenant_admin"))).select(table::id).load(db.conn())?;
    persons_with(db, tenant, &roles)
}

/// The first `most` members other than `but` who may become owner of a key and whose name or address contains `text`: service
/// accounts, and active persons who hold `keys.manage_own`.
///
/// # Errors
/// The database is away.
pub fn possible_owners(db: &mut Db, tenant: &Tenant, but: MemberId, text: &str, most: i64) -> Result<Vec<Owner>, StoreError> {
    let roles: Vec<i64> = all(db, tenant)?.into_iter().filter(|role| role.permissions.has(Permission::KeysManageOwn)).map(|role| role.id.0).collect();
    let with = held::table.filter(held::tenant_id.eq(tenant.id.number()).and(held::role_id.eq_any(roles))).select(held::member_id);
    let rows: Vec<members::OwnerRow> = people::table
        .filter(people::tenant_id.eq(tenant.id.number()).and(people::id.ne(but.0)))
        .filter(people::suspended_at.is_null().and(people::removed_at.is_null()))
        .filter(people::account_id.is_null().or(people::id.eq_any(with)))
        .filter(people::folded.like(members::containing(text)).escape('\\'))
        .order((people::folded, people::id))
        .limit(most)
        .select(members::OWNER)
        .load(db.conn())?;
    Ok(rows.into_iter().map(members::owner).collect())
}
