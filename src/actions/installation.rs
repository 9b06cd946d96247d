//! What the installation owner does: looks after tenants, and stops keys. It can make no key work, and is a member nowhere.

use serde_json::json;

use super::{
    By, Who,
    credentials::link_hash,
    keys::{self as key_actions, KeyError},
    mail,
    members::{MemberError, within_bounds},
};
use crate::{
    chance,
    domain::{
        event::Action,
        ids::{KeyId, TenantId},
        key::Key,
        names::{EmailAddress, Slug},
        permission::BuiltIn,
        tenant::Settings,
        token::{Purpose, Token, base62, fresh_id},
    },
    store::{
        StoreError, Tx, accounts, events,
        installation::{self, InstallationReach},
        is_duplicate, keys,
        links::{self, NewInvitation},
        members,
        outbox::{self, Row},
        tenants::{self, Tenant},
    },
};

/// How long an invitation can be taken up, in hours.
const INVITED_FOR: i64 = 72;

/// Why a tenant was not made or changed, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TenantError {
    #[error("Only the installation owner can do this.")]
    NotAllowed,
    #[error("There is no such tenant.")]
    NoSuchTenant,
    #[error("This tenant was changed in the meantime. Look at it as it is now, and decide again.")]
    Changed,
    #[error("Another tenant has this address.")]
    AddressTaken,
    #[error("The installation owner is a member of no tenant. Enter another address.")]
    OwnerAddress,
    #[error("This tenant has an active Tenant admin, who can name others.")]
    HasAdmin,
    #[error("This person is suspended in the tenant. Enter another address.")]
    MemberSuspended,
    #[error(transparent)]
    Bounds(MemberError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<MemberError> for TenantError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::Store(error) => Self::Store(error),
            other => Self::Bounds(other),
        }
    }
}

/// What came of naming a Tenant admin.
#[derive(Debug)]
pub enum Named {
    /// An active member holds the role now.
    Member(String),
    /// The address was invited; the token is in the answer alone.
    Invited(Token),
}

fn owner(tx: &mut Tx<'_>, by: &By) -> Result<InstallationReach, TenantError> {
    match &by.who {
        Who::Account { id, installation_owner: true, .. } => InstallationReach::of(&accounts::get(tx, *id)?).ok_or(TenantError::NotAllowed),
        _ => Err(TenantError::NotAllowed),
    }
}

fn tenant(tx: &mut Tx<'_>, by: &By, slug: &str) -> Result<Tenant, TenantError> {
    owner(tx, by)?;
    let id = tenants::by_slug(tx, slug)?.ok_or(TenantError::NoSuchTenant)?.id;
    tx.lock(id)?;
    Ok(tenants::get(tx, id)?)
}

fn note(tx: &mut Tx<'_>, by: &By, tenant: &Tenant, action: Action, details: serde_json::Value) -> Result<(), StoreError> {
    events::add(tx, tenant.id, &by.event(action, ("tenant", tenant.slug.as_str(), tenant.name.as_str()), details))
}

/// Makes a tenant, with API keys off, and invites its first Tenant admin. The token of the invitation is in the answer alone.
///
/// # Errors
/// See [`TenantError`]; nothing is changed then.
pub fn create(tx: &mut Tx<'_>, by: &By, slug: &Slug, name: &str, admin: &EmailAddress, seats: Option<i64>) -> Result<(Tenant, Token), TenantError> {
    owner(tx, by)?;
    let made = match tenants::create(tx, slug, name, &Settings::default()) {
        Err(StoreError::Query(error)) if is_duplicate(&error) => None,
        other => other?,
    };
    let id = made.ok_or(TenantError::AddressTaken)?;
    tx.lock(id)?;
    if seats.is_some() {
        tenants::set_seats(tx, id, seats)?;
    }
    let tenant = tenants::get(tx, id)?;
    let created = by.event(Action::TenantCreated, ("tenant", slug.as_str(), name), json!({ "address": slug.as_str(), "seats": seats }));
    events::add_to_installation(tx, &created)?;
    events::add(tx, id, &created)?;
    let token = invite_admin(tx, by, id, admin)?;
    Ok((tenant, token))
}

/// Invites an address to be Tenant admin; earlier invitations of this kind die.
fn invite_admin(tx: &mut Tx<'_>, by: &By, tenant: TenantId, email: &EmailAddress) -> Result<Token, TenantError> {
    if accounts::by_email(tx, &email.canonical())?.is_some_and(|account| account.installation_owner) {
        return Err(TenantError::OwnerAddress);
    }
    let role = members::built_in_role(tx, tenant, BuiltIn::TenantAdmin)?;
    let token = Token::make(Purpose::Invite, fresh_id(&mut chance::fill), &mut chance::fill);
    let hash = link_hash(tx.secrets(), Purpose::Invite, token.reveal());
    let until = tx.now() + chrono::Duration::hours(INVITED_FOR);
    let id = base62(16, &mut chance::fill);
    let details = |mailed: bool| json!({ "id": id, "email": email.as_str(), "roles": [role.0], "first_admin": true, "mailed": mailed }).to_string();
    links::end_invitations_of(tx, tenant, email)?;
    links::invite_first_admin(tx, &hash, tenant, &NewInvitation { id: &id, email, details: &details(false) }, until)?;
    if let Some(hash) = mail::invite(tx, tenant, email, &by.actor().name, until)? {
        links::invite(tx, &hash, tenant, &NewInvitation { id: &id, email, details: &details(true) }, until)?;
    }
    let details = json!({ "email": email.as_str(), "roles": ["Tenant admin"] });
    events::add(tx, tenant, &by.event(Action::MemberInvited, ("member", "", email.as_str()), details))?;
    Ok(token)
}

/// Names a Tenant admin where no active one is left: an active member gets the role, anybody else an invitation.
///
/// # Errors
/// See [`TenantError`]; nothing is changed then.
pub fn name_admin(tx: &mut Tx<'_>, by: &By, slug: &str, email: &EmailAddress) -> Result<Named, TenantError> {
    let tenant = tenant(tx, by, slug)?;
    if !installation::holders(tx, &tenant)?.0.is_empty() {
        return Err(TenantError::HasAdmin);
    }
    let account = accounts::by_email(tx, &email.canonical())?;
    let member = match &account {
        Some(account) => members::of_account(tx, tenant.id, account.id)?,
        None => None,
    };
    let Some(member) = member.filter(|member| member.removed_at.is_none()) else {
        return invite_admin(tx, by, tenant.id, email).map(Named::Invited);
    };
    if !member.is_active() {
        return Err(TenantError::MemberSuspended);
    }
    within_bounds(tx, &tenant, |tx| Ok::<_, TenantError>(members::give_built_in(tx, tenant.id, member.id, BuiltIn::TenantAdmin)?))?;
    let target = ("member", &*member.id.to_string(), member.name.as_str());
    events::add(tx, tenant.id, &by.event(Action::MemberRolesChanged, target, json!({ "added": ["Tenant admin"] })))?;
    Ok(Named::Member(member.name))
}

/// Gives a tenant a name and its seats (`None` is no bound). Lowering the seats takes none away. `seen` is the mark of the tenant
/// that the form showed.
///
/// # Errors
/// See [`TenantError`]; nothing is changed then.
pub fn change(tx: &mut Tx<'_>, by: &By, slug: &str, name: &str, seats: Option<i64>, seen: &str) -> Result<(), TenantError> {
    let before = tenant(tx, by, slug)?;
    if (before.name != name || before.seats != seats) && before.mark() != seen {
        return Err(TenantError::Changed);
    }
    if before.name != name {
        tenants::rename(tx, before.id, name)?;
        let after = Tenant { name: name.to_owned(), ..before.clone() };
        note(tx, by, &after, Action::TenantRenamed, json!({ "name": { "from": before.name, "to": name } }))?;
    }
    if before.seats != seats {
        tenants::set_seats(tx, before.id, seats)?;
        let after = Tenant { name: name.to_owned(), ..before.clone() };
        note(tx, by, &after, Action::SeatsSet, json!({ "seats": { "from": before.seats, "to": seats } }))?;
    }
    Ok(())
}

/// Suspends a tenant, or brings it back. What it is already is no error.
///
/// # Errors
/// See [`TenantError`].
pub fn set_suspended(tx: &mut Tx<'_>, by: &By, slug: &str, suspended: bool) -> Result<Tenant, TenantError> {
    let tenant = tenant(tx, by, slug)?;
    if tenant.suspended_at.is_some() != suspended {
        tenants::set_suspended(tx, tenant.id, suspended)?;
        let action = if suspended { Action::TenantSuspended } else { Action::TenantRestored };
        note(tx, by, &tenant, action, json!({}))?;
    }
    Ok(tenant)
}

fn find_key(tx: &mut Tx<'_>, by: &By, id: KeyId) -> Result<(Key, members::Owner), KeyError> {
    let reach = owner(tx, by).map_err(|error| match error {
        TenantError::Store(error) => KeyError::Store(error),
        _ => KeyError::NotAllowed,
    })?;
    let (tenant, _) = installation::find_key(tx, &reach, id)?.ok_or(KeyError::NoSuchKey)?;
    tx.lock(tenant.id)?;
    let (_, key) = installation::find_key(tx, &reach, id)?.ok_or(KeyError::NoSuchKey)?;
    let owner = members::find(tx, tenant.id, key.owner)?.ok_or(KeyError::NoSuchKey)?;
    Ok((key, owner))
}

/// Stops a key of any tenant for good.
///
/// # Errors
/// See [`KeyError`].
pub fn revoke_key(tx: &mut Tx<'_>, by: &By, id: KeyId, reason: &str) -> Result<Key, KeyError> {
    let (key, owner) = find_key(tx, by, id)?;
    key_actions::stop_for_good(tx, by, &key, &owner, reason)
}

/// Removes a key of any tenant from the grid; one that was not revoked is revoked first. Its events stay.
///
/// # Errors
/// See [`KeyError`].
pub fn delete_key(tx: &mut Tx<'_>, by: &By, id: KeyId, seen: i64) -> Result<Key, KeyError> {
    let (key, owner) = find_key(tx, by, id)?;
    if key.version != seen {
        return Err(KeyError::Changed);
    }
    let key = key_actions::stop_before_deletion(tx, by, key, &owner)?;
    keys::delete(tx, &key, &owner)?;
    key_actions::note(tx, by, Action::KeyDeleted, &key, json!({ "owner": owner.name }))?;
    Ok(key)
}

/// Lets a mail that belongs to no tenant leave again; `false` where it has not failed.
///
/// # Errors
/// Whoever asks is not the installation owner.
pub fn send_again(tx: &mut Tx<'_>, by: &By, row: &Row) -> Result<bool, TenantError> {
    let reach = owner(tx, by)?;
    let again = outbox::send_again_of_installation(tx, &reach, row.id)?;
    if again {
        events::add_to_installation(tx, &mail::sent_again(by, row))?;
    }
    Ok(again)
}
