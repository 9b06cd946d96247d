//! First run: the installation owner, the first tenant and its first member.

use serde_json::json;

use super::{
    By,
    credentials::{self, NewPassword, link_hash},
    sign_in::{self, Opened},
};
use crate::{
    domain::{
        event::Action,
        names::{EmailAddress, Slug},
        permission::BuiltIn,
        tenant::Settings,
        token::{Purpose, Token},
    },
    store::{StoreError, Tx, accounts, events, links, members, tenants},
};

/// What the set-up page asks for.
pub struct SetUp {
    /// The installation owner's name.
    pub owner_name: String,
    /// The installation owner's address.
    pub owner_email: EmailAddress,
    /// The installation owner's password.
    pub owner_password: NewPassword,
    /// The tenant's name.
    pub tenant_name: String,
    /// The tenant's address.
    pub slug: Slug,
    /// Whether the tenant's API keys work from the start.
    pub keys_enabled: bool,
    /// The first member's name.
    pub member_name: String,
    /// The first member's address, another than the owner's.
    pub member_email: EmailAddress,
}

/// What set-up gives: the owner's session, and a link for the first member's password.
pub struct Ready {
    /// The owner's session, which goes on to set up TOTP.
    pub opened: Opened,
    /// Sets the first member's password, once, within an hour.
    pub reset: Option<Token>,
}

/// A new set-up link, for one hour; earlier ones die. `None` where there is an installation owner.
///
/// # Errors
/// The database is away.
pub fn start(tx: &mut Tx<'_>) -> Result<Option<Token>, StoreError> {
    if accounts::has_installation_owner(tx)? {
        return Ok(None);
    }
    credentials::make_link(tx, Purpose::SetUp, None).map(Some)
}

/// Whether a set-up link still works.
///
/// # Errors
/// The database is away.
pub fn is_open(db: &mut crate::store::Db, hash: &[u8; 32], now: crate::domain::time::Time) -> Result<bool, StoreError> {
    Ok(!accounts::has_installation_owner(db)? && links::find(db, Purpose::SetUp, hash, now)?.is_some())
}

/// Sets the installation up; of two at once the first wins. `None` where the link no longer works.
///
/// # Errors
/// The database is away.
pub fn finish(tx: &mut Tx<'_>, by: &By, token: &str, what: &SetUp) -> Result<Option<Ready>, StoreError> {
    let hash = link_hash(tx.secrets(), Purpose::SetUp, token);
    if accounts::has_installation_owner(tx)? || !links::use_up(tx, Purpose::SetUp, &hash)? {
        return Ok(None);
    }
    let Some(owner) = accounts::create(tx, &what.owner_email, &what.owner_name, true)? else { return Ok(None) };
    what.owner_password.keep(tx, owner)?;
    let settings = Settings { keys_enabled: what.keys_enabled, ..Settings::default() };
    let Some(tenant) = tenants::create(tx, &what.slug, &what.tenant_name, &settings)? else { return Ok(None) };
    let Some(account) = accounts::create(tx, &what.member_email, &what.member_name, false)? else { return Ok(None) };
    let member = members::create(tx, tenant, Some(account), &what.member_name, what.member_email.as_str())?;
    members::give_built_in(tx, tenant, member, BuiltIn::TenantAdmin)?;
    members::give_built_in(tx, tenant, member, BuiltIn::Developer)?;
    let owner = accounts::get(tx, owner)?;
    let by = By { who: super::Who::Account { id: owner.id, name: owner.name.clone(), installation_owner: true }, ..by.clone() };
    let created = by.event(
        Action::TenantCreated,
        ("tenant", what.slug.as_str(), &what.tenant_name),
        json!({ "address": what.slug.as_str(), "keys_enabled": what.keys_enabled }),
    );
    events::add_to_installation(tx, &created)?;
    events::add(tx, tenant, &created)?;
    let joined = by.event(
        Action::MemberJoined,
        ("member", &member.to_string(), &what.member_name),
        json!({ "email": what.member_email.as_str(), "roles": ["Tenant admin", "Developer"] }),
    );
    events::add(tx, tenant, &joined)?;
    let reset = credentials::start_reset(tx, &what.member_email.canonical())?;
    credentials::begin_totp(tx, owner.id)?;
    let opened = sign_in::renew(tx, &by, &owner)?;
    Ok(Some(Ready { opened, reset }))
}
