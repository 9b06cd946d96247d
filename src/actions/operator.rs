//! What the operator does from the command line: make accounts, and help people back into theirs.

use serde_json::json;

use super::{
    By, credentials,
    locked_out::{self, LockedOutError},
    members::{MemberError, within_bounds},
};
use crate::{
    domain::{event::Action, ids::AccountId, names::EmailAddress, permission::BuiltIn, token::Token},
    store::{
        StoreError, Tx,
        accounts::{self, Account},
        console_roles, events, members, tenants,
    },
};

/// Why it was not done, and what to do instead.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum OperatorError {
    #[error("there is no account with the address {0}")]
    NoAccount(String),
    #[error("there is no tenant with the address {0}")]
    NoTenant(String),
    #[error("{0} has an account already; use `keyward user reset` for a new password")]
    AccountExists(String),
    #[error("{email} is a member of {tenant} already")]
    MemberExists { email: String, tenant: String },
    #[error("{email} is suspended in {tenant}; one of its admins can bring them back")]
    MemberSuspended { email: String, tenant: String },
    #[error("{0}")]
    Bounds(MemberError),
    #[error("{0} is the installation owner, who is a member of no tenant")]
    IsOwner(String),
    #[error("{0} has no two-step sign-in")]
    NoTotp(String),
    #[error(transparent)]
    Help(#[from] LockedOutError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<MemberError> for OperatorError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::Store(error) => Self::Store(error),
            other => Self::Bounds(other),
        }
    }
}

/// Who is to have an account.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// The address.
    pub email: &'a EmailAddress,
    /// The name.
    pub name: &'a str,
    /// The tenant's address; `None` for an installation owner.
    pub tenant: Option<&'a str>,
    /// The console roles in the tenant.
    pub roles: &'a [BuiltIn],
}

/// Makes an account and a member, or a member of an account that exists; a new account gets a link that sets its password.
///
/// # Errors
/// See [`OperatorError`]; nothing is changed then.
pub fn create_user(tx: &mut Tx<'_>, by: &By, new: &NewUser<'_>) -> Result<Option<Token>, OperatorError> {
    let known = accounts::by_email(tx, &new.email.canonical())?;
    let Some(slug) = new.tenant else {
        if known.is_some() {
            return Err(OperatorError::AccountExists(new.email.to_string()));
        }
        let id = account(tx, new, true)?;
        let owner = accounts::get(tx, id)?;
        credentials::note(tx, by, &owner, Action::AccountCreated, &json!({}))?;
        return link(tx, new.email);
    };
    let tenant = tenants::by_slug(tx, slug)?.ok_or_else(|| OperatorError::NoTenant(slug.to_owned()))?.id;
    tx.lock(tenant)?;
    let tenant = tenants::get(tx, tenant)?;
    let is_new = known.is_none();
    let account = match known {
        Some(account) if account.installation_owner => return Err(OperatorError::IsOwner(new.email.to_string())),
        Some(account) => account.id,
        None => account(tx, new, false)?,
    };
    let before = members::of_account(tx, tenant.id, account)?;
    let (email, slug) = (new.email.to_string(), slug.to_owned());
    match &before {
        Some(member) if member.is_active() => return Err(OperatorError::MemberExists { email, tenant: slug }),
        Some(member) if member.removed_at.is_none() => return Err(OperatorError::MemberSuspended { email, tenant: slug }),
        _ => {}
    }
    let mut roles = Vec::new();
    for (role, ..) in BuiltIn::ALL.iter().filter(|(role, ..)| new.roles.contains(role)) {
        roles.push(members::built_in_role(tx, tenant.id, *role)?);
    }
    let member = within_bounds(tx, &tenant, |tx| {
        let id = match before {
            // Somebody who was removed comes back as the member that they were.
            Some(member) => {
                members::take_in(tx, tenant.id, member.id, new.name, new.email.as_str())?;
                member.id
            }
            None => members::create(tx, tenant.id, Some(account), new.name, new.email.as_str())?,
        };
        console_roles::set(tx, tenant.id, id, &roles)?;
        Ok::<_, OperatorError>(id)
    })?;
    let names: Vec<_> = BuiltIn::ALL.iter().filter(|(role, ..)| new.roles.contains(role)).map(|(_, _, shown)| *shown).collect();
    let event = by.event(Action::MemberJoined, ("member", &member.to_string(), new.name), json!({ "email": new.email.as_str(), "roles": names }));
    events::add(tx, tenant.id, &event)?;
    if is_new { link(tx, new.email) } else { Ok(None) }
}

fn account(tx: &mut Tx<'_>, new: &NewUser<'_>, owner: bool) -> Result<AccountId, OperatorError> {
    accounts::create(tx, new.email, new.name, owner)?.ok_or_else(|| OperatorError::AccountExists(new.email.to_string()))
}

fn link(tx: &mut Tx<'_>, email: &EmailAddress) -> Result<Option<Token>, OperatorError> {
    Ok(credentials::start_reset(tx, &email.canonical())?)
}

fn find(tx: &mut Tx<'_>, email: &str) -> Result<Account, OperatorError> {
    accounts::by_email(tx, &email.trim().to_ascii_lowercase())?.ok_or_else(|| OperatorError::NoAccount(email.to_owned()))
}

/// A link that sets a new password.
///
/// # Errors
/// See [`OperatorError`].
pub fn reset_link(tx: &mut Tx<'_>, by: &By, email: &str) -> Result<Token, OperatorError> {
    let account = find(tx, email)?;
    credentials::note(tx, by, &account, Action::PasswordResetStarted, &json!({}))?;
    credentials::start_reset(tx, &email.trim().to_ascii_lowercase())?.ok_or_else(|| OperatorError::NoAccount(email.to_owned()))
}

/// Removes two-step sign-in from an account and ends its sessions.
///
/// # Errors
/// See [`OperatorError`].
pub fn clear_totp(tx: &mut Tx<'_>, by: &By, email: &str) -> Result<(), OperatorError> {
    let account = find(tx, email)?;
    match locked_out::clear_totp(tx, by, &account) {
        Err(LockedOutError::NoTotp(_)) => Err(OperatorError::NoTotp(email.to_owned())),
        Err(LockedOutError::Store(error)) => Err(error.into()),
        other => Ok(other?),
    }
}
