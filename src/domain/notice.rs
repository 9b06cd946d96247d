//! When a notice of a key's end is due. Digests leave at 06:00 UTC and take in what crosses before the next one.
//!
//! A key has at most one notice a digest: the nearest of those that are due. The caller says which stage the key was last told
//! of for this expiry, and only a later one is due; so a sweep may run twice, late, or after the settings changed.

use std::{fmt, str::FromStr};

use chrono::{Duration, NaiveTime};

use super::{
    key::{Life, Status},
    tenant::GraceHistory,
    time::{Time, date_time, days},
};

/// How late the notice of an expiry may still leave.
pub const LATEST: i64 = 90;

/// What a notice tells of, in the order in which a key meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It expires in so many days: one of the thresholds of the tenant.
    Before(u32),
    /// It has expired, and works until its grace ends.
    Expired,
    /// Its grace ends in two days.
    GraceEnds,
}

impl Stage {
    /// Grows towards the end of the key.
    const fn order(self) -> (u8, i64) {
        match self {
            Self::Before(days) => (0, -(days as i64)),
            Self::Expired => (1, 0),
            Self::GraceEnds => (2, 0),
        }
    }
}

impl Ord for Stage {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Stage {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Stage {
    /// The stored word: `before_14`, `expired`, `grace_ends`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(days) => write!(f, "before_{days}"),
            Self::Expired => f.write_str("expired"),
            Self::GraceEnds => f.write_str("grace_ends"),
        }
    }
}

/// A stored word that is no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no stage of a notice")]
pub struct NoStage(String);

impl FromStr for Stage {
    type Err = NoStage;

    fn from_str(word: &str) -> Result<Self, NoStage> {
        match word {
            "expired" => Ok(Self::Expired),
            "grace_ends" => Ok(Self::GraceEnds),
            _ => word.strip_prefix("before_").and_then(|days| days.parse().ok()).map(Self::Before).ok_or_else(|| NoStage(word.to_owned())),
        }
    }
}

/// The digest that `now` belongs to: the last 06:00 UTC.
pub fn digest(now: Time) -> Time {
    let at = NaiveTime::from_hms_opt(6, 0, 0).unwrap_or_default();
    let today = now.date_naive().and_time(at).and_utc();
    if today <= now { today } else { today - days(1) }
}

/// The digest after the one that `now` belongs to.
pub fn next_digest(now: Time) -> Time {
    digest(now) + days(1)
}

/// What decides whether a notice is due.
#[derive(Debug, Clone, Copy)]
pub struct Expiring<'a> {
    /// The key's end.
    pub life: Life,
    /// When this expiry was set, by an extend link, too.
    pub set_at: Time,
    /// The tenant's thresholds, in days before the expiry.
    pub thresholds: &'a [u32],
    /// The values that the tenant's grace has had.
    pub grace: &'a GraceHistory,
    /// The last stage that somebody was told of for this expiry.
    pub told: Option<Stage>,
}

/// The stage that belongs into the digest that leaves at `now`.
pub fn due(key: &Expiring<'_>, now: Time) -> Option<Stage> {
    let expires_at = key.life.expires_at?;
    // Revoked and disabled keys end for another reason; a key that came with its expiry behind it surprises nobody.
    if !matches!(key.life.status(now), Status::Active | Status::Expired) || expires_at <= key.set_at {
        return None;
    }
    let stage = if now < expires_at { nearest(key, expires_at, now)? } else { after(key, expires_at, now)? };
    key.told.is_none_or(|told| told < stage).then_some(stage)
}

/// The nearest threshold that is crossed before the next digest, among those that the key's time is long enough for.
fn nearest(key: &Expiring<'_>, expires_at: Time, now: Time) -> Option<Stage> {
    let crossed = |length: Duration| expires_at - length < next_digest(now);
    // With at most half of the time, a threshold lies after the moment when the expiry was set, too.
    let fits = |length: Duration| length * 2 <= expires_at - key.set_at;
    key.thresholds.iter().copied().filter(|count| crossed(days((*count).into())) && fits(days((*count).into()))).min().map(Stage::Before)
}

fn after(key: &Expiring<'_>, expires_at: Time, now: Time) -> Option<Stage> {
    let grace_ends = key.grace.end(expires_at, now);
    let is_long = grace_ends - expires_at >= days(3);
    if is_long && now < grace_ends && grace_ends - days(2) < next_digest(now) {
        return Some(Stage::GraceEnds);
    }
    (now < expires_at + days(LATEST)).then_some(Stage::Expired)
}

/// Whether a notice that was due may still leave: its key has the expiry that it tells of, and has not met its next moment.
/// `now` may be days later, where the mail could not be sent.
pub fn still_true(stage: Stage, of: Time, life: &Life, grace: &GraceHistory, now: Time) -> bool {
    let in_time = match stage {
        Stage::Before(_) => now < of,
        Stage::Expired => now < of + days(LATEST),
        Stage::GraceEnds => now < grace.end(of, now),
    };
    life.expires_at == Some(of) && matches!(life.status(now), Status::Active | Status::Expired) && in_time
}

/// What decides whether a link may extend a key, beside the link itself.
#[derive(Debug, Clone, Copy)]
pub struct Extendable<'a> {
    /// The key's end.
    pub life: Life,
    /// The expiry that the link was mailed for.
    pub of: Time,
    /// How often links extended the key since its expiry was last set otherwise.
    pub extensions: u32,
    /// How often they may.
    pub most: u32,
    /// Whether the key's owner is neither suspended nor removed.
    pub owner_active: bool,
    /// Whether the tenant's keys are on, and the tenant is not suspended.
    pub keys_on: bool,
    /// The values that the tenant's grace has had.
    pub grace: &'a GraceHistory,
}

/// Why a link does not extend, in words for the page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NoExtension {
    #[error("This key was revoked. That cannot be undone.")]
    Revoked,
    #[error("The expiry of this key has been changed since the mail was sent. {}", .0.map_or_else(|| "The key no longer expires.".to_owned(), |at| format!("It is now {}.", date_time(at))))]
    Changed(Option<Time>),
    #[error("This key is disabled, so it cannot be extended.")]
    Disabled,
    #[error("The grace of this key ended on {}. It can be rolled, not extended.", date_time(*.0))]
    GraceOver(Time),
    #[error("The owner of this key is suspended or removed, so it cannot be extended.")]
    OwnerInactive,
    #[error("API keys are turned off for this tenant, so no key can be extended.")]
    KeysOff,
    #[error("This key was extended by link as often as its tenant allows. It can still be renewed.")]
    Limit,
}

/// The expiry that a link leads to.
///
/// # Errors
/// Why it leads to none.
pub fn may_extend(key: &Extendable<'_>, now: Time) -> Result<Time, NoExtension> {
    if key.life.revoked_at.is_some() {
        return Err(NoExtension::Revoked);
    }
    let Some(expires_at) = key.life.expires_at.filter(|at| *at == key.of) else { return Err(NoExtension::Changed(key.life.expires_at)) };
    if key.life.disabled_at.is_some() {
        return Err(NoExtension::Disabled);
    }
    if now >= expires_at && key.life.is_past_grace(key.grace, now) {
        return Err(NoExtension::GraceOver(key.grace.end(expires_at, now)));
    }
    match key {
        Extendable { owner_active: false, .. } => Err(NoExtension::OwnerInactive),
        Extendable { keys_on: false, .. } => Err(NoExtension::KeysOff),
        _ if key.extensions >= key.most => Err(NoExtension::Limit),
        _ => Ok(extended(expires_at, now)),
    }
}

/// The expiry after an extend link was used: two weeks from the later of now and the expiry, the maximum aside.
pub fn extended(expires_at: Time, now: Time) -> Time {
    let from = expires_at.max(now);
    from.checked_add_signed(days(EXTENSION)).unwrap_or(from).min(super::time::last_moment())
}

/// By how many days a link extends.
pub const EXTENSION: i64 = 14;
