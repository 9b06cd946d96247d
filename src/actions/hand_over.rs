//! Keys that change their owner, and members who leave.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use serde_json::json;

use super::{
    By, CodeProof,
    keys::{self, KeyError},
    mail,
    members::{MemberError, acting_now, note, present, within_bounds},
};
use crate::{
    domain::{
        access::{KeyAccess, ResourceSet, effective_scopes},
        change,
        event::Action,
        ids::{KeyId, MemberId, TenantId},
        key::Key,
        names::Scopes,
        permission::Permission,
    },
    store::{
        Db, StoreError, Tx, access, keys as key_rows,
        members::{self, Owner},
        sessions,
        tenants::Tenant,
    },
};

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stopped for good.
    Revoke,
    /// It goes to this member.
    HandOver(MemberId),
}

/// The access that a key has with its new owner, and what it loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The scopes that stay.
    pub scopes: Scopes,
    /// The scopes that the new owner lacks.
    pub lost: Scopes,
    /// The reserved scopes, which never move.
    pub reserved: Scopes,
    /// The resources that stay.
    pub resources: ResourceSet,
    /// Whether it could reach more resources before.
    pub fewer_resources: bool,
}

/// How many keys are revoked at once without a code.
pub const MOST_WITHOUT_CODE: usize = 10;

/// The keys of a member about which has to be decided: those not revoked.
///
/// # Errors
/// The database is away.
pub fn keys_of(db: &mut Db, tenant: TenantId, member: MemberId) -> Result<Vec<Key>, StoreError> {
    key_rows::not_revoked_of(db, tenant, member)
}

/// A mark of these keys, so that a form can say which ones it showed without naming each.
pub fn mark_of(keys: &[Key]) -> String {
    let mut ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    ids.sort_unstable();
    let mut hasher = DefaultHasher::new();
    ids.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What `key` would have with the owner `to`: the access that it has in effect now, cut to the new owner's.
///
/// # Errors
/// The database is away.
pub fn moved(db: &mut Db, key: &Key, to: MemberId) -> Result<Moved, StoreError> {
    let from = access::held_by(db, key.tenant, key.owner)?;
    let to = access::held_by(db, key.tenant, to)?;
    let role = match key.access {
        KeyAccess::Role(role) => access::role(db, key.tenant, role)?.map(|role| role.scopes),
        _ => None,
    };
    let (reserved, effective): (Scopes, Scopes) =
        effective_scopes(&key.access, role.as_ref(), &from.scopes).into_iter().partition(crate::domain::names::Scope::is_reserved);
    let (scopes, lost) = effective.into_iter().partition(|scope| to.scopes.contains(scope));
    let before = key.resources.cut_to(&from.resources);
    let resources = before.cut_to(&to.resources);
    Ok(Moved { scopes, lost, reserved, fewer_resources: resources != before, resources })
}

/// A member who may become owner of a key: a service account, or an active person who may own keys.
fn new_owner(tx: &mut Tx<'_>, tenant: &Tenant, id: MemberId) -> Result<Owner, MemberError> {
    let member = members::find(tx, tenant.id, id)?.filter(Owner::is_active).ok_or(MemberError::NoOwner)?;
    let (permissions, _) = members::permissions(tx, tenant, id)?;
    if member.is_service() || permissions.has(Permission::KeysManageOwn) { Ok(member) } else { Err(MemberError::NoOwner) }
}

fn pass_on(tx: &mut Tx<'_>, by: &By, key: &Key, from: &Owner, to: &Owner) -> Result<(Key, Moved), MemberError> {
    if from.id == to.id {
        return Err(MemberError::NoOwner);
    }
    let moved = moved(tx, key, to.id)?;
    let mut key = change::hand_over(key, to.id, moved.scopes.clone(), moved.resources.clone(), tx.now()).map_err(KeyError::Refused)?;
    keys::save(tx, &mut key, to)?;
    let details = json!({
        "owner": { "from": from.name, "to": to.name },
        "scopes": moved.scopes, "lost": moved.lost, "reserved_dropped": moved.reserved, "resources": moved.resources.chosen(),
    });
    keys::note(tx, by, Action::KeyHandedOver, &key, details)?;
    Ok((key, moved))
}

/// Hands one key over. `seen` is the version of the key that the page showed.
///
/// # Errors
/// See [`MemberError`].
pub fn hand_over(tx: &mut Tx<'_>, by: &By, id: KeyId, seen: i64, to: MemberId) -> Result<Key, MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let key = key_rows::find(tx, &acting.reach(), id)?.ok_or(KeyError::NoSuchKey)?;
    change::may_change(&key).map_err(KeyError::Refused)?;
    if key.version != seen {
        return Err(KeyError::Changed.into());
    }
    let from = members::find(tx, acting.tenant.id, key.owner)?.ok_or(KeyError::NoSuchKey)?;
    let to = new_owner(tx, &acting.tenant, to)?;
    let (key, moved) = pass_on(tx, by, &key, &from, &to)?;
    mail::tell_handed_over(tx, by, &acting.tenant, &from, &to, &[(key.clone(), lost(&moved))])?;
    mail::tell_handed_away(tx, by, &acting.tenant, &from, &to, &key)?;
    Ok(key)
}

/// What a key lost on its way, in words.
fn lost(moved: &Moved) -> Vec<String> {
    let resources = moved.fewer_resources.then(|| "some resources".to_owned());
    moved.lost.iter().chain(&moved.reserved).map(ToString::to_string).chain(resources).collect()
}

/// Removes a member; each of their keys is revoked or handed over, as decided. Access, roles and what they keep go with them.
///
/// # Errors
/// See [`MemberError`]; nothing is changed then, [`MemberError::Undecided`] where a key has no decision.
pub fn remove(tx: &mut Tx<'_>, by: &By, member: MemberId, decided: &[(KeyId, Fate)], proof: Option<&CodeProof>) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let member = present(tx, acting.tenant.id, member)?;
    take_out(tx, by, &acting.tenant, &member, decided, proof)
}

/// Takes the member who acts out of the tenant; their keys, of which `seen` has to be the [`mark_of`], are revoked.
///
/// # Errors
/// See [`MemberError`]; nothing is changed then.
pub fn leave(tx: &mut Tx<'_>, by: &By, seen: &str, proof: Option<&CodeProof>) -> Result<(), MemberError> {
    let acting = by.acting().ok_or(MemberError::NotAllowed)?.clone();
    tx.lock(acting.tenant.id)?;
    let member = present(tx, acting.tenant.id, acting.id)?;
    let keys = keys_of(tx, acting.tenant.id, member.id)?;
    if mark_of(&keys) != seen {
        return Err(MemberError::Undecided);
    }
    let decided: Vec<(KeyId, Fate)> = keys.iter().map(|key| (key.id, Fate::Revoke)).collect();
    take_out(tx, by, &acting.tenant, &member, &decided, proof)
}

fn take_out(
    tx: &mut Tx<'_>,
    by: &By,
    tenant: &Tenant,
    member: &Owner,
    decided: &[(KeyId, Fate)],
    proof: Option<&CodeProof>,
) -> Result<(), MemberError> {
    let keys = keys_of(tx, tenant.id, member.id)?;
    let decided: HashMap<KeyId, Fate> = decided.iter().copied().collect();
    let fate = |key: &Key| decided.get(&key.id).copied();
    if keys.iter().filter(|key| fate(key) == Some(Fate::Revoke)).count() > MOST_WITHOUT_CODE && proof.is_none() {
        return Err(KeyError::NeedsCode.into());
    }
    let count = keys.len();
    let mut handed: Vec<(Owner, Vec<(Key, Vec<String>)>)> = Vec::new();
    for key in &keys {
        match fate(key) {
            None => return Err(MemberError::Undecided),
            Some(Fate::Revoke) => {
                keys::stop_for_good(tx, by, key, member, "its owner was removed")?;
            }
            Some(Fate::HandOver(to)) => {
                let to = new_owner(tx, tenant, to)?;
                let (key, moved) = pass_on(tx, by, key, member, &to)?;
                let one = (key, lost(&moved));
                match handed.iter_mut().find(|(owner, _)| owner.id == to.id) {
                    Some((_, keys)) => keys.push(one),
                    None => handed.push((to, vec![one])),
                }
            }
        }
    }
    for (to, keys) in &handed {
        mail::tell_handed_over(tx, by, tenant, member, to, keys)?;
    }
    within_bounds(tx, tenant, |tx| Ok::<_, MemberError>(members::remove(tx, tenant.id, member.id)?))?;
    if let Some(account) = member.account
        && crate::store::accounts::members_of(tx, account)?.is_empty()
    {
        sessions::end_all(tx, account, None)?;
    }
    Ok(note(tx, by, tenant.id, Action::MemberRemoved, member, json!({ "keys": count }))?)
}
