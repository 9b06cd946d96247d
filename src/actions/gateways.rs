//! Gateway credentials: make, roll, revoke. All three ask for a TOTP code and `settings.manage`.

use serde_json::json;

use super::{By, CodeProof};
use crate::{
    chance,
    domain::{
        event::Action,
        ids::GatewayId,
        lifetime::{self, Choice, LifetimeError},
        permission::Permission,
        roll::Stop,
        time::{Time, date_time, days},
        token::{self, Purpose, Token},
    },
    store::{
        StoreError, Tx, events, form_ids,
        gateways::{self, Gateway, New},
        members::Acting,
    },
};

/// Why nothing was done, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum GatewayError {
    #[error("There is no such gateway credential.")]
    NoSuchGateway,
    #[error("You may not do this.")]
    NotAllowed,
    #[error("This gateway credential was revoked. That cannot be undone.")]
    Revoked,
    #[error("This gateway credential has expired. Create a new one.")]
    Expired,
    #[error("This gateway credential was changed in the meantime. Look at it as it is now, and decide again.")]
    Changed,
    #[error("This form was sent before; the gateway credential was made then. Roll it if its token is lost.")]
    AlreadyDone,
    #[error("Choose a moment in the future.")]
    StopPast,
    #[error("Choose {} or earlier: the longest overlap of this tenant ends then.", date_time(*.0))]
    StopTooLate(Time),
    #[error(transparent)]
    Expiry(#[from] LifetimeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A gateway credential with the only copy of its token.
#[derive(Debug)]
pub struct Made {
    /// The credential.
    pub gateway: Gateway,
    /// The token, for the one response that shows it.
    pub token: Token,
}

/// Who acts, as they are once writers of the tenant take turns.
fn in_turn(tx: &mut Tx<'_>, by: &By) -> Result<By, GatewayError> {
    let by = super::in_turn(tx, by)?.ok_or(GatewayError::NotAllowed)?;
    if allowed(&by)?.tenant.suspended_at.is_some() { Err(GatewayError::NotAllowed) } else { Ok(by) }
}

fn allowed(by: &By) -> Result<&Acting, GatewayError> {
    by.acting().filter(|acting| acting.may(Permission::SettingsManage)).ok_or(GatewayError::NotAllowed)
}

fn note(tx: &mut Tx<'_>, by: &By, action: Action, gateway: &Gateway, details: serde_json::Value) -> Result<(), GatewayError> {
    let event = by.event(action, ("gateway", &gateway.public_id, &gateway.name), details);
    Ok(events::add(tx, allowed(by)?.tenant.id, &event)?)
}

fn found(tx: &mut Tx<'_>, by: &By, id: GatewayId) -> Result<Gateway, GatewayError> {
    gateways::find(tx, allowed(by)?.tenant.id, id)?.ok_or(GatewayError::NoSuchGateway)
}

/// Makes a gateway credential. No limit and no maximum lifetime applies. `form_id` is the one-time ID of the form.
///
/// # Errors
/// See [`GatewayError`].
pub fn create(tx: &mut Tx<'_>, by: &By, name: &str, expiry: Choice, form_id: &str, _proof: &CodeProof) -> Result<Made, GatewayError> {
    let by = &in_turn(tx, by)?;
    let acting = allowed(by)?;
    let (tenant, account) = (acting.tenant.id, acting.account);
    if form_ids::result(tx, account, form_id)?.is_some() {
        return Err(GatewayError::AlreadyDone);
    }
    let expires_at = lifetime::decide(expiry, None, tx.now())?.at;
    let public_id = token::fresh_id(&mut chance::fill);
    let token = Token::make(Purpose::Gateway, public_id, &mut chance::fill);
    let pepper = tx.secrets().pepper_version();
    let hash = hashed(tx, by, &token, pepper)?;
    let id = gateways::create(tx, tenant, &New { public_id, name, by: &acting.name, expires_at, hash, pepper })?;
    form_ids::use_up(tx, account, form_id, public_id.as_str())?;
    let gateway = found(tx, by, id)?;
    note(tx, by, Action::GatewayCreated, &gateway, json!({ "expires_at": expires_at }))?;
    Ok(Made { gateway, token })
}

fn hashed(tx: &Tx<'_>, by: &By, token: &Token, pepper: i64) -> Result<token::SecretHash, GatewayError> {
    let hash = tx.secrets().token_hash(pepper, Purpose::Gateway, allowed(by)?.tenant.id, token.reveal());
    Ok(hash.ok_or_else(|| StoreError::Row("the newest pepper is missing".into()))?)
}

/// Gives a gateway credential a new secret; the present one works on until `stop`, no longer than the tenant's longest overlap.
///
/// # Errors
/// See [`GatewayError`].
pub fn roll(tx: &mut Tx<'_>, by: &By, id: GatewayId, stop: Stop, form_id: &str, _proof: &CodeProof) -> Result<Made, GatewayError> {
    let by = &in_turn(tx, by)?;
    let acting = allowed(by)?;
    let (tenant, account) = (acting.tenant.id, acting.account);
    if form_ids::result(tx, account, form_id)?.is_some() {
        return Err(GatewayError::AlreadyDone);
    }
    let before = found(tx, by, id)?;
    let now = tx.now();
    if before.revoked.is_some() {
        return Err(GatewayError::Revoked);
    }
    if !before.is_active(now) {
        return Err(GatewayError::Expired);
    }
    let stops_at = stops_at(stop, now, now + days(acting.tenant.settings.overlap_days.into()))?;
    let public_id = crate::domain::ids::KeyId::parse(&before.public_id).ok_or(GatewayError::NoSuchGateway)?;
    let token = Token::make(Purpose::Gateway, public_id, &mut chance::fill);
    let pepper = tx.secrets().pepper_version();
    let hash = hashed(tx, by, &token, pepper)?;
    if !gateways::roll(tx, tenant, &before, hash, pepper, stops_at)? {
        return Err(GatewayError::Changed);
    }
    form_ids::use_up(tx, account, form_id, &before.public_id)?;
    let gateway = found(tx, by, id)?;
    let details = json!({ "old_secret_stops_at": stops_at, "compromised": stop == Stop::Compromised });
    note(tx, by, Action::GatewayRolled, &gateway, details)?;
    Ok(Made { gateway, token })
}

/// When the present secret stops.
fn stops_at(stop: Stop, now: Time, bound: Time) -> Result<Time, GatewayError> {
    let at = match stop {
        Stop::Now | Stop::Compromised => return Ok(now),
        Stop::Longest => return Ok(bound),
        Stop::After(seconds) => chrono::Duration::try_seconds(seconds).and_then(|span| now.checked_add_signed(span)).unwrap_or(bound),
        Stop::At(at) => at,
    };
    if at < now {
        Err(GatewayError::StopPast)
    } else if at > bound {
        Err(GatewayError::StopTooLate(bound))
    } else {
        Ok(at)
    }
}

/// Stops a gateway credential for good.
///
/// # Errors
/// See [`GatewayError`].
pub fn revoke(tx: &mut Tx<'_>, by: &By, id: GatewayId, _proof: &CodeProof) -> Result<Gateway, GatewayError> {
    let by = &in_turn(tx, by)?;
    let (tenant, name) = (allowed(by)?.tenant.id, allowed(by)?.name.clone());
    let before = found(tx, by, id)?;
    if !gateways::revoke(tx, tenant, id, &name)? {
        return Err(GatewayError::Revoked);
    }
    note(tx, by, Action::GatewayRevoked, &before, json!({}))?;
    found(tx, by, id)
}
