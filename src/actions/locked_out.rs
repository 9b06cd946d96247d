//! Letting people who are locked out back into their accounts: a mailed link that sets a new password, and taking lost two-step sign-in away. Who may
//! do so is decided by those who call.

use super::{By, Who, credentials, mail};
use crate::{
    domain::ids::AccountId,
    store::{
        StoreError, Tx,
        accounts::{self, Account},
        outbox,
    },
};

/// Why a person was not helped, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LockedOutError {
    #[error("Only the installation owner can do this.")]
    NotAllowed,
    #[error("There is no such account any more.")]
    NoAccount,
    #[error("This is your own account. Use your profile page, which asks for your password.")]
    Own,
    #[error("This is an installation owner. Use “keyward user” on the server.")]
    InstallationOwner,
    #[error("{0} has no two-step sign-in.")]
    NoTotp(String),
    #[error("Links to set a new password were mailed to {0} several times within the last hour. Wait before mailing another.")]
    Enough(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Mails the link that sets a new password, for one hour; earlier ones die. The password stays until the link is used.
///
/// # Errors
/// See [`LockedOutError`]; nothing is changed then.
pub fn mail_reset(tx: &mut Tx<'_>, by: &By, account: &Account) -> Result<(), LockedOutError> {
    accounts::hold(tx, account.id)?;
    let hour = tx.now() - chrono::Duration::hours(1);
    let before = outbox::written_since(tx, "password_reset", &account.email, hour)?;
    mail::start_reset(tx, by, &account.email_canonical)?;
    if outbox::written_since(tx, "password_reset", &account.email, hour)? > before {
        Ok(())
    } else {
        Err(LockedOutError::Enough(account.email.clone()))
    }
}

/// Takes two-step sign-in away; every session ends, and the person is told by mail. The operator may do it to anybody; nobody else
/// to themself, as the profile page asks for password and code.
///
/// # Errors
/// See [`LockedOutError`]; nothing is changed then.
pub fn clear_totp(tx: &mut Tx<'_>, by: &By, account: &Account) -> Result<(), LockedOutError> {
    if own(by) == Some(account.id) {
        return Err(LockedOutError::Own);
    }
    accounts::hold(tx, account.id)?;
    if !accounts::get(tx, account.id)?.has_totp() {
        return Err(LockedOutError::NoTotp(account.name.clone()));
    }
    Ok(credentials::remove_totp(tx, by, account.id)?)
}

fn own(by: &By) -> Option<AccountId> {
    match &by.who {
        Who::Member(acting) => Some(acting.account),
        Who::Account { id, .. } => Some(*id),
        _ => None,
    }
}

/// The account that the installation owner helps: anybody's but that of an installation owner.
fn helped(tx: &mut Tx<'_>, by: &By, id: AccountId) -> Result<Account, LockedOutError> {
    let Who::Account { id: asking, .. } = &by.who else { return Err(LockedOutError::NotAllowed) };
    if !accounts::get(tx, *asking)?.installation_owner {
        return Err(LockedOutError::NotAllowed);
    }
    let account = accounts::find(tx, id)?.ok_or(LockedOutError::NoAccount)?;
    if *asking == account.id {
        return Err(LockedOutError::Own);
    }
    if account.installation_owner { Err(LockedOutError::InstallationOwner) } else { Ok(account) }
}

/// Mails the link that sets a new password, as the installation owner, to whoever's account it is.
///
/// # Errors
/// See [`LockedOutError`]; nothing is changed then.
pub fn mail_reset_of(tx: &mut Tx<'_>, by: &By, id: AccountId) -> Result<Account, LockedOutError> {
    let account = helped(tx, by, id)?;
    mail_reset(tx, by, &account)?;
    Ok(account)
}

/// Takes two-step sign-in away, as the installation owner, from whoever's account it is.
///
/// # Errors
/// See [`LockedOutError`]; nothing is changed then.
pub fn clear_totp_of(tx: &mut Tx<'_>, by: &By, id: AccountId) -> Result<Account, LockedOutError> {
    let account = helped(tx, by, id)?;
    clear_totp(tx, by, &account)?;
    Ok(account)
}
