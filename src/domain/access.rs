//! What a key may do with the tenant's API: scopes and resources, and the cut down to its owner.
//!
//! A key never has more than its owner: what it was given is intersected with what the owner holds at the moment of verification.
//! A chosen list that becomes empty means none, never all.

use std::collections::BTreeSet;

use super::{
    ids::AccessRoleId,
    names::{Resource, ResourcePattern, Scopes},
};

/// How a key's scopes were chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAccess {
    /// *Same as mine*: whatever the owner's access roles hold.
    Owner,
    /// One access role, as it is at the moment.
    Role(AccessRoleId),
    /// Chosen scopes; the only way to hold a reserved one.
    Scopes(Scopes),
}

/// All resources, or chosen ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceSet {
    /// For a member: every resource of the tenant. For a key: all of its owner's.
    All,
    /// These and no others; empty means none.
    Chosen(BTreeSet<ResourcePattern>),
}

impl ResourceSet {
    /// Whether `resource` is in the set.
    pub fn covers(&self, resource: &Resource) -> bool {
        match self {
            Self::All => true,
            Self::Chosen(patterns) => patterns.iter().any(|pattern| pattern.covers(resource)),
        }
    }

    /// What is in both.
    #[must_use]
    pub fn cut_to(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, rest) | (rest, Self::All) => rest.clone(),
            (Self::Chosen(mine), Self::Chosen(theirs)) => {
                Self::Chosen(mine.iter().flat_map(|a| theirs.iter().filter_map(move |b| meet(a, b))).collect())
            }
        }
    }

    /// The patterns of a chosen set; `None` for all.
    pub fn chosen(&self) -> Option<&BTreeSet<ResourcePattern>> {
        match self {
            Self::All => None,
            Self::Chosen(patterns) => Some(patterns),
        }
    }
}

fn meet(a: &ResourcePattern, b: &ResourcePattern) -> Option<ResourcePattern> {
    match (a, b) {
        (ResourcePattern::Kind(x), ResourcePattern::Kind(y)) => (x == y).then(|| a.clone()),
        (ResourcePattern::One(one), pattern) | (pattern, ResourcePattern::One(one)) => pattern.covers(one).then(|| ResourcePattern::One(one.clone())),
    }
}

/// The scopes that a key has in effect: what it was given, cut to `owner` (the union of the owner's access roles).
/// `role` is the scopes of the key's access role where it has one. Reserved scopes belong to the key itself and stay.
pub fn effective_scopes(access: &KeyAccess, role: Option<&Scopes>, owner: &Scopes) -> Scopes {
    match access {
        KeyAccess::Owner => owner.iter().filter(|scope| !scope.is_reserved()).cloned().collect(),
        KeyAccess::Role(_) => role.into_iter().flatten().filter(|scope| !scope.is_reserved() && owner.contains(scope)).cloned().collect(),
        KeyAccess::Scopes(scopes) => scopes.iter().filter(|scope| scope.is_reserved() || owner.contains(scope)).cloned().collect(),
    }
}
