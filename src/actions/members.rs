//! What is done to members: console roles, suspension, sessions, and service accounts with their keepers.

use serde_json::json;

use super::{
    By,
    keys::KeyError,
    locked_out::{self, LockedOutError},
};
use crate::{
    domain::{
        event::Action,
        ids::{AccountId, ConsoleRoleId, KeyId, MemberId, TenantId},
        names::{EmailAddress, ResourcePattern},
        permission::{BuiltIn, Permission},
    },
    store::{
        Db, StoreError, Tx, accounts,
        console_roles::{self, ConsoleRole},
        events,
        members::{self, Acting, Owner},
        sessions,
        tenants::{self, Tenant},
    },
};

/// Why a member was not changed, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum MemberError {
    #[error("There is no such member.")]
    NoSuchMember,
    #[error("This was changed in the meantime. Look at it as it is now, and decide again.")]
    Changed,
    #[error("You may not do this to members of this tenant.")]
    NotAllowed,
    #[error("There is no such console role any more. Look at the roles as they are now.")]
    NoSuchRole,
    #[error("There is no such access role any more. Look at the access roles as they are now.")]
    NoSuchAccessRole,
    #[error("The role {0} holds a permission that you do not hold, so you cannot give it.")]
    Climb(String),
    #[error("This would leave the tenant without an active Tenant admin. Make somebody else Tenant admin first.")]
    LastAdmin,
    #[error(
        "All {seats} seats of this tenant are taken. A seat is taken by each active person who may own keys; the installation owner sets how many there are."
    )]
    Seats { seats: i64 },
    #[error("This account is a member of another tenant too. Only the installation owner can do this.")]
    Elsewhere,
    #[error("{0}")]
    Help(LockedOutError),
    #[error("There is no resource {0}. Add it under Access first.")]
    NoSuchResource(ResourcePattern),
    #[error("This address was invited five times within a day. Invite it again tomorrow.")]
    InvitedTooOften,
    #[error("No active person of this tenant has this address.")]
    NoSuchKeeper,
    #[error("A role of this name is there already.")]
    NameTaken,
    #[error("The built-in roles cannot be changed.")]
    BuiltIn,
    #[error("Decide what happens to each key. Keys have changed since this page was shown.")]
    Undecided,
    #[error("Keys are handed over to a service account, or to an active member who may own keys.")]
    NoOwner,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LockedOutError> for MemberError {
    fn from(error: LockedOutError) -> Self {
        match error {
            LockedOutError::Store(error) => Self::Store(error),
            other => Self::Help(other),
        }
    }
}

/// The member who acts, as they are once writers of the tenant take turns: roles may have changed since the request came.
pub(super) fn acting_now(tx: &mut Tx<'_>, by: &By, needs: Permission) -> Result<Acting, MemberError> {
    let before = by.acting().ok_or(MemberError::NotAllowed)?;
    tx.lock(before.tenant.id)?;
    let acting = members::acting(tx, &before.tenant.slug, before.account)?.ok_or(MemberError::NotAllowed)?;
    if acting.may(needs) && acting.tenant.suspended_at.is_none() { Ok(acting) } else { Err(MemberError::NotAllowed) }
}

/// Makes a change that must leave an active Tenant admin, and take no seat that is not there. With an error nothing stays changed.
pub(super) fn within_bounds<T, E: From<MemberError> + From<StoreError>>(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    change: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let before = (console_roles::admins(tx, tenant.id)?, console_roles::seats_taken(tx, tenant)?);
    let result = change(tx)?;
    // The change may be one of the settings that say what a role opens.
    let tenant = tenants::get(tx, tenant.id)?;
    let after = (console_roles::admins(tx, tenant.id)?, console_roles::seats_taken(tx, &tenant)?);
    if before.0 > 0 && after.0 == 0 {
        return Err(MemberError::LastAdmin.into());
    }
    if let Some(seats) = tenant.seats.filter(|seats| after.1 > before.1 && after.1 > *seats) {
        return Err(MemberError::Seats { seats }.into());
    }
    Ok(result)
}

/// The console roles of the tenant that a member may give: nobody grants a permission that they do not hold, but a Tenant admin
/// may grant Developer.
///
/// # Errors
/// The database is away.
pub fn grantable(db: &mut Db, acting: &Acting) -> Result<Vec<ConsoleRole>, StoreError> {
    let roles = console_roles::all(db, &acting.tenant)?;
    let mine = console_roles::of_member(db, acting.tenant.id, acting.id)?;
    let is_admin = roles.iter().any(|role| role.built_in == Some(BuiltIn::TenantAdmin) && mine.contains(&role.id));
    Ok(roles
        .into_iter()
        .filter(|role| acting.permissions.has_all(role.permissions) || (is_admin && role.built_in == Some(BuiltIn::Developer)))
        .collect())
}

/// Refuses roles among `added` that the acting member may not give.
pub(super) fn check_grants(db: &mut Db, acting: &Acting, added: &[ConsoleRoleId]) -> Result<(), MemberError> {
    if added.is_empty() {
        return Ok(());
    }
    let all = console_roles::all(db, &acting.tenant)?;
    let may = grantable(db, acting)?;
    for id in added {
        let role = all.iter().find(|role| role.id == *id).ok_or(MemberError::NoSuchRole)?;
        if !may.iter().any(|other| other.id == *id) {
            return Err(MemberError::Climb(role.name.clone()));
        }
    }
    Ok(())
}

/// A member of the tenant who is not removed.
pub(super) fn present(db: &mut Db, tenant: TenantId, id: MemberId) -> Result<Owner, MemberError> {
    members::find(db, tenant, id)?.filter(|member| member.removed_at.is_none()).ok_or(MemberError::NoSuchMember)
}

/// Writes an event about a member.
pub(super) fn note(tx: &mut Tx<'_>, by: &By, tenant: TenantId, action: Action, member: &Owner, details: serde_json::Value) -> Result<(), StoreError> {
    events::add(tx, tenant, &by.event(action, ("member", &member.id.to_string(), &member.name), details))
}

/// The names of roles, for an event.
pub(super) fn role_names(db: &mut Db, tenant: &Tenant, ids: &[ConsoleRoleId]) -> Result<Vec<String>, StoreError> {
    Ok(console_roles::all(db, tenant)?.into_iter().filter(|role| ids.contains(&role.id)).map(|role| role.name).collect())
}

/// Gives a member these console roles in the place of those they have, and disables `disable` of their keys in the same step. `seen`
/// is the mark of the roles that the form showed.
///
/// # Errors
/// See [`MemberError`]; nothing is changed then.
pub fn set_roles(tx: &mut Tx<'_>, by: &By, member: MemberId, roles: &[ConsoleRoleId], disable: &[KeyId], seen: &str) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let member = present(tx, acting.tenant.id, member)?;
    let before = console_roles::of_member(tx, acting.tenant.id, member.id)?;
    let mut after = roles.to_vec();
    after.sort_unstable();
    after.dedup();
    if before != after && console_roles::mark_of(&before) != seen {
        return Err(MemberError::Changed);
    }
    let added: Vec<ConsoleRoleId> = after.iter().filter(|id| !before.contains(id)).copied().collect();
    check_grants(tx, &acting, &added)?;
    // While whoever acts still holds what it takes: the roles may be their own.
    super::roles::disable_all(tx, by, disable)?;
    if before != after {
        let tenant = acting.tenant.clone();
        within_bounds(tx, &tenant, |tx| Ok::<_, MemberError>(console_roles::set(tx, tenant.id, member.id, &after)?))?;
        let details = json!({ "roles": { "from": role_names(tx, &tenant, &before)?, "to": role_names(tx, &tenant, &after)? } });
        note(tx, by, tenant.id, Action::MemberRolesChanged, &member, details)?;
    }
    Ok(())
}

/// Suspends a member, or brings them back: sign-in here and all their keys stop, or work again, at once.
///
/// # Errors
/// See [`MemberError`]; nothing is changed then.
pub fn set_suspended(tx: &mut Tx<'_>, by: &By, member: MemberId, suspended: bool) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let member = present(tx, acting.tenant.id, member)?;
    if member.suspended_at.is_some() == suspended {
        return Ok(());
    }
    let tenant = acting.tenant;
    within_bounds(tx, &tenant, |tx| Ok::<_, MemberError>(members::set_suspended(tx, tenant.id, member.id, suspended)?))?;
    let action = if suspended { Action::MemberSuspended } else { Action::MemberRestored };
    Ok(note(tx, by, tenant.id, action, &member, json!({}))?)
}

/// Makes a service account.
///
/// # Errors
/// See [`MemberError`].
pub fn create_service(tx: &mut Tx<'_>, by: &By, name: &str, contact: Option<&EmailAddress>) -> Result<MemberId, MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let contact = contact.map_or("", EmailAddress::as_str);
    let id = members::create(tx, acting.tenant.id, None, name, contact)?;
    let member = present(tx, acting.tenant.id, id)?;
    note(tx, by, acting.tenant.id, Action::ServiceAccountCreated, &member, json!({ "contact": contact }))?;
    Ok(id)
}

fn service(db: &mut Db, tenant: TenantId, id: MemberId) -> Result<Owner, MemberError> {
    present(db, tenant, id).and_then(|member| if member.is_service() { Ok(member) } else { Err(MemberError::NoSuchMember) })
}

/// Changes name, contact and own limit of keys of a service account. `seen` is the mark of the member that the form showed.
///
/// # Errors
/// See [`MemberError`].
pub fn edit_service(
    tx: &mut Tx<'_>,
    by: &By,
    id: MemberId,
    (name, contact, limit): (&str, Option<&EmailAddress>, Option<i64>),
    seen: &str,
) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let tenant = acting.tenant.id;
    let before = service(tx, tenant, id)?;
    let contact = contact.map_or("", EmailAddress::as_str);
    let is_same = before.name == name && before.email == contact && before.key_limit == limit;
    if !is_same && before.mark() != seen {
        return Err(MemberError::Changed);
    }
    let mut changes = serde_json::Map::new();
    if before.name != name {
        changes.insert("name".into(), json!({ "from": before.name, "to": name }));
    }
    if before.email != contact {
        changes.insert("contact".into(), json!({ "from": before.email, "to": contact }));
    }
    if before.key_limit != limit {
        changes.insert("key_limit".into(), json!({ "from": before.key_limit, "to": limit }));
        members::set_key_limit(tx, tenant, id, limit)?;
    }
    if before.name != name || before.email != contact {
        members::rename(tx, tenant, id, name, contact)?;
    }
    if !changes.is_empty() {
        let after = present(tx, tenant, id)?;
        note(tx, by, tenant, Action::MemberEdited, &after, changes.into())?;
    }
    Ok(())
}

fn note_keepers(tx: &mut Tx<'_>, by: &By, tenant: TenantId, member: &Owner, before: &[Owner]) -> Result<(), MemberError> {
    let names = |list: &[Owner]| list.iter().map(|keeper| keeper.name.clone()).collect::<Vec<_>>();
    let after = members::keepers(tx, tenant, member.id)?;
    Ok(note(tx, by, tenant, Action::KeepersChanged, member, json!({ "keepers": { "from": names(before), "to": names(&after) } }))?)
}

/// Makes the person with this address a keeper of a service account.
///
/// # Errors
/// See [`MemberError`].
pub fn add_keeper(tx: &mut Tx<'_>, by: &By, id: MemberId, email: &EmailAddress) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let tenant = acting.tenant.id;
    let service = service(tx, tenant, id)?;
    let account = accounts::by_email(tx, &email.canonical())?.ok_or(MemberError::NoSuchKeeper)?;
    let keeper = members::of_account(tx, tenant, account.id)?.filter(Owner::is_active).ok_or(MemberError::NoSuchKeeper)?;
    let before = members::keepers(tx, tenant, id)?;
    if before.iter().any(|other| other.id == keeper.id) {
        return Ok(());
    }
    members::add_keeper(tx, tenant, id, keeper.id)?;
    note_keepers(tx, by, tenant, &service, &before)
}

/// Makes a member keeper of a service account no more.
///
/// # Errors
/// See [`MemberError`].
pub fn remove_keeper(tx: &mut Tx<'_>, by: &By, id: MemberId, keeper: MemberId) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let tenant = acting.tenant.id;
    let service = service(tx, tenant, id)?;
    let before = members::keepers(tx, tenant, id)?;
    if !before.iter().any(|other| other.id == keeper) {
        return Ok(());
    }
    members::remove_keeper(tx, tenant, id, keeper)?;
    note_keepers(tx, by, tenant, &service, &before)
}

/// Shuts this tenant to the sessions that a member has now; a new sign-in opens it.
///
/// # Errors
/// See [`MemberError`].
pub fn shut(tx: &mut Tx<'_>, by: &By, member: MemberId) -> Result<(), MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let member = present(tx, acting.tenant.id, member)?;
    if member.is_service() {
        return Err(MemberError::NoSuchMember);
    }
    members::shut(tx, acting.tenant.id, member.id)?;
    Ok(note(tx, by, acting.tenant.id, Action::SessionEnded, &member, json!({ "tenant": "shut until a new sign-in" }))?)
}

/// Whether an account is a member of this tenant alone, so that its admins may end sessions and take two-step sign-in away.
///
/// # Errors
/// The database is away.
pub fn is_here_only(db: &mut Db, tenant: TenantId, account: AccountId) -> Result<bool, StoreError> {
    let here = accounts::members_of(db, account)?.iter().all(|(other, _)| *other == tenant);
    Ok(here && !accounts::get(db, account)?.installation_owner)
}

fn here_only(tx: &mut Tx<'_>, by: &By, member: MemberId) -> Result<(Acting, Owner, AccountId), MemberError> {
    // The account first, as in what people do to their own: the other way round two could wait for each other.
    let before = by.acting().ok_or(MemberError::NotAllowed)?;
    let account = present(tx, before.tenant.id, member)?.account.ok_or(MemberError::NoSuchMember)?;
    accounts::hold(tx, account)?;
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let member = present(tx, acting.tenant.id, member)?;
    if is_here_only(tx, acting.tenant.id, account)? { Ok((acting, member, account)) } else { Err(MemberError::Elsewhere) }
}

/// Ends one session of a member, or all; one's own that asks stays. Returns how many ended.
///
/// # Errors
/// See [`MemberError`].
pub fn end_sessions(tx: &mut Tx<'_>, by: &By, member: MemberId, one: Option<&KeyId>) -> Result<usize, MemberError> {
    let (acting, member, account) = here_only(tx, by, member)?;
    let ended = match one {
        Some(session) => usize::from(sessions::end_named(tx, account, session.as_str())?),
        None => sessions::end_all(tx, account, by.session.as_ref())?,
    };
    if ended > 0 {
        note(tx, by, acting.tenant.id, Action::SessionEnded, &member, json!({ "count": ended }))?;
    }
    Ok(ended)
}

/// Takes two-step sign-in from a member who has lost it; their sessions end, and they are told by mail. Nobody does this to
/// themself: the profile page asks for password and code.
///
/// # Errors
/// See [`MemberError`].
pub fn clear_totp(tx: &mut Tx<'_>, by: &By, member: MemberId) -> Result<(), MemberError> {
    let (_, _, account) = here_only(tx, by, member)?;
    let account = accounts::get(tx, account)?;
    Ok(locked_out::clear_totp(tx, by, &account)?)
}

/// Mails a member the link that sets a new password, for one hour. The password stays until the link is used.
///
/// # Errors
/// See [`MemberError`].
pub fn start_reset(tx: &mut Tx<'_>, by: &By, member: MemberId) -> Result<(), MemberError> {
    let (_, _, account) = here_only(tx, by, member)?;
    let account = accounts::get(tx, account)?;
    Ok(locked_out::mail_reset(tx, by, &account)?)
}
