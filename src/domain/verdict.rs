//! The one decision: (key, secret, owner, tenant, request, now) → verdict, with every rule passed or failed.
//!
//! Verification, the grid's words, Explain and notices all use it. It is pure, and decides by facts at `now`, never by a
//! remembered answer. An expired key still verifies until its grace ends, and an old secret until its overlap does.

use std::net::IpAddr;

use super::{
    access::ResourceSet,
    ip_range::IpRanges,
    key::Life,
    names::{Resource, Scope, Scopes},
    tenant::GraceHistory,
    time::Time,
};

/// The answer's code; the first rule that fails names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Malformed, unknown, deleted, wrong secret, another tenant's.
    NotFound,
    /// Keys are off, or the tenant is suspended.
    TenantDisabled,
    /// The owner is suspended or removed.
    OwnerInactive,
    /// Stopped for good.
    Revoked,
    /// Locked for a while.
    Disabled,
    /// A dead secret of this key.
    Rolled,
    /// Past the grace.
    Expired,
    /// Not from this address.
    IpDenied,
    /// Not this resource.
    ResourceDenied,
    /// A scope is missing.
    InsufficientScope,
    /// Accepted, but the key has expired or this is its old secret.
    ValidInGrace,
    /// Accepted.
    Valid,
}

impl Code {
    /// The code as the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::TenantDisabled => "tenant_disabled",
            Self::OwnerInactive => "owner_inactive",
            Self::Revoked => "revoked",
            Self::Disabled => "disabled",
            Self::Rolled => "rolled",
            Self::Expired => "expired",
            Self::IpDenied => "ip_denied",
            Self::ResourceDenied => "resource_denied",
            Self::InsufficientScope => "insufficient_scope",
            Self::ValidInGrace => "valid_in_grace",
            Self::Valid => "valid",
        }
    }

    /// Whether the request is let through.
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::Valid | Self::ValidInGrace)
    }
}

/// What is known of the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantFacts {
    /// *Enable API keys* is on.
    pub keys_enabled: bool,
    /// The installation owner suspended the tenant.
    pub suspended: bool,
    /// The values of *Grace after expiry*.
    pub grace: GraceHistory,
}

/// What is known of the key and its owner, with scopes and resources already cut to the owner's.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts<'a> {
    /// Expiry, disabled, revoked.
    pub life: Life,
    /// When the old secret stops, if there is one.
    pub old_stops_at: Option<Time>,
    /// The owner is neither suspended nor removed.
    pub owner_active: bool,
    /// Where the key may be used from.
    pub ip_ranges: &'a IpRanges,
    /// The scopes in effect.
    pub scopes: &'a Scopes,
    /// The resources in effect.
    pub resources: &'a ResourceSet,
}

/// Which secret of the key was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// The current one.
    Current,
    /// The one before it, whose overlap may still run.
    Old,
    /// One that is known to be dead.
    Dead,
}

/// What is asked besides the secret.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// All of these are required.
    pub scopes: &'a [Scope],
    /// Not checked when absent.
    pub resource: Option<&'a Resource>,
    /// The client's address, where it is known.
    pub ip: Option<IpAddr>,
}

/// Why an accepted request is on borrowed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// What ends first.
    pub reason: GraceReason,
    /// When it ends.
    pub until: Time,
}

/// Which of the two graces it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GraceReason {
    /// The key has expired.
    Expired,
    /// This is the old secret.
    Rolled,
}

impl GraceReason {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Rolled => "rolled",
        }
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The first rule that failed, or an acceptance.
    pub code: Code,
    /// What ends first, where the code is `valid_in_grace`.
    pub grace: Option<Grace>,
}

/// How a rule came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is met.
    Passed,
    /// It is met only because a grace or an overlap runs until then.
    PassedByGrace(Time),
    /// It is not met, and refuses the request.
    Failed,
}

/// The rules in the order in which they are tried; each but the first is named after the code that it refuses with.
pub const RULES: [Code; 9] = [
    Code::TenantDisabled,
    Code::OwnerInactive,
    Code::Revoked,
    Code::Disabled,
    Code::Rolled,
    Code::Expired,
    Code::IpDenied,
    Code::ResourceDenied,
    Code::InsufficientScope,
];

/// How one rule comes out.
pub fn rule(rule: Code, tenant: &TenantFacts, key: &KeyFacts<'_>, presented: Presented, request: &Request<'_>, now: Time) -> Outcome {
    let met = |met: bool| if met { Outcome::Passed } else { Outcome::Failed };
    match rule {
        Code::TenantDisabled => met(tenant.keys_enabled && !tenant.suspended),
        Code::OwnerInactive => met(key.owner_active),
        Code::Revoked => met(key.life.revoked_at.is_none()),
        Code::Disabled => met(key.life.disabled_at.is_none()),
        Code::Rolled => match (presented, key.old_stops_at) {
            (Presented::Current, _) => Outcome::Passed,
            (Presented::Old, Some(stops_at)) if stops_at > now => Outcome::PassedByGrace(stops_at),
            _ => Outcome::Failed,
        },
        Code::Expired => match key.life.expires_at {
            Some(end) if end <= now => {
                let until = tenant.grace.end(end, now);
                if until > now { Outcome::PassedByGrace(until) } else { Outcome::Failed }
            }
            _ => Outcome::Passed,
        },
        Code::IpDenied => met(key.ip_ranges.allow(request.ip)),
        Code::ResourceDenied => met(request.resource.is_none_or(|resource| key.resources.covers(resource))),
        Code::InsufficientScope => met(request.scopes.iter().all(|scope| key.scopes.contains(scope))),
        Code::NotFound | Code::Valid | Code::ValidInGrace => Outcome::Passed,
    }
}

/// Decides. A secret that matched nothing never gets here: that is [`Code::NotFound`].
pub fn decide(tenant: &TenantFacts, key: &KeyFacts<'_>, presented: Presented, request: &Request<'_>, now: Time) -> Verdict {
    let mut grace: Option<Grace> = None;
    for code in RULES {
        match rule(code, tenant, key, presented, request, now) {
            Outcome::Passed => {}
            Outcome::Failed => return Verdict { code, grace: None },
            Outcome::PassedByGrace(until) => {
                let reason = if code == Code::Rolled { GraceReason::Rolled } else { GraceReason::Expired };
                let ends_first = grace.is_none_or(|first| until <= first.until);
                if ends_first {
                    grace = Some(Grace { reason, until });
                }
            }
        }
    }
    Verdict { code: if grace.is_some() { Code::ValidInGrace } else { Code::Valid }, grace }
}
