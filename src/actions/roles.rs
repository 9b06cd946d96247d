//! Custom console roles: named sets of permissions. Whoever makes or edits one must hold what it opens.

use serde_json::json;

use super::{
    By,
    keys::{self, KeyError},
    members::{MemberError, acting_now, within_bounds},
};
use crate::{
    domain::{
        change::Refused,
        event::Action,
        ids::{ConsoleRoleId, KeyId},
        key::Key,
        permission::{Permission, Permissions},
    },
    store::{
        Db, StoreError, Tx,
        console_roles::{self, ConsoleRole},
        events,
        members::{Acting, Owner},
        tenants::Tenant,
    },
};

fn check(tx: &mut Tx<'_>, acting: &Acting, id: Option<ConsoleRoleId>, name: &str) -> Result<Option<ConsoleRole>, MemberError> {
    let roles = console_roles::all(tx, &acting.tenant)?;
    if roles.iter().any(|role| Some(role.id) != id && role.name.to_lowercase() == name.to_lowercase()) {
        return Err(MemberError::NameTaken);
    }
    let Some(id) = id else { return Ok(None) };
    let role = roles.into_iter().find(|role| role.id == id).ok_or(MemberError::NoSuchRole)?;
    if role.built_in.is_some() { Err(MemberError::BuiltIn) } else { Ok(Some(role)) }
}

fn refuse_climb(acting: &Acting, name: &str, before: Permissions, after: Permissions) -> Result<(), MemberError> {
    let added: Vec<Permission> = Permission::ALL.iter().map(|(p, _)| *p).filter(|p| after.has(*p) && !before.has(*p)).collect();
    if added.iter().all(|p| acting.may(*p)) { Ok(()) } else { Err(MemberError::Climb(name.to_owned())) }
}

/// Makes a role.
///
/// # Errors
/// See [`MemberError`].
pub fn create(tx: &mut Tx<'_>, by: &By, name: &str, permissions: Permissions) -> Result<ConsoleRoleId, MemberError> {
    let acting = acting_now(tx, by, Permission::SettingsManage)?;
    check(tx, &acting, None, name)?;
    refuse_climb(&acting, name, Permissions::NONE, permissions)?;
    let id = console_roles::create(tx, acting.tenant.id, name, permissions)?;
    let event = by.event(Action::RoleCreated, ("role", &id.to_string(), name), json!({ "permissions": permissions.names() }));
    events::add(tx, acting.tenant.id, &event)?;
    Ok(id)
}

/// Changes a role; it counts for its holders from their next request. Disables `disable` of their keys in the same step. `seen` is
/// the mark of the role that the form showed.
///
/// # Errors
/// See [`MemberError`].
pub fn edit(
    tx: &mut Tx<'_>,
    by: &By,
    id: ConsoleRoleId,
    name: &str,
    permissions: Permissions,
    disable: &[KeyId],
    seen: &str,
) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::SettingsManage)?;
    let Some(before) = check(tx, &acting, Some(id), name)? else { return Err(MemberError::NoSuchRole) };
    if (before.name != name || before.permissions != permissions) && before.mark() != seen {
        return Err(MemberError::Changed);
    }
    refuse_climb(&acting, name, before.permissions, permissions)?;
    if before.name == name && before.permissions == permissions {
        return Ok(());
    }
    let tenant = acting.tenant;
    // While whoever acts still holds what it takes: the role may be their own.
    disable_all(tx, by, disable)?;
    within_bounds(tx, &tenant, |tx| Ok::<_, MemberError>(console_roles::save(tx, tenant.id, id, name, permissions)?))?;
    let details = json!({
        "name": { "from": before.name, "to": name },
        "permissions": { "from": before.permissions.names(), "to": permissions.names() },
    });
    events::add(tx, tenant.id, &by.event(Action::RoleEdited, ("role", &id.to_string(), name), details))?;
    Ok(())
}

/// Disables these keys, whose owners lose what managing them takes; those that are disabled or revoked already stay as they are.
///
/// # Errors
/// See [`MemberError`].
pub fn disable_all(tx: &mut Tx<'_>, by: &By, ids: &[KeyId]) -> Result<(), MemberError> {
    for id in ids {
        match keys::disable(tx, by, *id, "Its owner may not manage keys any more.") {
            Ok(_) | Err(KeyError::Refused(Refused::AlreadyDisabled | Refused::Revoked)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Persons, each with keys; and whether there are more than are listed.
pub type Losers = (Vec<(Owner, Vec<Key>)>, bool);

/// How many holders are looked at, and how many keys are listed, at most.
const LOSERS: (i64, usize) = (500, 200);

/// The persons who could own no keys any more if `role` opened `after` only, each with the keys that are neither revoked nor
/// disabled; and whether there are more than are listed.
///
/// # Errors
/// The database is away.
pub fn losing_keys(db: &mut Db, tenant: &Tenant, role: &ConsoleRole, after: Permissions) -> Result<Losers, StoreError> {
    let own = Permission::KeysManageOwn;
    if !role.permissions.has(own) || after.has(own) {
        return Ok((Vec::new(), false));
    }
    let others: Vec<ConsoleRoleId> =
        console_roles::all(db, tenant)?.into_iter().filter(|other| other.id != role.id && other.permissions.has(own)).map(|other| other.id).collect();
    let holders = console_roles::holders(db, tenant.id, role.id, LOSERS.0)?;
    let mut more = i64::try_from(holders.len()).unwrap_or(i64::MAX) >= LOSERS.0;
    let (mut list, mut count) = (Vec::new(), 0);
    for holder in holders.into_iter().filter(|holder| !holder.is_service()) {
        if console_roles::of_member(db, tenant.id, holder.id)?.iter().any(|id| others.contains(id)) {
            continue;
        }
        let mut keys = super::hand_over::keys_of(db, tenant.id, holder.id)?;
        keys.retain(|key| key.life.disabled_at.is_none());
        if count + keys.len() > LOSERS.1 {
            more = true;
            break;
        }
        count += keys.len();
        if !keys.is_empty() {
            list.push((holder, keys));
        }
    }
    Ok((list, more))
}

/// Deletes a role; those who held it lose what it opened. Disables `disable` of their keys in the same step.
///
/// # Errors
/// See [`MemberError`].
pub fn delete(tx: &mut Tx<'_>, by: &By, id: ConsoleRoleId, disable: &[KeyId]) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::SettingsManage)?;
    let Some(role) = check(tx, &acting, Some(id), "")? else { return Err(MemberError::NoSuchRole) };
    let lost = console_roles::counts(tx, acting.tenant.id)?.into_iter().find(|(other, _)| *other == id).map_or(0, |(_, count)| count);
    disable_all(tx, by, disable)?;
    console_roles::delete(tx, acting.tenant.id, id)?;
    let details = json!({ "permissions": role.permissions.names(), "held_by": lost });
    events::add(tx, acting.tenant.id, &by.event(Action::RoleDeleted, ("role", &id.to_string(), &role.name), details))?;
    Ok(())
}
