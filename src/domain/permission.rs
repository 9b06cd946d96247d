//! Who may do what in the console. Nobody grants a permission that they do not hold.

use super::tenant::Settings;

/// A console permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Permission {
    /// See every key of the tenant, in lists, search, export, charts and events.
    KeysReadAny,
    /// Create and manage own keys, and those of service accounts one keeps.
    KeysManageOwn,
    /// Create and manage every member's keys.
    KeysManageAny,
    /// Disable, finish, revoke and delete any member's key.
    KeysRevokeAny,
    /// Invite, suspend and remove members, assign roles, make service accounts.
    MembersManage,
    /// Scopes, access roles and resources, and giving them to members.
    AccessManage,
    /// Tenant settings, custom console roles, gateway credentials, the Mail page.
    SettingsManage,
    /// Events and access log of all.
    EventsRead,
}

use Permission as P;

impl Permission {
    /// Every permission with its name, as it is stored and shown.
    pub const ALL: [(Self, &'static str); 8] = [
        (P::KeysReadAny, "keys.read_any"),
        (P::KeysManageOwn, "keys.manage_own"),
        (P::KeysManageAny, "keys.manage_any"),
        (P::KeysRevokeAny, "keys.revoke_any"),
        (P::MembersManage, "members.manage"),
        (P::AccessManage, "access.manage"),
        (P::SettingsManage, "settings.manage"),
        (P::EventsRead, "events.read"),
    ];

    /// What it includes besides itself.
    const fn includes(self) -> &'static [Self] {
        match self {
            P::KeysManageAny => &[P::KeysManageOwn, P::KeysRevokeAny, P::KeysReadAny],
            P::KeysRevokeAny => &[P::KeysReadAny],
            _ => &[],
        }
    }
}

/// A set of permissions, closed under what each includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u16);

impl Permissions {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// The set of `list` and what they include.
    pub fn of(list: &[Permission]) -> Self {
        list.iter().fold(Self::NONE, |set, p| p.includes().iter().chain([p]).fold(set, |set, p| Self(set.0 | 1 << (*p as u16))))
    }

    /// Reads names separated by spaces; unknown ones are passed over.
    pub fn parse(names: &str) -> Self {
        names.split(' ').filter_map(|name| P::ALL.iter().find(|(_, n)| *n == name)).fold(Self::NONE, |set, (p, _)| set.and(Self::of(&[*p])))
    }

    /// The names, separated by spaces.
    pub fn names(self) -> String {
        P::ALL.iter().filter(|(p, _)| self.has(*p)).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
    }

    /// Both sets together: permissions of several roles add up.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `permission` is in the set.
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & (1 << (permission as u16)) != 0
    }

    /// Whether all of `other` is in the set.
    pub const fn has_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A console role that every tenant has from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// Looks after the tenant.
    TenantAdmin,
    /// Makes own keys.
    Developer,
    /// Reads.
    Auditor,
}

impl BuiltIn {
    /// All three with their stored name and the name that people read.
    pub const ALL: [(Self, &'static str, &'static str); 3] =
        [(Self::TenantAdmin, "tenant_admin", "Tenant admin"), (Self::Developer, "developer", "Developer"), (Self::Auditor, "auditor", "Auditor")];

    /// What it opens under the tenant's settings.
    pub fn permissions(self, settings: &Settings) -> Permissions {
        match self {
            Self::Developer => Permissions::of(&[P::KeysManageOwn]),
            Self::Auditor => Permissions::of(&[P::KeysReadAny, P::EventsRead]),
            Self::TenantAdmin => {
                let mut set = Permissions::of(&[P::MembersManage, P::AccessManage, P::SettingsManage, P::EventsRead]);
                if settings.admins_see_all {
                    set = set.and(Permissions::of(&[P::KeysRevokeAny]));
                    if settings.admins_manage_all {
                        set = set.and(Permissions::of(&[P::KeysManageAny]));
                    }
                }
                set
            }
        }
    }
}
