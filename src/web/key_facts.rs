//! A key with what its pages tell of it, and what the member who looks at it may do with it.

use std::collections::{HashMap, hash_map::Entry};

use super::{error::WebError, session::Member};
use crate::{
    domain::{
        access::{KeyAccess, ResourceSet},
        change,
        ids::{KeyId, MemberId},
        key::{Key, Use},
        lifetime,
        permission::{Permission, Permissions},
        tenant::GraceHistory,
        time::{Time, ago, date, date_time, left},
    },
    store::{
        Db, StoreError, access, keys,
        members::{self, Acting, Owner, Reach},
        tenants::Tenant,
    },
};

/// A key with what its pages tell of it.
#[derive(Debug, Clone)]
pub struct KeyFacts {
    /// The key.
    pub key: Key,
    /// Its owner.
    pub owner: Owner,
    /// The console permissions of its owner; read only for a management key.
    pub owner_permissions: Permissions,
    /// The name of its access role, where it has one.
    pub role_name: Option<String>,
}

/// The key that an address names, if the member may see it.
///
/// # Errors
/// 404 where there is none, or it is out of reach.
pub async fn find(member: &Member, id: &str) -> Result<KeyFacts, WebError> {
    let id = KeyId::parse(id).ok_or(WebError::NotFound)?;
    let tenant = member.acting.tenant.clone();
    let found: Result<_, StoreError> = member.read(move |db, reach| load(db, reach, &tenant, id)).await;
    found?.ok_or(WebError::NotFound)
}

/// Reads a key with what its pages tell of it.
///
/// # Errors
/// The database is away.
pub fn load(db: &mut Db, reach: &Reach, tenant: &Tenant, id: KeyId) -> Result<Option<KeyFacts>, StoreError> {
    let Some(key) = keys::find(db, reach, id)? else { return Ok(None) };
    let Some(owner) = members::find(db, tenant.id, key.owner)? else { return Ok(None) };
    let owner_permissions = if is_management(&key) { members::permissions(db, tenant, owner.id)?.0 } else { Permissions::NONE };
    let role_name = match key.access {
        KeyAccess::Role(role) => access::role(db, tenant.id, role)?.map(|role| role.name),
        _ => None,
    };
    Ok(Some(KeyFacts { key, owner, owner_permissions, role_name }))
}

/// The console permissions of the owners of those of the keys that are management keys.
///
/// # Errors
/// The database is away.
pub fn owners_permissions(db: &mut Db, tenant: &Tenant, keys: &[Key]) -> Result<HashMap<MemberId, Permissions>, StoreError> {
    let mut found = HashMap::new();
    for key in keys.iter().filter(|key| is_management(key)) {
        if let Entry::Vacant(unknown) = found.entry(key.owner) {
            unknown.insert(members::permissions(db, tenant, key.owner)?.0);
        }
    }
    Ok(found)
}

/// Whether the key has reserved scopes.
pub fn is_management(key: &Key) -> bool {
    matches!(&key.access, KeyAccess::Scopes(scopes) if scopes.iter().any(crate::domain::names::Scope::is_reserved))
}

/// What the member may do with a key as it is now; what they may not is not drawn.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Allowed {
    /// Edit.
    pub edit: bool,
    /// Roll.
    pub roll: bool,
    /// Renew.
    pub renew: bool,
    /// Disable.
    pub disable: bool,
    /// Enable.
    pub enable: bool,
    /// Finish a running overlap.
    pub finish: bool,
    /// Revoke.
    pub revoke: bool,
    /// Delete.
    pub delete: bool,
    /// Hand over to another owner.
    pub hand_over: bool,
}

impl Allowed {
    /// What the member may do with a key; `owner_permissions` are the console permissions of its owner, and count for a management
    /// key only.
    pub fn of(key: &Key, owner_permissions: Permissions, acting: &Acting, now: Time) -> Self {
        let tenant = &acting.tenant;
        if tenant.suspended_at.is_some() {
            return Self::default();
        }
        let climbs = is_management(key) && !acting.permissions.has_all(owner_permissions);
        let manage = acting.may_manage(key.owner);
        let stop = acting.may_stop(key.owner);
        let revoke_any = acting.may(Permission::KeysRevokeAny);
        let policy = tenant.policy();
        let open = change::may_change(key).is_ok();
        Self {
            edit: manage && open && !climbs,
            roll: manage && open && !climbs && policy.keys_on().is_ok(),
            renew: manage && change::may_renew(key, &policy, now).is_ok(),
            disable: stop && change::may_disable(key).is_ok(),
            enable: !climbs && acting.may_enable(key) && change::may_enable(key, &policy).is_ok(),
            finish: (manage || revoke_any) && change::may_finish(key, now).is_ok(),
            revoke: stop && open,
            delete: acting.may_delete(key.owner),
            hand_over: open && acting.may(Permission::MembersManage),
        }
    }
}

impl KeyFacts {
    /// What the member may do with it.
    pub fn allowed(&self, acting: &Acting, now: Time) -> Allowed {
        Allowed::of(&self.key, self.owner_permissions, acting, now)
    }

    /// The address of one of its pages: `""` for the key page, `"/roll"`.
    pub fn url(&self, member: &Member, end: &str) -> String {
        member.url(&format!("/keys/{}{end}", self.key.id))
    }

    /// Whether the key is the member's own.
    pub fn is_own(&self, acting: &Acting) -> bool {
        self.owner.id == acting.id
    }

    /// How its scopes were chosen, in words.
    pub fn access_words(&self, acting: &Acting) -> String {
        match &self.key.access {
            KeyAccess::Owner if self.is_own(acting) => "Same as mine".into(),
            KeyAccess::Owner => "Same as owner".into(),
            KeyAccess::Role(_) => self.role_name.clone().unwrap_or_else(|| "An access role that is gone".into()),
            KeyAccess::Scopes(scopes) => {
                let names: Vec<&str> = scopes.iter().map(crate::domain::names::Scope::as_str).collect();
                if names.is_empty() { "No scope".into() } else { names.join(", ") }
            }
        }
    }

    /// Its resources, one to a line.
    pub fn resource_words(&self, acting: &Acting) -> Vec<String> {
        match &self.key.resources {
            ResourceSet::All if self.is_own(acting) => vec!["All of mine".into()],
            ResourceSet::All => vec!["All of the owner’s".into()],
            ResourceSet::Chosen(patterns) if patterns.is_empty() => vec!["None".into()],
            ResourceSet::Chosen(patterns) => patterns.iter().map(ToString::to_string).collect(),
        }
    }
}

/// When a key expires: `3 Dec 2026, in 12 days`, `16 Nov 2026, works until 30 Nov 2026`, `Never`.
pub fn expiry_words(expires_at: Option<Time>, grace: &GraceHistory, now: Time) -> String {
    match expires_at {
        None => "Never".into(),
        Some(at) if at > now => format!("{}, in {}", date(at), left(at, now)),
        Some(at) => {
            let until = grace.end(at, now);
            if until > now {
                format!("{}, works until {}", date(at), date_time(until))
            } else if until == at {
                format!("{}, expired", date(at))
            } else {
                format!("{}, grace ended {}", date(at), date(until))
            }
        }
    }
}

/// A length of life in words that begin a line: `1 year`, `Never expires`.
pub fn lifetime_words(lifetime: Option<lifetime::Lifetime>) -> String {
    lifetime.map_or_else(|| "Never expires".into(), |lifetime| lifetime::words(Some(lifetime)))
}

/// The reason that was given for a disable or revocation, as a sentence that follows another; empty where there is none.
pub fn why(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" Reason: {reason}") }
}

/// A use in words, with where from.
#[derive(Debug, Clone)]
pub struct Used {
    /// `2 min ago`; `Never`.
    pub when: String,
    /// The address; empty where it is not known.
    pub ip: String,
}

/// A last use in words.
pub fn used_words(used: Option<&Use>, now: Time) -> Used {
    used.map_or_else(
        || Used { when: "Never".into(), ip: String::new() },
        |used| Used { when: ago(used.at, now), ip: used.ip.clone().unwrap_or_default() },
    )
}

/// A number with all its digits: `1,420,311`.
pub fn digits(count: i64) -> String {
    let plain = count.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in plain.chars().enumerate() {
        if i > 0 && (plain.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if count < 0 { format!("-{text}") } else { text }
}
