//! Scopes, access roles and resources, and who holds them.

use diesel::prelude::*;

use super::{
    Change, Db, StoreError, Tx,
    schema::{access_role_scopes as role_scopes, access_roles as roles, member_access_roles as held, member_resources, members, resources, scopes},
};
use crate::domain::{
    access::ResourceSet,
    ids::{AccessRoleId, MemberId, TenantId},
    mark::mark,
    names::{Resource, ResourcePattern, Scope, Scopes},
};

/// An access role with its scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRole {
    /// The role.
    pub id: AccessRoleId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The scopes in it.
    pub scopes: Scopes,
}

impl AccessRole {
    /// A short mark of all that it is now, so that a form that showed it otherwise is noticed.
    pub fn mark(&self) -> String {
        mark([self.name.as_str(), &self.description].into_iter().chain(self.scopes.iter().map(Scope::as_str)))
    }
}

impl Held {
    /// A short mark of the access roles and resources, so that a form that showed others is noticed.
    pub fn mark(&self) -> String {
        let resources = match &self.resources {
            ResourceSet::All => vec!["all".to_owned()],
            ResourceSet::Chosen(patterns) => patterns.iter().map(ToString::to_string).collect(),
        };
        mark(self.roles.iter().map(ToString::to_string).chain(std::iter::once(String::new())).chain(resources))
    }
}

/// What a member holds of the tenant's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The scopes of all their access roles together.
    pub scopes: Scopes,
    /// The access roles.
    pub roles: Vec<AccessRoleId>,
    /// All resources, or chosen ones.
    pub resources: ResourceSet,
}

pub(super) fn parse<T: std::str::FromStr<Err = crate::domain::names::TextError>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Row(format!("{text}: {error}")))
}

/// What a member holds now.
///
/// # Errors
/// The database is away.
pub fn held_by(db: &mut Db, tenant: TenantId, member: MemberId) -> Result<Held, StoreError> {
    let number = tenant.number();
    let role_ids: Vec<i64> = held::table
        .filter(held::tenant_id.eq(number).and(held::member_id.eq(member.0)))
        .order(held::role_id)
        .select(held::role_id)
        .load(db.conn())?;
    // A subquery, unlike a list of IDs, is always the same statement, so it is prepared once.
    let of_member = held::table.filter(held::tenant_id.eq(number).and(held::member_id.eq(member.0))).select(held::role_id);
    let names: Vec<String> = role_scopes::table
        .filter(role_scopes::tenant_id.eq(number).and(role_scopes::role_id.eq_any(of_member)))
        .select(role_scopes::scope)
        .load(db.conn())?;
    let all: Option<bool> = members::table
        .filter(members::tenant_id.eq(number).and(members::id.eq(member.0)))
        .select(members::all_resources)
        .first(db.conn())
        .optional()?;
    Ok(Held {
        scopes: names.iter().map(|name| parse::<Scope>(name)).collect::<Result<_, _>>()?,
        roles: role_ids.into_iter().map(AccessRoleId).collect(),
        resources: if all == Some(true) { ResourceSet::All } else { chosen_resources(db, tenant, member)? },
    })
}

/// The resources of a member who does not have all.
pub(super) fn chosen_resources(db: &mut Db, tenant: TenantId, member: MemberId) -> Result<ResourceSet, StoreError> {
    let patterns: Vec<String> = member_resources::table
        .filter(member_resources::tenant_id.eq(tenant.number()).and(member_resources::member_id.eq(member.0)))
        .select(member_resources::pattern)
        .load(db.conn())?;
    Ok(ResourceSet::Chosen(patterns.iter().map(|text| parse(text)).collect::<Result<_, _>>()?))
}

/// Every access role of the tenant, by name.
///
/// # Errors
/// The database is away.
pub fn roles(db: &mut Db, tenant: TenantId) -> Result<Vec<AccessRole>, StoreError> {
    let rows: Vec<(i64, String, String)> = roles::table
        .filter(roles::tenant_id.eq(tenant.number()))
        .order(roles::name)
        .select((roles::id, roles::name, roles::description))
        .load(db.conn())?;
    let pairs: Vec<(i64, String)> =
        role_scopes::table.filter(role_scopes::tenant_id.eq(tenant.number())).select((role_scopes::role_id, role_scopes::scope)).load(db.conn())?;
    rows.into_iter()
        .map(|(id, name, description)| {
            let scopes = pairs.iter().filter(|(role, _)| *role == id).map(|(_, scope)| parse::<Scope>(scope)).collect::<Result<_, _>>()?;
            Ok(AccessRole { id: AccessRoleId(id), name, description, scopes })
        })
        .collect()
}

/// An access role of the tenant with its scopes.
///
/// # Errors
/// The database is away.
pub fn role(db: &mut Db, tenant: TenantId, id: AccessRoleId) -> Result<Option<AccessRole>, StoreError> {
    let row: Option<(String, String)> = roles::table
        .filter(roles::tenant_id.eq(tenant.number()).and(roles::id.eq(id.0)))
        .select((roles::name, roles::description))
        .first(db.conn())
        .optional()?;
    let Some((name, description)) = row else { return Ok(None) };
    let names: Vec<String> = role_scopes::table
        .filter(role_scopes::tenant_id.eq(tenant.number()).and(role_scopes::role_id.eq(id.0)))
        .select(role_scopes::scope)
        .load(db.conn())?;
    Ok(Some(AccessRole { id, name, description, scopes: names.iter().map(|name| parse::<Scope>(name)).collect::<Result<_, _>>()? }))
}

/// Every scope of the tenant with its description, by name.
///
/// # Errors
/// The database is away.
pub fn scopes(db: &mut Db, tenant: TenantId) -> Result<Vec<(Scope, String)>, StoreError> {
    let rows: Vec<(String, String)> = scopes::table
        .filter(scopes::tenant_id.eq(tenant.number()))
        .order(scopes::name)
        .select((scopes::name, scopes::description))
        .load(db.conn())?;
    rows.into_iter().map(|(name, description)| Ok((parse(&name)?, description))).collect()
}

/// Adds a scope to the catalogue.
///
/// # Errors
/// The database is away, or it is there already.
pub fn create_scope(tx: &mut Tx<'_>, tenant: TenantId, scope: &Scope, description: &str) -> Result<(), StoreError> {
    diesel::insert_into(scopes::table)
        .values((scopes::tenant_id.eq(tenant.number()), scopes::name.eq(scope.as_str()), scopes::description.eq(description)))
        .execute(tx.conn())?;
    Ok(())
}

/// Adds an access role with scopes of the catalogue.
///
/// # Errors
/// The database is away, the name is taken, or a scope is not in the catalogue.
pub fn create_role(tx: &mut Tx<'_>, tenant: TenantId, name: &str, description: &str, scopes: &Scopes) -> Result<AccessRoleId, StoreError> {
    diesel::insert_into(roles::table)
        .values((roles::tenant_id.eq(tenant.number()), roles::name.eq(name), roles::description.eq(description)))
        .execute(tx.conn())?;
    let id: i64 = roles::table.filter(roles::tenant_id.eq(tenant.number()).and(roles::name.eq(name))).select(roles::id).first(tx.conn())?;
    for scope in scopes {
        diesel::insert_into(role_scopes::table)
            .values((role_scopes::tenant_id.eq(tenant.number()), role_scopes::role_id.eq(id), role_scopes::scope.eq(scope.as_str())))
            .execute(tx.conn())?;
    }
    tx.changed(Change::Tenant(tenant));
    Ok(AccessRoleId(id))
}

/// Adds a resource to the catalogue.
///
/// # Errors
/// The database is away, or it is there already.
pub fn create_resource(tx: &mut Tx<'_>, tenant: TenantId, resource: &Resource, description: &str) -> Result<(), StoreError> {
    diesel::insert_into(resources::table)
        .values((
            resources::tenant_id.eq(tenant.number()),
            resources::kind.eq(&resource.kind),
            resources::name.eq(&resource.name),
            resources::description.eq(description),
            resources::search.eq(super::resources::search_text(resource, description)),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Gives a member an access role.
///
/// # Errors
/// The database is away, or they hold it already.
pub fn give_role(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, role: AccessRoleId) -> Result<(), StoreError> {
    diesel::insert_into(held::table)
        .values((held::tenant_id.eq(tenant.number()), held::member_id.eq(member.0), held::role_id.eq(role.0)))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Takes an access role from a member.
///
/// # Errors
/// The database is away.
pub fn take_role(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, role: AccessRoleId) -> Result<(), StoreError> {
    diesel::delete(held::table.filter(held::tenant_id.eq(tenant.number()).and(held::member_id.eq(member.0)).and(held::role_id.eq(role.0))))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Sets which resources a member holds.
///
/// # Errors
/// The database is away.
pub fn set_resources(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, set: &ResourceSet) -> Result<(), StoreError> {
    diesel::update(members::table.filter(members::tenant_id.eq(tenant.number()).and(members::id.eq(member.0))))
        .set(members::all_resources.eq(*set == ResourceSet::All))
        .execute(tx.conn())?;
    diesel::delete(member_resources::table.filter(member_resources::tenant_id.eq(tenant.number()).and(member_resources::member_id.eq(member.0))))
        .execute(tx.conn())?;
    for pattern in set.chosen().into_iter().flatten().map(ResourcePattern::to_string) {
        diesel::insert_into(member_resources::table)
            .values((
                member_resources::tenant_id.eq(tenant.number()),
                member_resources::member_id.eq(member.0),
                member_resources::pattern.eq(pattern),
            ))
            .execute(tx.conn())?;
    }
    tx.changed(Change::Tenant(tenant));
    Ok(())
}
