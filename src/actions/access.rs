//! What the tenant's API can allow, and who holds it: scopes, access roles, resources, and the access of members.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    By, CodeProof,
    keys::{self, KeyError, KeyForm, Made},
};
use crate::{
    domain::{
        access::ResourceSet,
        event::Action,
        ids::{AccessRoleId, MemberId, ResourceId, TenantId},
        lifetime::Choice,
        names::{Resource, ResourcePattern, Scope, Scopes},
        permission::Permission,
    },
    store::{
        StoreError, Tx,
        access::{self, AccessRole},
        catalogue::{self, Holders, KeyUse, Uses},
        events, form_ids,
        members::{self, Acting, Owner},
        resources::{self, Entry},
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
    #[error("Names that start with keyward: are reserved for managing Keyward itself.")]
    Reserved,
    #[error("There is a scope {0} already.")]
    ScopeExists(Scope),
    #[error("There is no scope {0} in this tenant.")]
    NoSuchScope(Scope),
    #[error("There is an access role “{0}” already.")]
    RoleExists(String),
    #[error("There is no access role with this number in this tenant.")]
    NoSuchRole,
    #[error("There is a resource {0} already.")]
    ResourceExists(Resource),
    #[error("There is no resource {0}. Add it under Access first.")]
    NoSuchResource(ResourcePattern),
    #[error("This access role was changed in the meantime. Look at it as it is now, and decide again.")]
    Changed,
    #[error("This changes what members and keys may do.")]
    AsksForRole(Holders),
    #[error("This takes something away.")]
    AsksFor(Box<Uses>),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The acting member, where they may change access. Other writers of the tenant wait from here on.
fn acting(tx: &mut Tx<'_>, by: &By) -> Result<Acting, AccessError> {
    let by = super::in_turn(tx, by)?;
    let acting = by.as_ref().and_then(By::acting).filter(|acting| acting.may(Permission::AccessManage)).ok_or(AccessError::NotAllowed)?;
    if acting.tenant.suspended_at.is_some() {
        return Err(AccessError::Suspended);
    }
    Ok(acting.clone())
}

/// Gives a member exactly these access roles and resources, and takes all others. It counts from the next verification of each
/// of their keys. What the member held already may stay, though the catalogue lacks it by now. `seen` is the mark of what the form
/// showed.
///
/// # Errors
/// See [`AccessError`]; nothing is changed then. A member of another tenant, or one who is removed, is not found.
pub fn set_member_access(
    tx: &mut Tx<'_>,
    by: &By,
    member: MemberId,
    roles: &BTreeSet<AccessRoleId>,
    held: &ResourceSet,
    seen: &str,
) -> Result<Owner, AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    let member = members::find(tx, tenant, member)?.filter(|member| member.removed_at.is_none()).ok_or(AccessError::NotFound)?;
    let before = access::held_by(tx, tenant, member.id)?;
    let had: BTreeSet<AccessRoleId> = before.roles.iter().copied().collect();
    if (had != *roles || before.resources != *held) && before.mark() != seen {
        return Err(AccessError::Changed);
    }
    let mut names = Vec::new();
    for id in had.union(roles) {
        let role = access::role(tx, tenant, *id)?.ok_or(AccessError::NoSuchRole)?;
        names.push((*id, role.name));
    }
    for pattern in held.chosen().into_iter().flatten() {
        if before.resources.chosen().is_some_and(|had| had.contains(pattern)) {
            continue;
        }
        let known = match pattern {
            ResourcePattern::Kind(kind) => resources::has_kind(tx, tenant, kind)?,
            ResourcePattern::One(resource) => resources::has(tx, tenant, resource)?,
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
    if before.resources != *held {
        access::set_resources(tx, tenant, member.id, held)?;
    }
    let mut details = serde_json::Map::new();
    if had != *roles {
        let worded = |set: &BTreeSet<AccessRoleId>| names.iter().filter(|(id, _)| set.contains(id)).map(|(_, name)| name.clone()).collect::<Vec<_>>();
        details.insert("roles".into(), json!({ "from": worded(&had), "to": worded(roles) }));
    }
    if before.resources != *held {
        details.insert("resources".into(), json!({ "from": before.resources.chosen(), "to": held.chosen() }));
    }
    if !details.is_empty() {
        let id = member.id.to_string();
        events::add(tx, tenant, &by.event(Action::MemberAccessChanged, ("member", &id, &member.name), details.into()))?;
    }
    Ok(member)
}

/// Writes an event about a thing of the catalogue.
fn note(
    tx: &mut Tx<'_>,
    by: &By,
    tenant: TenantId,
    action: Action,
    target: (&str, &str, &str),
    details: serde_json::Value,
) -> Result<(), StoreError> {
    events::add(tx, tenant, &by.event(action, target, details))
}

/// Writes an event about each key that lost something, so that its own history tells of it.
fn note_keys(tx: &mut Tx<'_>, by: &By, tenant: TenantId, lost: &[KeyUse], what: &str, name: &str) -> Result<(), StoreError> {
    for key in lost {
        note(tx, by, tenant, Action::KeyEdited, ("key", key.id.as_str(), &key.name), json!({ what: { "from": name, "to": null } }))?;
    }
    Ok(())
}

/// Adds a scope to the catalogue.
///
/// # Errors
/// See [`AccessError`]; nothing is changed then.
pub fn create_scope(tx: &mut Tx<'_>, by: &By, scope: &Scope, description: &str) -> Result<(), AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    if scope.is_reserved() {
        return Err(AccessError::Reserved);
    }
    if catalogue::scope(tx, tenant, scope)?.is_some() {
        return Err(AccessError::ScopeExists(scope.clone()));
    }
    access::create_scope(tx, tenant, scope, description)?;
    note(tx, by, tenant, Action::ScopeCreated, ("scope", scope.as_str(), scope.as_str()), json!({ "description": description }))?;
    Ok(())
}

/// A scope to read an area and one to change it: `inventory:read` and `inventory:write`.
#[derive(Debug, Clone)]
pub struct ScopePair {
    /// The scope to read.
    pub read: Scope,
    /// The scope to change.
    pub write: Scope,
    /// The names of the access roles that are made with them: read only, and read and write.
    pub roles: Option<(String, String)>,
}

/// Adds a pair of scopes, with the two access roles where they are wanted.
///
/// # Errors
/// See [`AccessError`]; nothing is changed then.
pub fn create_pair(tx: &mut Tx<'_>, by: &By, pair: &ScopePair, description: &str) -> Result<(), AccessError> {
    create_scope(tx, by, &pair.read, description)?;
    create_scope(tx, by, &pair.write, description)?;
    if let Some((reads, writes)) = &pair.roles {
        create_role(tx, by, reads, "", &Scopes::from([pair.read.clone()]))?;
        create_role(tx, by, writes, "", &Scopes::from([pair.read.clone(), pair.write.clone()]))?;
    }
    Ok(())
}

/// Describes a scope anew. Its name stays: programs and gateways know it.
///
/// # Errors
/// See [`AccessError`].
pub fn edit_scope(tx: &mut Tx<'_>, by: &By, scope: &Scope, description: &str) -> Result<(), AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    let before = catalogue::scope(tx, tenant, scope)?.ok_or(AccessError::NotFound)?;
    if before != description {
        catalogue::describe_scope(tx, tenant, scope, description)?;
        let details = json!({ "description": { "from": before, "to": description } });
        note(tx, by, tenant, Action::ScopeEdited, ("scope", scope.as_str(), scope.as_str()), details)?;
    }
    Ok(())
}

/// Removes a scope from the catalogue, from every access role that has it and from every key for which it was chosen. `seen` is
/// the mark of the uses that the question named.
///
/// # Errors
/// See [`AccessError`]; asks again where others use it by now.
pub fn remove_scope(tx: &mut Tx<'_>, by: &By, scope: &Scope, seen: &str) -> Result<(), AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    catalogue::scope(tx, tenant, scope)?.ok_or(AccessError::NotFound)?;
    let uses = agreed(catalogue::scope_uses(tx, tenant, scope)?, seen)?;
    let lost = catalogue::delete_scope(tx, tenant, scope)?;
    note(tx, by, tenant, Action::ScopeDeleted, ("scope", scope.as_str(), scope.as_str()), lost_words(&uses))?;
    note_keys(tx, by, tenant, &lost, "scope", scope.as_str())?;
    Ok(())
}

/// Goes on only where the uses are those that were asked about.
fn agreed(uses: Uses, seen: &str) -> Result<Uses, AccessError> {
    if uses.mark() == seen { Ok(uses) } else { Err(AccessError::AsksFor(Box::new(uses))) }
}

fn lost_words(uses: &Uses) -> serde_json::Value {
    let roles: Vec<&str> = uses.roles.iter().map(|(name, _)| name.as_str()).collect();
    json!({ "access_roles": roles, "members": uses.members, "keys": uses.keys.len() })
}

/// The scopes that a role may have: of the catalogue, and none that opens Keyward itself.
fn check_scopes(tx: &mut Tx<'_>, tenant: TenantId, scopes: &Scopes) -> Result<(), AccessError> {
    if scopes.iter().any(Scope::is_reserved) {
        return Err(AccessError::Reserved);
    }
    catalogue::missing_scope(tx, tenant, scopes)?.map_or(Ok(()), |scope| Err(AccessError::NoSuchScope(scope)))
}

/// Makes an access role.
///
/// # Errors
/// See [`AccessError`]; nothing is changed then.
pub fn create_role(tx: &mut Tx<'_>, by: &By, name: &str, description: &str, scopes: &Scopes) -> Result<AccessRoleId, AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    if catalogue::role_name_taken(tx, tenant, name, None)? {
        return Err(AccessError::RoleExists(name.to_owned()));
    }
    check_scopes(tx, tenant, scopes)?;
    let id = access::create_role(tx, tenant, name, description, scopes)?;
    note(tx, by, tenant, Action::AccessRoleCreated, ("access_role", &id.to_string(), name), json!({ "description": description, "scopes": scopes }))?;
    Ok(id)
}

/// Changes an access role, and with it what every member and key that has it may do from the next verification on. `seen` is the
/// mark of the role as the form showed it, `confirmed` the counts of members and keys that the question named.
///
/// # Errors
/// See [`AccessError`]; asks first where scopes change and somebody has the role.
pub fn edit_role(tx: &mut Tx<'_>, by: &By, role: &AccessRole, seen: &str, confirmed: Option<Holders>) -> Result<(), AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    let before = access::role(tx, tenant, role.id)?.ok_or(AccessError::NotFound)?;
    if before.mark() != seen {
        return Err(AccessError::Changed);
    }
    if catalogue::role_name_taken(tx, tenant, &role.name, Some(role.id))? {
        return Err(AccessError::RoleExists(role.name.clone()));
    }
    check_scopes(tx, tenant, &role.scopes)?;
    let holders = catalogue::holders(tx, tenant, role.id, None)?;
    if before.scopes != role.scopes && holders != Holders::default() && confirmed != Some(holders) {
        return Err(AccessError::AsksForRole(holders));
    }
    if before == *role {
        return Ok(());
    }
    catalogue::save_role(tx, tenant, role)?;
    let mut details = serde_json::Map::new();
    for (field, from, to) in [("name", &before.name, &role.name), ("description", &before.description, &role.description)] {
        if from != to {
            details.insert(field.into(), json!({ "from": from, "to": to }));
        }
    }
    if before.scopes != role.scopes {
        let added: Vec<&Scope> = role.scopes.difference(&before.scopes).collect();
        let removed: Vec<&Scope> = before.scopes.difference(&role.scopes).collect();
        details.insert("scopes".into(), json!({ "added": added, "removed": removed, "members": holders.members, "keys": holders.keys }));
    }
    note(tx, by, tenant, Action::AccessRoleEdited, ("access_role", &role.id.to_string(), &role.name), details.into())?;
    Ok(())
}

/// Removes an access role: members lose it, and keys that have it keep no scope. `seen` is the mark of the uses that the question
/// named.
///
/// # Errors
/// See [`AccessError`]; asks again where others have it by now.
pub fn remove_role(tx: &mut Tx<'_>, by: &By, id: AccessRoleId, seen: &str) -> Result<(), AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    let role = access::role(tx, tenant, id)?.ok_or(AccessError::NotFound)?;
    let uses = agreed(catalogue::role_uses(tx, tenant, id)?, seen)?;
    let lost = catalogue::delete_role(tx, tenant, id)?;
    let mut details = lost_words(&uses);
    details["scopes"] = json!(role.scopes);
    note(tx, by, tenant, Action::AccessRoleDeleted, ("access_role", &id.to_string(), &role.name), details)?;
    note_keys(tx, by, tenant, &lost, "access_role", &role.name)?;
    Ok(())
}

/// Adds a resource to the catalogue.
///
/// # Errors
/// See [`AccessError`]; nothing is changed then.
pub fn create_resource(tx: &mut Tx<'_>, by: &By, resource: &Resource, description: &str) -> Result<(), AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    if resources::has(tx, tenant, resource)? {
        return Err(AccessError::ResourceExists(resource.clone()));
    }
    access::create_resource(tx, tenant, resource, description)?;
    let name = resource.to_string();
    note(tx, by, tenant, Action::ResourceCreated, ("resource", &name, &name), json!({ "description": description }))?;
    Ok(())
}

/// A key that is made with a resource.
#[derive(Debug, Clone)]
pub struct KeyWithIt {
    /// Whose key.
    pub owner: MemberId,
    /// What it may do.
    pub form: KeyForm,
    /// When it expires.
    pub expiry: Choice,
    /// The one-time ID of the form.
    pub form_id: String,
}

/// Adds a resource and makes a key in the same step. At the owner's limit the resource is added and the inner result says why
/// the key was not made.
///
/// # Errors
/// See [`AccessError`]; nothing is changed then, whatever refused it.
pub fn create_resource_with_key(
    tx: &mut Tx<'_>,
    by: &By,
    resource: &Resource,
    description: &str,
    key: &KeyWithIt,
    proof: Option<&CodeProof>,
) -> Result<Result<Made, KeyError>, AccessError> {
    let account = acting(tx, by)?.account;
    if let Some(made) = form_ids::result(tx, account, &key.form_id)? {
        return Err(KeyError::AlreadyDone(made).into());
    }
    create_resource(tx, by, resource, description)?;
    match keys::create(tx, by, key.owner, &key.form, key.expiry, &key.form_id, proof) {
        Ok(made) => Ok(Ok(made)),
        // The limit is looked at before anything of the key is written.
        Err(limit @ KeyError::Limit { .. }) => Ok(Err(limit)),
        Err(error) => Err(error.into()),
    }
}

/// Describes a resource anew. Kind and name stay: programs and gateways know them.
///
/// # Errors
/// See [`AccessError`].
pub fn edit_resource(tx: &mut Tx<'_>, by: &By, id: ResourceId, description: &str) -> Result<Entry, AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    let before = resources::find(tx, tenant, id)?.ok_or(AccessError::NotFound)?;
    if before.description != description {
        resources::describe(tx, tenant, &before, description)?;
        let name = before.resource.to_string();
        let details = json!({ "description": { "from": before.description, "to": description } });
        note(tx, by, tenant, Action::ResourceEdited, ("resource", &name, &name), details)?;
    }
    Ok(before)
}

/// Removes a resource, and takes it from every member and key that was given it by name. `seen` is the mark of the uses that the
/// question named.
///
/// # Errors
/// See [`AccessError`]; asks again where others have it by now.
pub fn remove_resource(tx: &mut Tx<'_>, by: &By, id: ResourceId, seen: &str) -> Result<Entry, AccessError> {
    let tenant = acting(tx, by)?.tenant.id;
    let entry = resources::find(tx, tenant, id)?.ok_or(AccessError::NotFound)?;
    let uses = agreed(resources::uses(tx, tenant, &entry.resource)?, seen)?;
    let lost = resources::delete(tx, tenant, &entry)?;
    let name = entry.resource.to_string();
    note(tx, by, tenant, Action::ResourceDeleted, ("resource", &name, &name), lost_words(&uses))?;
    note_keys(tx, by, tenant, &lost, "resource", &name)?;
    Ok(entry)
}
