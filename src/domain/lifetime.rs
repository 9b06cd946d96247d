//! How long a key lives: choices, the tenant's maximum, renew.
//!
//! Months are calendar months; against the maximum a month counts 30 days and a year 365. A chosen date ends with its day in
//! the member's time zone, and its lifetime is kept as days from now, rounded up.

use std::{fmt, str::FromStr};

use chrono::{Months, NaiveDate, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::time::{Time, date, days, last_moment};

/// A span of calendar months or of days; *Never* is an `Option` without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Lifetime {
    /// Calendar months.
    Months(u32),
    /// Days of 24 hours.
    Days(u32),
}

impl Lifetime {
    /// What it counts against the tenant's maximum, in days.
    pub const fn counted_days(self) -> u32 {
        match self {
            Self::Months(months) => (months / 12).saturating_mul(365).saturating_add((months % 12) * 30),
            Self::Days(days) => days,
        }
    }

    /// The moment that lies this far after `start`; `None` past the end of time.
    pub fn after(self, start: Time) -> Option<Time> {
        match self {
            Self::Months(months) => start.checked_add_months(Months::new(months)),
            Self::Days(count) => start.checked_add_signed(days(count.into())),
        }
    }
}

impl fmt::Display for Lifetime {
    /// ISO 8601: `P3M`, `P90D`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Months(months) => write!(f, "P{months}M"),
            Self::Days(days) => write!(f, "P{days}D"),
        }
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        let digits = text.strip_prefix('P').and_then(|rest| rest.get(..rest.len().checked_sub(1)?)).unwrap_or_default();
        if digits.len() > 7 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(LifetimeError::Unreadable);
        }
        match (digits.parse::<u32>().ok().filter(|n| *n > 0), text.as_bytes().last()) {
            (Some(n), Some(b'M')) => Ok(Self::Months(n)),
            (Some(n), Some(b'Y')) => Ok(Self::Months(n * 12)),
            (Some(n), Some(b'D')) => Ok(Self::Days(n)),
            _ => Err(LifetimeError::Unreadable),
        }
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> Self {
        lifetime.to_string()
    }
}

impl TryFrom<String> for Lifetime {
    type Error = LifetimeError;

    fn try_from(text: String) -> Result<Self, LifetimeError> {
        text.parse()
    }
}

/// A lifetime in words: `1 year`, `3 months`, `90 days`, `never expires`.
pub fn words(lifetime: Option<Lifetime>) -> String {
    let counted = |n: u32, unit: &str| if n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") };
    match lifetime {
        None => "never expires".into(),
        Some(Lifetime::Months(m)) if m % 12 == 0 => counted(m / 12, "year"),
        Some(Lifetime::Months(m)) => counted(m, "month"),
        Some(Lifetime::Days(d)) => counted(d, "day"),
    }
}

/// Why an expiry was refused, in words for its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum LifetimeError {
    #[error("Write a lifetime as P3M, P1Y or P90D, or null for never.")]
    Unreadable,
    #[error("Enter {0} days or fewer, the maximum of this tenant.")]
    OverMaximum(u32),
    #[error("This tenant has a maximum lifetime of {0} days, so a key needs an expiry.")]
    NeverNotAllowed(u32),
    #[error("Choose a moment in the future.")]
    Past,
    #[error("Choose a date before the year 10000.")]
    TooFar,
    #[error("Choose a date no later than {}. Only Renew and Roll move an expiry away.", date(*.0))]
    NotNearer(Time),
}

/// What a person or a program chose as expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// No expiry.
    Never,
    /// A lifetime from now.
    For(Lifetime),
    /// The end of a day in the member's time zone.
    EndOf(NaiveDate, Tz),
    /// An instant.
    At(Time),
}

/// An expiry with the lifetime to keep as the original one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// The moment; `None` is never.
    pub at: Option<Time>,
    /// What renew starts again.
    pub lifetime: Option<Lifetime>,
}

/// Turns a choice into an expiry that the tenant allows.
///
/// # Errors
/// Over the maximum, in the past, after 9999, or never where a maximum is set.
pub fn decide(choice: Choice, maximum_days: Option<u32>, now: Time) -> Result<Expiry, LifetimeError> {
    let (at, lifetime) = match choice {
        Choice::Never => {
            return maximum_days.map_or(Ok(Expiry { at: None, lifetime: None }), |max| Err(LifetimeError::NeverNotAllowed(max)));
        }
        Choice::For(lifetime) => {
            if let Some(max) = maximum_days.filter(|max| lifetime.counted_days() > *max) {
                return Err(LifetimeError::OverMaximum(max));
            }
            (lifetime.after(now).ok_or(LifetimeError::TooFar)?, lifetime)
        }
        Choice::EndOf(day, zone) => {
            let at = end_of_day(day, zone).ok_or(LifetimeError::TooFar)?;
            let lifetime = in_days(at, now)?;
            // The last allowed day may be chosen although its end lies some hours past the maximum.
            if let Some(max) = maximum_days.filter(|max| now.checked_add_signed(days(i64::from(*max) + 1)).is_some_and(|end| at >= end)) {
                return Err(LifetimeError::OverMaximum(max));
            }
            match maximum_days {
                Some(max) if lifetime.counted_days() > max => {
                    let end = now.checked_add_signed(days(max.into())).ok_or(LifetimeError::TooFar)?;
                    (at.min(end), Lifetime::Days(max))
                }
                _ => (at, lifetime),
            }
        }
        Choice::At(at) => {
            let lifetime = in_days(at, now)?;
            if let Some(max) = maximum_days.filter(|max| now.checked_add_signed(days((*max).into())).is_some_and(|end| at > end)) {
                return Err(LifetimeError::OverMaximum(max));
            }
            (at, lifetime)
        }
    };
    if at > last_moment() {
        return Err(LifetimeError::TooFar);
    }
    Ok(Expiry { at: Some(at), lifetime: Some(lifetime) })
}

/// The choice of Edit: an expiry may be set where there is none, or moved nearer, never away.
///
/// # Errors
/// As [`decide`], and where the new expiry is later than the present one.
pub fn edit(present: Option<Time>, choice: Choice, maximum_days: Option<u32>, now: Time) -> Result<Expiry, LifetimeError> {
    let expiry = decide(choice, maximum_days, now);
    match (present, expiry) {
        (Some(present), Ok(Expiry { at: None, .. })) => Err(LifetimeError::NotNearer(present)),
        (Some(present), Ok(Expiry { at: Some(at), .. })) if at > present => Err(LifetimeError::NotNearer(present)),
        (_, Ok(Expiry { at: Some(at), .. })) => Ok(Expiry { at: Some(at), lifetime: Some(in_days(at, now)?) }),
        (_, other) => other,
    }
}

/// The expiry after Renew: now + the original lifetime, no further than the maximum, never nearer than it is.
pub fn renewed(present: Time, lifetime: Lifetime, maximum_days: Option<u32>, now: Time) -> Time {
    let full = lifetime.after(now).unwrap_or_else(last_moment).min(last_moment());
    let bound = maximum_days.and_then(|max| now.checked_add_signed(days(max.into()))).unwrap_or(full);
    full.min(bound).max(present)
}

/// What the create form preselects: the smaller of the tenant's default and its maximum.
pub fn preselected(default: Option<Lifetime>, maximum_days: Option<u32>) -> Option<Lifetime> {
    match (default, maximum_days) {
        (default, None) => default,
        (Some(default), Some(max)) if default.counted_days() <= max => Some(default),
        (_, Some(max)) => Some(Lifetime::Days(max)),
    }
}

/// The days from `now` to `at`, rounded up.
fn in_days(at: Time, now: Time) -> Result<Lifetime, LifetimeError> {
    if at <= now {
        return Err(LifetimeError::Past);
    }
    let whole = (at - now).num_seconds();
    let rounded_up = whole / 86_400 + i64::from(whole % 86_400 > 0 || (at - now).subsec_nanos() > 0);
    u32::try_from(rounded_up.max(1)).map(Lifetime::Days).map_err(|_| LifetimeError::TooFar)
}

/// The first moment after `day` in `zone`.
fn end_of_day(day: NaiveDate, zone: Tz) -> Option<Time> {
    let next = day.succ_opt()?;
    // Where a clock change skips midnight, the day ends with the first moment that exists.
    (0..24).find_map(|hour| zone.from_local_datetime(&next.and_hms_opt(hour, 0, 0)?).earliest()).map(|at| at.with_timezone(&Utc))
}
