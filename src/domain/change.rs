//! What can happen to a key: pure functions of (key, policy, what is asked, moment) that give the key after the change, or say
//! why its state does not allow it. Who may do it, and that it is written and told, is the business of `actions`.
//!
//! What `may_…` allows, the change of that name does. A revoked key stays as it is for good: nothing here brings one back.

use super::{
    access::{KeyAccess, ResourceSet},
    ids::MemberId,
    key::{Actor, Key, OldSecret, SecretFacts},
    lifetime::{self, Choice, LifetimeError},
    names::Scopes,
    notice::{Extendable, NoExtension, may_extend},
    roll::{self, RollError, Stays},
    tenant::{GraceHistory, Settings},
    time::{Time, date},
};

/// What a tenant's rules say.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Its settings.
    pub settings: &'a Settings,
    /// The values that its grace has had.
    pub grace: &'a GraceHistory,
    /// Whether the installation owner suspended it.
    pub suspended: bool,
}

impl Policy<'_> {
    /// Whether keys may be made, rolled and enabled.
    ///
    /// # Errors
    /// [`Refused::KeysOff`].
    pub const fn keys_on(&self) -> Result<(), Refused> {
        if self.settings.keys_enabled && !self.suspended { Ok(()) } else { Err(Refused::KeysOff) }
    }
}

/// Why the state of a key does not allow a change, in words for the page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refused {
    #[error("API keys are turned off for this tenant.")]
    KeysOff,
    #[error("This key was revoked. That cannot be undone.")]
    Revoked,
    #[error("This key is not disabled.")]
    NotDisabled,
    #[error("This key is disabled already.")]
    AlreadyDisabled,
    #[error("No overlap is running: the old secret has stopped already.")]
    NoOverlap,
    #[error("This key has no expiry, so there is nothing to renew.")]
    NoExpiry,
    #[error("The grace of this key ended on {}. Roll it instead.", date(*.0))]
    GraceOver(Time),
    #[error(transparent)]
    Expiry(#[from] LifetimeError),
    #[error(transparent)]
    Roll(#[from] RollError),
}

/// Whether a key can still be changed at all.
///
/// # Errors
/// [`Refused::Revoked`].
pub const fn may_change(key: &Key) -> Result<(), Refused> {
    if key.life.revoked_at.is_some() { Err(Refused::Revoked) } else { Ok(()) }
}

/// Edit sets an expiry where there is none, or moves it nearer. The same expiry changes nothing.
///
/// # Errors
/// Revoked; later than it is, or not allowed by the maximum.
pub fn edit_expiry(key: &Key, choice: Choice, policy: &Policy<'_>, now: Time) -> Result<Key, Refused> {
    may_change(key)?;
    let expiry = lifetime::edit(key.life.expires_at, choice, policy.settings.maximum_days, now)?;
    let mut after = key.clone();
    if expiry.at != key.life.expires_at {
        set_expiry(&mut after, expiry.at, now);
        after.lifetime = expiry.lifetime;
        after.changed_at = now;
    }
    Ok(after)
}

/// A new secret, made by `made_by`. Also says which older secret stays, and until when.
///
/// # Errors
/// Keys are off; see [`roll::roll`].
pub fn roll(key: &Key, request: &roll::Request, policy: &Policy<'_>, made_by: &str, now: Time) -> Result<(Key, Stays), Refused> {
    policy.keys_on()?;
    let roll::Outcome { stays, expiry } = roll::roll(key, request, policy.settings, policy.grace, now)?;
    let mut after = key.clone();
    after.old = match (stays, after.old.take()) {
        (Stays::None, _) => None,
        (Stays::Current(stops_at), _) => Some(OldSecret { secret: key.current.clone(), replaced_at: now, own_expiry: key.life.expires_at, stops_at }),
        (Stays::Old(stops_at), old) => old.map(|old| OldSecret { stops_at, ..old }),
    };
    after.current = SecretFacts { made_at: now, made_by: made_by.to_owned(), last_used: None };
    if let Some(expiry) = expiry {
        set_expiry(&mut after, expiry.at, now);
        after.lifetime = expiry.lifetime;
    }
    after.changed_at = now;
    Ok((after, stays))
}

/// When the old secret would have stopped, which Finish stops now.
///
/// # Errors
/// [`Refused::NoOverlap`].
pub fn may_finish(key: &Key, now: Time) -> Result<Time, Refused> {
    key.overlap(now).map(|old| old.stops_at).ok_or(Refused::NoOverlap)
}

/// The old secret stops now; what the key is otherwise does not matter.
///
/// # Errors
/// [`Refused::NoOverlap`].
pub fn finish(key: &Key, now: Time) -> Result<Key, Refused> {
    may_finish(key, now)?;
    Ok(Key { old: None, changed_at: now, ..key.clone() })
}

/// The expiry that Renew would set: the original lifetime from now, no further than the maximum, never nearer than it is.
///
/// # Errors
/// Revoked, without expiry, past the grace.
pub fn may_renew(key: &Key, policy: &Policy<'_>, now: Time) -> Result<Time, Refused> {
    may_change(key)?;
    let (Some(expires_at), Some(length)) = (key.life.expires_at, key.lifetime) else { return Err(Refused::NoExpiry) };
    if key.life.is_past_grace(policy.grace, now) {
        return Err(Refused::GraceOver(policy.grace.end(expires_at, now)));
    }
    Ok(lifetime::renewed(expires_at, length, policy.settings.maximum_days, now))
}

/// The original lifetime begins anew, with the same secret.
///
/// # Errors
/// See [`may_renew`].
pub fn renew(key: &Key, policy: &Policy<'_>, now: Time) -> Result<Key, Refused> {
    let at = may_renew(key, policy, now)?;
    let mut after = Key { changed_at: now, ..key.clone() };
    set_expiry(&mut after, Some(at), now);
    Ok(after)
}

/// A mailed link sets the expiry two weeks on; `of` is the expiry that it was mailed for.
///
/// # Errors
/// See [`may_extend`].
pub fn extend(key: &Key, of: Time, owner_active: bool, policy: &Policy<'_>, now: Time) -> Result<Key, NoExtension> {
    let facts = Extendable {
        life: key.life,
        of,
        extensions: key.extensions,
        most: policy.settings.extensions,
        owner_active,
        keys_on: policy.keys_on().is_ok(),
        grace: policy.grace,
    };
    let mut after = Key { changed_at: now, extensions: key.extensions + 1, ..key.clone() };
    after.life.expires_at = Some(may_extend(&facts, now)?);
    Ok(after)
}

/// Whether a key can be locked.
///
/// # Errors
/// Revoked, or disabled already.
pub const fn may_disable(key: &Key) -> Result<(), Refused> {
    match key.life.disabled_at {
        _ if key.life.revoked_at.is_some() => Err(Refused::Revoked),
        Some(_) => Err(Refused::AlreadyDisabled),
        None => Ok(()),
    }
}

/// Locked for a while: both secrets are refused, and no clock stops.
///
/// # Errors
/// See [`may_disable`].
pub fn disable(key: &Key, by: Actor, reason: &str, now: Time) -> Result<Key, Refused> {
    may_disable(key)?;
    let mut after = Key { changed_at: now, disabled_by: Some(by), disable_reason: reason.to_owned(), ..key.clone() };
    after.life.disabled_at = Some(now);
    Ok(after)
}

/// Whether a lock can be lifted.
///
/// # Errors
/// Revoked, keys are off, or not disabled.
pub fn may_enable(key: &Key, policy: &Policy<'_>) -> Result<(), Refused> {
    may_change(key)?;
    policy.keys_on()?;
    key.life.disabled_at.map(|_| ()).ok_or(Refused::NotDisabled)
}

/// The lock is lifted. A key that has expired meanwhile is shown as Expired.
///
/// # Errors
/// See [`may_enable`].
pub fn enable(key: &Key, policy: &Policy<'_>, now: Time) -> Result<Key, Refused> {
    may_enable(key, policy)?;
    let mut after = Key { changed_at: now, disabled_by: None, disable_reason: String::new(), ..key.clone() };
    after.life.disabled_at = None;
    Ok(after)
}

/// Stopped for good, with any secret that it has.
///
/// # Errors
/// [`Refused::Revoked`]: it is already.
pub fn revoke(key: &Key, by: Actor, reason: &str, now: Time) -> Result<Key, Refused> {
    may_change(key)?;
    let mut after = Key { changed_at: now, revoked_by: Some(by), revoke_reason: reason.to_owned(), ..key.clone() };
    after.life.revoked_at = Some(now);
    Ok(after)
}

/// It goes to another owner, with what of its access that one holds, too; its secrets work on.
///
/// # Errors
/// [`Refused::Revoked`].
pub fn hand_over(key: &Key, to: MemberId, scopes: Scopes, resources: ResourceSet, now: Time) -> Result<Key, Refused> {
    may_change(key)?;
    Ok(Key { changed_at: now, owner: to, access: KeyAccess::Scopes(scopes), resources, ..key.clone() })
}

/// Every way but an extend link begins the count of extensions anew.
const fn set_expiry(key: &mut Key, at: Option<Time>, now: Time) {
    key.life.expires_at = at;
    key.expiry_set_at = now;
    key.extensions = 0;
}
