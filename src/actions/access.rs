//! What the tenant's API can allow, and who holds it: scopes, access roles, resources, and the access of members.

use std::collections::BTreeSet;

use serde_json::json;

use super::By;
use crate::{
    domain::{
        access::ResourceSet,
        event::Action,
        ids::{AccessRoleId, MemberId},
        names::{Resource, ResourcePattern},
        permission::Permission,
    },
    store::{
        StoreError, Tx, access, catalogue, events,
        members::{self, Acting, Owner},
        tenants,
    },
};

/// Why access was not changed, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AccessError {
    #[error("You may not change scopes, access roles, resources or who holds them.")]
    NotAllowed,
    #[error("The installation owner has suspended this tenant: its access can be read, not changed.")]
    Suspended,
    #[error("There is no such thing in this tenant.")]
    NotFound,
    #[error("There is no access role with this number in this tenant.")]
    NoSuchRole,
    #[error("There is no resource {0}. Add it under Access first.")]
    NoSuchResource(ResourcePattern),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The acting member, where they may change access. Other writers of the tenant wait from here on.
fn acting<'a>(tx: &mut Tx<'_>, by: &'a By) -> Result<&'a Acting, AccessError> {
    let acting = by.acting().filter(|acting| acting.may(Permission::AccessManage)).ok_or(AccessError::NotAllowed)?;
    tx.lock(acting.tenant.id)?;
    if tenants::get(tx, acting.tenant.id)?.suspended_at.is_some() {
        return Err(AccessError::Suspended);
    }
    Ok(acting)
}

/// Gives a member exactly these access roles and resources, and takes all others. It counts from the next verification of each
/// of their keys. What the member held already may stay, though the catalogue lacks it by now.
///
/// # Errors
/// See [`AccessError`]; nothing is changed then. A member of another tenant, or one who is removed, is not found.
pub fn set_member_access(
    tx: &mut Tx<'_>,
    by: &By,
    member: MemberId,
    roles: &BTreeSet<AccessRoleId>,
    resources: &ResourceSet,
) -> Result<Owner, AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    let member = members::find(tx, tenant, member)?.filter(|member| member.removed_at.is_none()).ok_or(AccessError::NotFound)?;
    let before = access::held_by(tx, tenant, member.id)?;
    let had: BTreeSet<AccessRoleId> = before.roles.iter().copied().collect();
    let mut names = Vec::new();
    for id in had.union(roles) {
        let role = access::role(tx, tenant, *id)?.ok_or(AccessError::NoSuchRole)?;
        names.push((*id, role.name));
    }
    for pattern in resources.chosen().into_iter().flatten() {
        if before.resources.chosen().is_some_and(|had| had.contains(pattern)) {
            continue;
        }
        let known = match pattern {
            ResourcePattern::Kind(kind) => catalogue::has_kind(tx, tenant, kind)?,
            ResourcePattern::One(Resource { kind, name }) => catalogue::has_resource(tx, tenant, kind, name)?,
        };
        if !known {
            return Err(AccessError::NoSuchResource(pattern.clone()));
        }
    }
    for role in roles.difference(&had) {
        access::give_role(tx, tenant, member.id, *role)?;
    }
    for role in had.difference(roles) {
        access::take_role(tx, tenant, member.id, *role)?;
    }
    if before.resources != *resources {
        access::set_resources(tx, tenant, member.id, resources)?;
    }
    let mut details = serde_json::Map::new();
    if had != *roles {
        let named = |set: &BTreeSet<AccessRoleId>| names.iter().filter(|(id, _)| set.contains(id)).map(|(_, name)| name.clone()).collect::<Vec<_>>();
        details.insert("roles".into(), json!({ "from": named(&had), "to": named(roles) }));
    }
    if before.resources != *resources {
        details.insert("resources".into(), json!({ "from": before.resources.chosen(), "to": resources.chosen() }));
    }
    if !details.is_empty() {
        let id = member.id.to_string();
        events::add(tx, tenant, &by.event(Action::MemberAccessChanged, ("member", &id, &member.name), details.into()))?;
    }
    Ok(member)
}
