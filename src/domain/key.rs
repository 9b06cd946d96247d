//! A key: its facts, and its status at a moment. Statuses are worked out from the times and never stored.

use super::{
    access::{KeyAccess, ResourceSet},
    ids::{KeyId, MemberId, TenantId},
    ip_range::IpRanges,
    lifetime::Lifetime,
    names::{EmailAddress, KeyName},
    tenant::GraceHistory,
    time::Time,
};

/// A key as the console and the API know it; nothing of a secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The public name of the key.
    pub id: KeyId,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// Its place in the order of creation.
    pub seq: i64,
    /// The member whose key it is.
    pub owner: MemberId,
    /// 1 to 100 characters.
    pub name: KeyName,
    /// 0 to 500 characters.
    pub comment: String,
    /// How its scopes were chosen.
    pub access: KeyAccess,
    /// All of its owner's resources, or chosen ones.
    pub resources: ResourceSet,
    /// Where it may be used from; empty means anywhere.
    pub ip_ranges: IpRanges,
    /// Who gets expiry notices besides the owner, at most 5.
    pub notice_recipients: Vec<EmailAddress>,
    /// When it was made.
    pub created_at: Time,
    /// Moves with every change but use.
    pub changed_at: Time,
    /// When and how its life ends.
    pub life: Life,
    /// What renew starts again; `None` is never.
    pub lifetime: Option<Lifetime>,
    /// When the expiry was last set by anything but an extend link.
    pub expiry_set_at: Time,
    /// How often a link extended it since then.
    pub extensions: u32,
    /// The secret that is current.
    pub current: SecretFacts,
    /// The older secret, while it works and after.
    pub old: Option<OldSecret>,
    /// Who disabled it, while it is disabled.
    pub disabled_by: Option<Actor>,
    /// The reason that was given for disabling, while it is disabled.
    pub disable_reason: String,
    /// Who revoked it, and why.
    pub revoked_by: Option<Actor>,
    /// The reason that was given for revoking.
    pub revoke_reason: String,
    /// The last use that was written down.
    pub last_used: Option<Use>,
    /// Moves with every change; a form that saw an older one is asked again.
    pub version: i64,
}

/// Who did something, as told to people: the name stays readable when the member is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The member, where it was one of this tenant.
    pub member: Option<MemberId>,
    /// The name at that moment.
    pub name: String,
}

/// A use of a key or secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// When.
    pub at: Time,
    /// The client's address, where it was known.
    pub ip: Option<String>,
}

/// What is known of a secret without knowing the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFacts {
    /// When it was made.
    pub made_at: Time,
    /// Who made it.
    pub made_by: String,
    /// Its last use.
    pub last_used: Option<Use>,
}

/// A secret that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSecret {
    /// The secret.
    pub secret: SecretFacts,
    /// When it was first replaced.
    pub replaced_at: Time,
    /// The key's expiry when it was replaced.
    pub own_expiry: Option<Time>,
    /// When it stops working.
    pub stops_at: Time,
}

/// The facts that decide whether a key lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Life {
    /// When it expires; `None` is never.
    pub expires_at: Option<Time>,
    /// When it was disabled, while it is.
    pub disabled_at: Option<Time>,
    /// When it was revoked, for good.
    pub revoked_at: Option<Time>,
}

/// The status of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It has not expired and nobody stopped it.
    Active,
    /// Its expiry has passed.
    Expired,
    /// Locked for a while.
    Disabled,
    /// Stopped for good.
    Revoked,
}

impl Status {
    /// The word that people read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Expired => "Expired",
            Self::Disabled => "Disabled",
            Self::Revoked => "Revoked",
        }
    }

    /// The word of the API.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

impl Life {
    /// Revoked, else Disabled, else Expired, else Active.
    pub fn status(&self, now: Time) -> Status {
        match self.expires_at {
            _ if self.revoked_at.is_some() => Status::Revoked,
            _ if self.disabled_at.is_some() => Status::Disabled,
            Some(end) if end <= now => Status::Expired,
            _ => Status::Active,
        }
    }

    /// When the key stops working by its expiry and the grace after it; `None` is never.
    pub fn works_until(&self, grace: &GraceHistory, now: Time) -> Option<Time> {
        self.expires_at.map(|end| grace.end(end, now))
    }

    /// Whether the grace after its expiry is over.
    pub fn is_past_grace(&self, grace: &GraceHistory, now: Time) -> bool {
        self.works_until(grace, now).is_some_and(|end| end <= now)
    }
}

impl Key {
    /// The old secret, while it works in the overlap.
    pub fn overlap(&self, now: Time) -> Option<&OldSecret> {
        self.old.as_ref().filter(|old| old.stops_at > now)
    }
}
