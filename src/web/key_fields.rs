//! The fields that creating and editing a key have in common: what is offered, how it is filled in, and how it is read.

use std::collections::BTreeSet;

use super::{
    form::Form,
    picker::{self, MOST, Offered, Resources, is_held},
};
use crate::{
    actions::keys::{KeyError, KeyForm, MOST_RECIPIENTS},
    domain::{
        access::{KeyAccess, ResourceSet},
        change::Refused,
        ids::AccessRoleId,
        ip_range::IpRanges,
        key::Key,
        names::{self, EmailAddress, KeyName, RESERVED_SCOPES, ResourcePattern, Scope, Scopes},
    },
    store::{
        Db, StoreError, access,
        members::{self, Acting, Owner},
    },
};

/// The names of the fields, for [`Form::only`].
pub const FIELDS: [&str; 15] = [
    "name",
    "comment",
    "access",
    "role",
    "scope*",
    "res",
    "resource*",
    "more_resources",
    "ips",
    "notify",
    "find_scope",
    "found_scope",
    "find_resource",
    "found_resource",
    "offer",
];
/// What a key of one owner may be given.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Whether the owner fills the form in.
    pub own: bool,
    /// Whether the key that is edited has no scope at all, which may stay.
    pub no_scopes: bool,
    /// Whether it has no resource at all, which may stay.
    pub no_resources: bool,
    /// Access roles that the owner holds.
    pub roles: Vec<Offered>,
    /// Scopes that the owner holds.
    pub scopes: Vec<Offered>,
    /// Reserved scopes; empty where the member may not choose them.
    pub reserved: Vec<Offered>,
    /// Whether the reserved scopes are unfolded.
    pub reserved_open: bool,
    /// Whether there are more scopes than are listed, or a search left some out.
    pub seek_scopes: bool,
    /// Resources and kinds that the owner holds.
    pub resources: Vec<Offered>,
    /// Whether there are more resources than are listed, or a search left some out.
    pub seek_resources: bool,
}

/// What a form searches for, and what is ticked in it, which stays.
#[derive(Debug, Clone, Default)]
pub struct Sought {
    /// The text of a search for an owner.
    pub owner: String,
    scope: String,
    resource: String,
    scopes: Vec<String>,
    resources: Vec<ResourcePattern>,
}

impl Sought {
    /// As a form says it.
    pub fn of(form: &Form) -> Self {
        let text = |name: &str| picker::sought(form.text(name));
        Self {
            owner: text("find_owner"),
            scope: text("find_scope"),
            resource: text("find_resource"),
            scopes: form.all("scope").map(str::to_owned).collect(),
            resources: form.all("resource").filter_map(|text| text.parse().ok()).collect(),
        }
    }
}

/// Whether the form was sent to offer something else, rather than to be acted on.
pub fn asks_offer(form: &Form) -> bool {
    form.checked("offer") || ["owner", "scope", "resource"].iter().any(|what| form.searches(what))
}

impl Offer {
    /// Unfolds the reserved scopes where the form has one.
    pub fn follow(&mut self, form: &Form) {
        self.reserved_open = wants_reserved(form);
    }
}

/// Whether a reserved scope is chosen in the form.
pub fn wants_reserved(form: &Form) -> bool {
    form.text("access") == "scopes" && form.all("scope").any(|scope| scope.starts_with(names::RESERVED_PREFIX))
}

/// Said of what a key was given and its owner has not.
const LOST: &str = "The owner does not hold it, so it has no effect";

/// What a key of `owner` may be given; what `present` has is offered too, though it may be without effect by now.
///
/// # Errors
/// The database is away.
pub fn offer(db: &mut Db, acting: &Acting, owner: &Owner, present: Option<&Key>, sought: &Sought) -> Result<Offer, StoreError> {
    let tenant = acting.tenant.id;
    let held = access::held_by(db, tenant, owner.id)?;
    let mut roles = Vec::new();
    for role in access::roles(db, tenant)? {
        let value = role.id.to_string();
        if held.roles.contains(&role.id) {
            roles.push(Offered::new(value, role.name, role.description));
        } else if present.is_some_and(|key| key.access == KeyAccess::Role(role.id)) {
            roles.push(Offered::new(value, format!("{} (not held by the owner)", role.name), LOST));
        }
    }
    let described = access::scopes(db, tenant)?;
    let says = |scope: &Scope| described.iter().find(|(name, _)| name == scope).map(|(_, says)| says.clone()).unwrap_or_default();
    let had: Scopes = match present.map(|key| &key.access) {
        Some(KeyAccess::Scopes(scopes)) => scopes.clone(),
        _ => Scopes::new(),
    };
    let (scopes, seek_scopes) = scopes(&held.scopes, &had, sought, says);
    let owner_permissions = if owner.id == acting.id { acting.permissions } else { members::permissions(db, &acting.tenant, owner.id)?.0 };
    let reserved = if acting.permissions.has_all(owner_permissions) { reserved() } else { Vec::new() };
    let Resources { offered: mut resources, seek: seek_resources } =
        picker::resources(db, tenant, &held.resources, &sought.resource, &sought.resources, LOST)?;
    for pattern in present.and_then(|key| key.resources.chosen()).into_iter().flatten() {
        let value = pattern.to_string();
        if !resources.iter().any(|offered| offered.value == value) {
            resources.push(Offered::new(value.clone(), value, if is_held(pattern, &held.resources) { "" } else { LOST }));
        }
    }
    let no_scopes = present.is_some_and(|key| matches!(&key.access, KeyAccess::Scopes(scopes) if scopes.is_empty()));
    let no_resources = present.and_then(|key| key.resources.chosen()).is_some_and(BTreeSet::is_empty);
    Ok(Offer {
        own: owner.id == acting.id,
        no_scopes,
        no_resources,
        roles,
        scopes,
        seek_scopes,
        reserved_open: false,
        reserved,
        resources,
        seek_resources,
    })
}

/// The scopes that are ticked or chosen for the key already, then the first others that the owner holds and the search finds.
fn scopes(held: &Scopes, had: &Scopes, sought: &Sought, says: impl Fn(&Scope) -> String) -> (Vec<Offered>, bool) {
    let text = sought.scope.to_lowercase();
    let (mut offered, mut others) = (Vec::new(), Vec::new());
    for scope in held.union(had).filter(|scope| !scope.is_reserved()) {
        let words = if held.contains(scope) { says(scope) } else { LOST.to_owned() };
        let line = Offered::new(scope.as_str(), scope.as_str(), words);
        if had.contains(scope) || sought.scopes.iter().any(|ticked| ticked == scope.as_str()) {
            offered.push(line);
        } else if text.is_empty() || line.value.to_lowercase().contains(&text) || line.says.to_lowercase().contains(&text) {
            others.push(line);
        }
    }
    let seek = others.len() > MOST || !text.is_empty();
    // All of a short list stand in one order.
    others.truncate(MOST);
    offered.extend(others);
    if !seek {
        offered.sort_by(|a, b| a.value.cmp(&b.value));
    }
    (offered, seek)
}

/// The reserved scopes, and what each opens.
pub fn reserved() -> Vec<Offered> {
    let says = [
        "See keys",
        "Create and change keys",
        "Roll keys",
        "See members",
        "Change members",
        "Change scopes, access roles and resources",
        "Change settings",
        "Read events",
    ];
    RESERVED_SCOPES.iter().zip(says).map(|(scope, says)| Offered::new(*scope, *scope, says)).collect()
}

/// Fills a form in with what a key has.
pub fn fill(form: &mut Form, key: &Key) {
    form.set("name", key.name.as_str());
    form.set("comment", key.comment.as_str());
    let kind = match &key.access {
        KeyAccess::Owner => "same",
        KeyAccess::Role(_) => "role",
        KeyAccess::Scopes(scopes) if scopes.is_empty() => "none",
        KeyAccess::Scopes(_) => "scopes",
    };
    form.set("access", kind);
    match &key.access {
        KeyAccess::Role(role) => form.set("role", role.to_string()),
        KeyAccess::Scopes(scopes) => form.set_all("scope", scopes.iter().map(ToString::to_string)),
        KeyAccess::Owner => {}
    }
    let resources = match key.resources.chosen() {
        None => "all",
        Some(chosen) if chosen.is_empty() => "none",
        Some(_) => "some",
    };
    form.set("res", resources);
    form.set_all("resource", key.resources.chosen().into_iter().flatten().map(ToString::to_string));
    form.set("ips", key.ip_ranges.texts().join("\n"));
    form.set("notify", key.notice_recipients.iter().map(EmailAddress::as_str).collect::<Vec<_>>().join(", "));
}

/// Reads the fields; what is wrong is kept in the form. An empty name is `None`.
pub fn read(form: &mut Form) -> Option<KeyForm> {
    let name = if form.text("name").trim().is_empty() { Some(None) } else { form.parse("name", str::parse::<KeyName>).map(Some) };
    let comment = form.parse("comment", |text| names::lines(text, 500));
    let access = read_access(form);
    let resources = read_resources(form);
    let ip_ranges = form.parse("ips", IpRanges::parse);
    let notice_recipients = form.parse("notify", read_recipients);
    Some(KeyForm {
        name: name?,
        comment: comment?,
        access: access?,
        resources: resources?,
        ip_ranges: ip_ranges?,
        notice_recipients: notice_recipients?,
    })
}

fn read_access(form: &mut Form) -> Option<KeyAccess> {
    match form.text("access") {
        "same" => Some(KeyAccess::Owner),
        "role" => match form.text("role").parse::<AccessRoleId>() {
            Ok(role) => Some(KeyAccess::Role(role)),
            Err(_) => wrong(form, "access", "Choose an access role."),
        },
        // Offered only where the key has none, and taken only there.
        "none" => Some(KeyAccess::Scopes(Scopes::new())),
        "scopes" => match form.all("scope").map(str::parse::<Scope>).collect::<Result<Scopes, _>>() {
            Ok(scopes) if scopes.is_empty() => wrong(form, "access", "Choose one scope or more."),
            Ok(scopes) => Some(KeyAccess::Scopes(scopes)),
            Err(why) => wrong(form, "access", &why.to_string()),
        },
        _ => wrong(form, "access", "Choose what the key may do."),
    }
}

fn read_resources(form: &mut Form) -> Option<ResourceSet> {
    match form.text("res") {
        "all" => Some(ResourceSet::All),
        "none" => Some(ResourceSet::Chosen(BTreeSet::new())),
        "some" => {
            let typed = form.text("more_resources").split([',', ' ', '\n', '\r', '\t']).filter(|part| !part.is_empty());
            match form.all("resource").chain(typed).map(str::parse::<ResourcePattern>).collect::<Result<BTreeSet<_>, _>>() {
                Ok(patterns) if patterns.is_empty() => wrong(form, "res", "Choose one resource or more."),
                Ok(patterns) => Some(ResourceSet::Chosen(patterns)),
                Err(why) => wrong(form, "res", &why.to_string()),
            }
        }
        _ => wrong(form, "res", "Choose which resources the key may reach."),
    }
}

fn read_recipients(text: &str) -> Result<Vec<EmailAddress>, String> {
    let mut addresses: Vec<EmailAddress> = Vec::new();
    for part in text.split([',', ';', ' ', '\n', '\r', '\t']).filter(|part| !part.is_empty()) {
        let address: EmailAddress = part.parse().map_err(|why| format!("“{part}”: {why}"))?;
        if !addresses.iter().any(|known| known.canonical() == address.canonical()) {
            addresses.push(address);
        }
    }
    if addresses.len() > MOST_RECIPIENTS {
        return Err(format!("Enter {MOST_RECIPIENTS} addresses or fewer; these are {}.", addresses.len()));
    }
    Ok(addresses)
}

fn wrong<T>(form: &mut Form, name: &str, words: &str) -> Option<T> {
    form.wrong(name, words);
    None
}

/// Puts what an action refused beside the field that it is about. Returns what is no matter of a field.
pub fn place(form: &mut Form, error: KeyError, life: &str) -> Option<KeyError> {
    let field = match &error {
        KeyError::Access(_) | KeyError::Climb => "access",
        KeyError::Resources(_) => "res",
        KeyError::Recipients => "notify",
        KeyError::Refused(Refused::Expiry(_)) => super::expiry_form::field_of(form, life),
        KeyError::NeedsCode => "totp",
        KeyError::Limit { .. } | KeyError::Refused(Refused::KeysOff) | KeyError::OwnerInactive => "",
        _ => return Some(error),
    };
    form.wrong(field, error);
    None
}
