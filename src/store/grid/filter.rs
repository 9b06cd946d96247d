//! What the grid shows and in which order, as addresses say it.

use std::fmt;

use crate::{
    domain::ids::{AccessRoleId, MemberId},
    store::keys,
};

/// The status selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tab {
    /// Every status.
    #[default]
    All,
    /// Neither revoked, disabled nor expired.
    Active,
    /// The part of Active that expires within the largest notice.
    ExpiringSoon,
    /// Disabled and not revoked.
    Disabled,
    /// Expired, neither revoked nor disabled.
    Expired,
    /// Revoked.
    Revoked,
}

impl Tab {
    /// All of them with their word in addresses and the one that people read.
    pub const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::All, "", "All"),
        (Self::Active, "active", "Active"),
        (Self::ExpiringSoon, "expiring", "Expiring soon"),
        (Self::Disabled, "disabled", "Disabled"),
        (Self::Expired, "expired", "Expired"),
        (Self::Revoked, "revoked", "Revoked"),
    ];
}

/// The access that keys are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFilter {
    /// *Same as owner*.
    Owner,
    /// One access role.
    Role(AccessRoleId),
    /// Chosen scopes.
    Scopes,
}

/// The use that keys are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedFilter {
    /// Not in the last 30 days, or never.
    NotFor30Days,
    /// Never.
    Never,
}

/// What the grid shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Any part of name, ID, owner, comment or access role; one or two characters match beginnings.
    pub text: String,
    /// One owner.
    pub owner: Option<MemberId>,
    /// How the scopes were chosen.
    pub access: Option<AccessFilter>,
    /// When it was last used.
    pub used: Option<UsedFilter>,
    /// The status.
    pub tab: Tab,
}

impl Filter {
    /// Whether anything but the status narrows the grid.
    pub fn is_set(&self) -> bool {
        !self.folded().is_empty() || self.owner.is_some() || self.access.is_some() || self.used.is_some()
    }

    /// The text in small letters; a line break would reach from one field into the next.
    pub(super) fn folded(&self) -> String {
        let text: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.trim().to_lowercase()
    }

    /// What to look for in the search column, where two line breaks precede each field.
    pub(super) fn needle(&self) -> Option<String> {
        let text = self.folded();
        match text.chars().count() {
            0 => None,
            1 | 2 => Some(keys::as_searched(&format!("\n\n{text}"))),
            _ => Some(keys::as_searched(&text)),
        }
    }
}

/// What keys are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The name.
    Name,
    /// The owner's name.
    Owner,
    /// When it was created.
    #[default]
    Created,
    /// When it was last changed.
    Changed,
    /// When it expires; Never comes last.
    Expires,
    /// When it was last used; never comes last.
    LastUsed,
}

impl Sort {
    /// All of them with their word in addresses.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Name, "name"),
        (Self::Owner, "owner"),
        (Self::Created, "created"),
        (Self::Changed, "changed"),
        (Self::Expires, "expires"),
        (Self::LastUsed, "used"),
    ];

    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Name => "name_folded",
            Self::Owner => "owner_folded",
            Self::Created => "seq",
            Self::Changed => "changed_at",
            Self::Expires => "expires_at",
            Self::LastUsed => "last_used_at",
        }
    }

    pub(super) const fn index(self) -> &'static str {
        match self {
            Self::Name => "keys_by_name",
            Self::Owner => "keys_by_owner_name",
            Self::Created => "keys_by_seq",
            Self::Changed => "keys_by_changed",
            Self::Expires => "keys_by_expiry",
            Self::LastUsed => "keys_by_use",
        }
    }

    pub(super) const fn is_text(self) -> bool {
        matches!(self, Self::Name | Self::Owner)
    }

    pub(super) const fn may_be_empty(self) -> bool {
        matches!(self, Self::Expires | Self::LastUsed)
    }
}

/// An order; empty values come last whichever way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// What by.
    pub sort: Sort,
    /// Largest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { sort: Sort::Created, descending: true }
    }
}

/// The value of a row in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Empty,
    Number(i64),
    Text(String),
}

/// Where a page begins or ends: the place of a row in the order, and how many rows come before the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(super) forward: bool,
    pub(super) before: u64,
    pub(super) seq: i64,
    pub(super) value: Value,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.{}", if self.forward { 'n' } else { 'p' }, self.before, self.seq)?;
        match &self.value {
            Value::Empty => Ok(()),
            Value::Number(n) => write!(f, ".i{n}"),
            Value::Text(text) => write!(f, ".t{text}"),
        }
    }
}

impl Cursor {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let forward = match text.chars().next()? {
            'n' => true,
            'p' => false,
            _ => return None,
        };
        let mut parts = text.get(1..)?.splitn(3, '.');
        // No more than there can be keys, so that the rows of a page can be added to it.
        let before = parts.next()?.parse::<u64>().ok()?.min(i64::MAX.unsigned_abs());
        let seq = parts.next()?.parse().ok()?;
        let value = match parts.next() {
            None => Value::Empty,
            Some(rest) => match (rest.get(..1)?, rest.get(1..)?) {
                ("i", n) => Value::Number(n.parse().ok()?),
                ("t", text) => Value::Text(text.replace('\0', "")),
                _ => return None,
            },
        };
        Some(Self { forward, before, seq, value })
    }

    /// A place in the order of creation.
    pub(in crate::store) fn at_seq(forward: bool, before: u64, seq: i64) -> Self {
        Self { forward, before, seq, value: Value::Empty }
    }

    /// Whether a page begins here, rather than ends.
    pub(in crate::store) fn is_forward(&self) -> bool {
        self.forward
    }

    /// The number of the key at this place.
    pub(in crate::store) fn seq(&self) -> i64 {
        self.seq
    }

    /// How many keys come before the page.
    pub(in crate::store) fn before(&self) -> u64 {
        self.before
    }

    /// Whether the value is one of this sort: a place comes from an address, so it may be from another order.
    pub(super) fn fits(&self, sort: Sort) -> bool {
        match self.value {
            Value::Empty => sort == Sort::Created || sort.may_be_empty(),
            Value::Number(_) => !sort.is_text() && sort != Sort::Created,
            Value::Text(_) => sort.is_text(),
        }
    }
}
