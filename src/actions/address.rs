//! A new e-mail address of an account: both addresses are told, and the new one is confirmed through a link.

use serde_json::json;

use super::{By, credentials, mail};
use crate::{
    domain::{
        event::Action,
        mail::{Mail, SecurityChange},
        names::EmailAddress,
        token::Purpose,
    },
    secrets::Secrets,
    store::{
        StoreError, Tx,
        accounts::{self, Account},
        links, members, outbox,
    },
};

/// How long the link in the mail works.
const HOURS: i64 = 24;
/// How many such links one address is sent in a day.
const IN_A_DAY: i64 = 3;

/// What became of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// The account has the new address.
    Changed,
    /// The link does not work, or the address was taken meanwhile.
    Dead,
}

/// The keyed hash that the token of such a link is stored as.
pub fn hash(secrets: &Secrets, token: &str) -> [u8; 32] {
    credentials::link_hash(secrets, Purpose::Reset, token)
}

/// Asks for a new address: it gets a link, and the present one is told. An address that has an account gets none, and nothing
/// shows it.
///
/// # Errors
/// The database is away.
pub fn ask(tx: &mut Tx<'_>, by: &By, account: &Account, to: &EmailAddress) -> Result<(), StoreError> {
    let now = tx.now();
    mail::tell_address(tx, by, account, &account.email, SecurityChange::AddressAsked(to.to_string()))?;
    let asked = outbox::written_since(tx, "confirm_address", to.as_str(), now - chrono::Duration::days(1))?;
    if accounts::by_email(tx, &to.canonical())?.is_some() || asked >= IN_A_DAY {
        return Ok(());
    }
    let until = now + chrono::Duration::hours(HOURS);
    let mail = Mail::ConfirmAddress { from: account.email.clone(), until };
    if let Some(hash) = mail::confirm_address(tx, account, to, &mail)? {
        links::add_address(tx, &hash, account.id, to.as_str(), until)?;
    }
    Ok(())
}

/// Gives the account the address that the link was mailed to. Links for a new password that went to the old one die.
///
/// # Errors
/// The database is away.
pub fn confirm(tx: &mut Tx<'_>, by: &By, token: &str) -> Result<Confirmed, StoreError> {
    let hash = hash(tx.secrets(), token);
    let now = tx.now();
    let Some((id, email)) = links::address(tx, &hash, now)? else { return Ok(Confirmed::Dead) };
    let Ok(email) = email.parse::<EmailAddress>() else { return Ok(Confirmed::Dead) };
    let account = accounts::get(tx, id)?;
    if !links::use_up_address(tx, &hash)? || !accounts::set_email(tx, id, &email)? {
        return Ok(Confirmed::Dead);
    }
    accounts::mail_opened(tx, id)?;
    links::end_resets(tx, id)?;
    for (tenant, member) in accounts::members_of(tx, id)? {
        if let Some(owner) = members::find(tx, tenant, member)? {
            members::rename(tx, tenant, member, &owner.name, email.as_str())?;
        }
    }
    credentials::note(tx, by, &account, Action::EmailChanged, &json!({ "email": { "from": account.email, "to": email.as_str() } }))?;
    let change = SecurityChange::Address { from: account.email.clone(), to: email.to_string() };
    mail::tell_address(tx, by, &account, &account.email, change.clone())?;
    mail::tell_address(tx, by, &account, email.as_str(), change)?;
    Ok(Confirmed::Changed)
}
