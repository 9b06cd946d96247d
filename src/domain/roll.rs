//! Rolling a key: when the old secret stops, and which one stays when a key is rolled again inside an overlap.
//!
//! The old secret stops no later than the earliest of now + the tenant's longest overlap, the old secret's own expiry (the key's
//! when that secret was replaced) + grace, and the end of the key's own grace. The moment is fixed at the roll. At most two
//! secrets of a key ever work, and one that stopped never works again.

use super::{
    key::{Key, Status},
    lifetime::{Choice, Expiry, LifetimeError, decide},
    tenant::{GraceHistory, Keep, KeepRule, Settings},
    time::{Time, date_time, days},
};

/// When the old secret should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At once.
    Now,
    /// At once because it leaked: both older secrets stop.
    Compromised,
    /// So many seconds from now.
    After(i64),
    /// At this moment.
    At(Time),
    /// As late as the rules allow; the API's default.
    Longest,
}

/// What a roll asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// When the old secret stops.
    pub stop: Stop,
    /// The new expiry; `None` keeps the present one.
    pub expiry: Option<Choice>,
    /// Which older secret stays, where an overlap runs; absent: the tenant's rule.
    pub keep: Option<Keep>,
}

/// Which secret is the old one after a roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// None: only the new secret works.
    None,
    /// The secret that was current, until then.
    Current(Time),
    /// The secret that was already old, until then; the one that was current stops now.
    Old(Time),
}

/// What a roll does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Which older secret works on, and until when.
    pub stays: Stays,
    /// The new expiry; `None` keeps the present one.
    pub expiry: Option<Expiry>,
}

/// Why a roll was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum RollError {
    #[error("This key was revoked and can't be rolled.")]
    Revoked,
    #[error("This key has expired, so its expiry can't be kept. Choose a new one.")]
    Expired,
    #[error("Choose a moment in the future.")]
    StopPast,
    #[error("Choose {} or earlier: {}.", date_time(.0.at), .0.why.words())]
    StopTooLate(Bound),
    #[error("The old secret can't work any longer: {}. Let it stop now.", .0.words())]
    NoOverlap(BoundReason),
    #[error(transparent)]
    Expiry(#[from] LifetimeError),
}

/// The last moment that an old secret may stop at, and the rule that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The moment.
    pub at: Time,
    /// The rule.
    pub why: BoundReason,
}

/// The rule that bounds an overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BoundReason {
    /// The tenant's longest overlap.
    LongestOverlap,
    /// The old secret's own expiry and the grace after it.
    OwnExpiry,
    /// The end of the key's grace.
    KeyGrace,
    /// Twice the longest overlap since the secret was first replaced.
    TwiceLongest,
}

impl BoundReason {
    /// The rule in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::LongestOverlap => "the longest overlap of this tenant ends then",
            Self::OwnExpiry => "the grace after the old secret’s own expiry ends then",
            Self::KeyGrace => "the grace after the key’s expiry ends then",
            Self::TwiceLongest => "twice the longest overlap since it was first replaced ends then",
        }
    }
}

/// Which older secret stays when nobody chose: the tenant's rule, where *the secret in use* is the original while the latest
/// was never used, else the latest. `None` where no overlap runs.
pub fn keep_by_rule(key: &Key, rule: KeepRule, now: Time) -> Option<Keep> {
    key.overlap(now)?;
    Some(match rule {
        KeepRule::InUse if key.current.last_used.is_none() => Keep::Original,
        KeepRule::InUse | KeepRule::Latest => Keep::Latest,
        KeepRule::Original => Keep::Original,
        KeepRule::None => Keep::None,
    })
}

/// The last moment that the older secret which stays may work until. `expires_at` is the key's expiry after the roll.
pub fn bound(key: &Key, keep: Option<Keep>, expires_at: Option<Time>, settings: &Settings, grace: &GraceHistory, now: Time) -> Bound {
    let overlap = days(settings.overlap_days.into());
    let mut bounds = vec![Bound { at: now + overlap, why: BoundReason::LongestOverlap }];
    let own_expiry = match (keep, key.overlap(now)) {
        (Some(Keep::Original), Some(old)) => {
            bounds.push(Bound { at: old.replaced_at + overlap + overlap, why: BoundReason::TwiceLongest });
            // Past the grace every secret has stopped, though an overlap seems to run: a new expiry must not bring one back.
            bounds.extend(key.life.works_until(grace, now).filter(|end| *end <= now).map(|at| Bound { at, why: BoundReason::KeyGrace }));
            old.own_expiry
        }
        _ => key.life.expires_at,
    };
    bounds.extend(own_expiry.map(|end| Bound { at: grace.end(end, now), why: BoundReason::OwnExpiry }));
    bounds.extend(expires_at.map(|end| Bound { at: grace.end(end, now), why: BoundReason::KeyGrace }));
    bounds.into_iter().min_by_key(|bound| (bound.at, bound.why)).unwrap_or(Bound { at: now, why: BoundReason::LongestOverlap })
}

/// Decides a roll.
///
/// # Errors
/// A revoked key, an expired one whose expiry should stay, an expiry or a moment that the rules do not allow.
pub fn roll(key: &Key, request: &Request, settings: &Settings, grace: &GraceHistory, now: Time) -> Result<Outcome, RollError> {
    let status = key.life.status(now);
    if status == Status::Revoked {
        return Err(RollError::Revoked);
    }
    let expiry = match request.expiry {
        None if key.life.expires_at.is_some_and(|end| end <= now) => return Err(RollError::Expired),
        None => None,
        Some(choice) => Some(decide(choice, settings.maximum_days, now)?),
    };
    let expires_at = expiry.map_or(key.life.expires_at, |expiry| expiry.at);
    let keep = key.overlap(now).and(request.keep.or_else(|| keep_by_rule(key, settings.rolling_again_keeps, now)));
    if keep == Some(Keep::None) || matches!(request.stop, Stop::Compromised) {
        return Ok(Outcome { stays: Stays::None, expiry });
    }
    let bound = bound(key, keep, expires_at, settings, grace, now);
    let stops_at = match request.stop {
        Stop::Now | Stop::Compromised => now,
        Stop::Longest => bound.at,
        Stop::After(seconds) => {
            stop_at(now.checked_add_signed(chrono::Duration::try_seconds(seconds).unwrap_or_default()).unwrap_or(now), bound, now)?
        }
        Stop::At(at) => stop_at(at, bound, now)?,
    };
    let stays = match keep {
        _ if stops_at <= now => Stays::None,
        Some(Keep::Original) => Stays::Old(stops_at),
        _ => Stays::Current(stops_at),
    };
    Ok(Outcome { stays, expiry })
}

fn stop_at(at: Time, bound: Bound, now: Time) -> Result<Time, RollError> {
    if at < now {
        Err(RollError::StopPast)
    } else if at > bound.at && bound.at <= now {
        Err(RollError::NoOverlap(bound.why))
    } else if at > bound.at {
        Err(RollError::StopTooLate(bound))
    } else {
        Ok(at)
    }
}
