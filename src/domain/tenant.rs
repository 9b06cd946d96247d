//! A tenant's settings: their defaults and bounds.

use chrono::Duration;

use super::{
    lifetime::Lifetime,
    time::{Time, days},
};

/// Which older secret stays when a key is rolled again inside an overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The earlier roll is undone: the secret before it stays.
    Original,
    /// The secret that is current now stays.
    Latest,
    /// Both stop now.
    None,
}

/// What a tenant does where a roll inside an overlap does not say which secret stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepRule {
    /// The original while the latest was never used, else the latest.
    #[default]
    InUse,
    /// Always the original.
    Original,
    /// Always the latest.
    Latest,
    /// Always none.
    None,
}

/// The actions that ask for a TOTP code beyond roll, which always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct CodeActions {
    /// Create and renew.
    pub create_and_renew: bool,
    /// Enable.
    pub enable: bool,
    /// Turning *Enable API keys* on.
    pub turn_on: bool,
}

/// What a tenant admin may set. Unset fields of a stored row take their default.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// *Enable API keys*: while off every key of the tenant answers `tenant_disabled`.
    pub keys_enabled: bool,
    /// What the create form preselects; `None` is Never.
    pub default_lifetime: Option<Lifetime>,
    /// *Maximum lifetime* in days for expiries set from now on; `None` is no maximum.
    pub maximum_days: Option<u32>,
    /// *Maximum keys per member*, 1 to 1000, of keys that are neither revoked nor deleted.
    pub keys_per_member: u32,
    /// *Grace after expiry* in days, 0 to 90.
    pub grace_days: u32,
    /// *Longest overlap after a roll* in days, 0 to 90; 0 means that the old secret always stops at once.
    pub overlap_days: u32,
    /// *Rolling again keeps*.
    pub rolling_again_keeps: KeepRule,
    /// Tenant admins manage every member's keys.
    pub admins_manage_all: bool,
    /// Tenant admins see every member's keys; off turns `admins_manage_all` off.
    pub admins_see_all: bool,
    /// Tenant admins may delete other members' keys.
    pub admins_delete: bool,
    /// Every member needs TOTP at the next sign-in.
    pub require_totp: bool,
    /// What asks for a TOTP code besides roll.
    pub code_actions: CodeActions,
    /// *Expiry notices*: days before, up to 5 distinct numbers of 1 to 180, largest first.
    pub notice_days: Vec<u32>,
    /// *Extensions by link* per key, 0 to 100.
    pub extensions: u32,
    /// Days that the access log, the usage counters and the events are kept.
    pub retention: Retention,
}

/// How many days logs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Retention {
    /// The access log.
    pub access_log: u32,
    /// Usage counters.
    pub usage: u32,
    /// Events.
    pub events: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys_enabled: false,
            default_lifetime: None,
            maximum_days: None,
            keys_per_member: 5,
            grace_days: 14,
            overlap_days: 14,
            rolling_again_keeps: KeepRule::InUse,
            admins_manage_all: false,
            admins_see_all: true,
            admins_delete: true,
            require_totp: false,
            code_actions: CodeActions::default(),
            notice_days: vec![14, 7, 1],
            extensions: 3,
            retention: Retention { access_log: 30, usage: 400, events: 400 },
        }
    }
}

impl Settings {
    /// How long before its expiry a key counts as *Expiring soon*: the largest notice, 14 days if there is none.
    pub fn expiring_soon(&self) -> Duration {
        days(self.notice_days.iter().max().copied().unwrap_or(14).into())
    }
}

/// The values that *Grace after expiry* has had, oldest first: a key's grace is the smallest since it expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraceHistory(Vec<(Time, u32)>);

impl GraceHistory {
    /// Takes `(from, days)` in any order. An empty history means no grace.
    pub fn new(mut values: Vec<(Time, u32)>) -> Self {
        values.sort_unstable();
        Self(values)
    }

    /// When the grace of an expiry ends, as known at `now`. Lowering the setting cuts at once, raising it revives nothing;
    /// before the expiry the value of `now` is what will count.
    pub fn end(&self, expires_at: Time, now: Time) -> Time {
        let since = expires_at.min(now);
        let at_start = self.0.iter().rev().find(|(from, _)| *from <= since).or(self.0.first());
        let later = self.0.iter().filter(|(from, _)| *from > since && *from <= now);
        let smallest = at_start.into_iter().chain(later).map(|(_, days)| *days).min().unwrap_or(0);
        expires_at.checked_add_signed(days(smallest.into())).unwrap_or(expires_at)
    }
}
