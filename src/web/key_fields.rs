//! The fields that creating and editing a key have in common: what is offered, how it is filled in, and how it is read.

use std::collections::BTreeSet;

use super::form::Form;
use crate::{
    actions::keys::{KeyError, KeyForm, MOST_RECIPIENTS},
    domain::{
        access::{KeyAccess, ResourceSet},
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
pub const FIELDS: [&str; 10] = ["name", "comment", "access", "role", "scope*", "res", "resource*", "more_resources", "ips", "notify"];
/// How many resources of the catalogue are offered as boxes; others are typed.
const MOST_RESOURCES: i64 = 200;

/// One thing to choose.
#[derive(Debug, Clone)]
pub struct Offered {
    /// What the form sends.
    pub value: String,
    /// What it is called.
    pub label: String,
    /// What it means.
    pub says: String,
}

/// What a key of one owner may be given.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Whether the owner fills the form in.
    pub own: bool,
    /// Access roles that the owner holds.
    pub roles: Vec<Offered>,
    /// Scopes that the owner holds.
    pub scopes: Vec<Offered>,
    /// Reserved scopes; empty where the member may not choose them.
    pub reserved: Vec<Offered>,
    /// Whether the reserved scopes are unfolded.
    pub reserved_open: bool,
    /// Resources and kinds that the owner holds.
    pub resources: Vec<Offered>,
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

fn choice(value: impl Into<String>, label: impl Into<String>, says: impl Into<String>) -> Offered {
    Offered { value: value.into(), label: label.into(), says: says.into() }
}

/// What a key of `owner` may be given; what `present` has is offered too, though it may be without effect by now.
///
/// # Errors
/// The database is away.
pub fn offer(db: &mut Db, acting: &Acting, owner: &Owner, present: Option<&Key>) -> Result<Offer, StoreError> {
    let tenant = acting.tenant.id;
    let held = access::held_by(db, tenant, owner.id)?;
    let lost = "The owner does not hold it, so it has no effect";
    let mut roles = Vec::new();
    for role in access::roles(db, tenant)? {
        let value = role.id.to_string();
        if held.roles.contains(&role.id) {
            roles.push(choice(value, role.name, role.description));
        } else if present.is_some_and(|key| key.access == KeyAccess::Role(role.id)) {
            roles.push(choice(value, format!("{} (not held by the owner)", role.name), lost));
        }
    }
    let described = access::scopes(db, tenant)?;
    let says = |scope: &Scope| described.iter().find(|(name, _)| name == scope).map(|(_, says)| says.clone()).unwrap_or_default();
    let had: Scopes = match present.map(|key| &key.access) {
        Some(KeyAccess::Scopes(scopes)) => scopes.clone(),
        _ => Scopes::new(),
    };
    let mut scopes: Vec<Offered> = held.scopes.iter().map(|scope| choice(scope.as_str(), scope.as_str(), says(scope))).collect();
    scopes.extend(had.iter().filter(|s| !s.is_reserved() && !held.scopes.contains(*s)).map(|s| choice(s.as_str(), s.as_str(), lost)));
    let owner_permissions = if owner.id == acting.id { acting.permissions } else { members::permissions(db, &acting.tenant, owner.id)?.0 };
    let reserved = if acting.permissions.has_all(owner_permissions) { reserved() } else { Vec::new() };
    let mut resources = resources(db, acting, &held.resources)?;
    for pattern in present.and_then(|key| key.resources.chosen()).into_iter().flatten() {
        let value = pattern.to_string();
        if !resources.iter().any(|offered| offered.value == value) {
            let covered = ResourceSet::Chosen(BTreeSet::from([pattern.clone()])).cut_to(&held.resources).chosen().is_some_and(|cut| !cut.is_empty());
            resources.push(choice(value.clone(), value, if covered { "" } else { lost }));
        }
    }
    Ok(Offer { own: owner.id == acting.id, roles, scopes, reserved_open: false, reserved, resources })
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
    RESERVED_SCOPES.iter().zip(says).map(|(scope, says)| choice(*scope, *scope, says)).collect()
}

fn resources(db: &mut Db, acting: &Acting, held: &ResourceSet) -> Result<Vec<Offered>, StoreError> {
    let catalogue = access::search_resources(db, acting.tenant.id, "", MOST_RESOURCES)?;
    let mut offered = Vec::new();
    let mut kinds: BTreeSet<String> = catalogue.iter().map(|(resource, _)| resource.kind.clone()).collect();
    if let ResourceSet::Chosen(patterns) = held {
        kinds = patterns.iter().filter_map(|pattern| if let ResourcePattern::Kind(kind) = pattern { Some(kind.clone()) } else { None }).collect();
    }
    offered.extend(kinds.iter().map(|kind| choice(format!("{kind}:*"), format!("{kind}:*"), "Every one of this kind")));
    offered.extend(
        catalogue
            .iter()
            .filter(|(resource, _)| held.covers(resource))
            .map(|(resource, says)| choice(resource.to_string(), resource.to_string(), says.clone())),
    );
    for pattern in held.chosen().into_iter().flatten() {
        let value = pattern.to_string();
        if !offered.iter().any(|known: &Offered| known.value == value) {
            offered.push(choice(value.clone(), value, ""));
        }
    }
    Ok(offered)
}

/// Fills a form in with what a key has.
pub fn fill(form: &mut Form, key: &Key) {
    form.set("name", key.name.as_str());
    form.set("comment", key.comment.as_str());
    let kind = match &key.access {
        KeyAccess::Owner => "same",
        KeyAccess::Role(_) => "role",
        KeyAccess::Scopes(_) => "scopes",
    };
    form.set("access", kind);
    match &key.access {
        KeyAccess::Role(role) => form.set("role", role.to_string()),
        KeyAccess::Scopes(scopes) => form.set_all("scope", scopes.iter().map(ToString::to_string)),
        KeyAccess::Owner => {}
    }
    form.set("res", if key.resources == ResourceSet::All { "all" } else { "some" });
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
        KeyError::Expiry(_) => super::expiry_form::field_of(form, life),
        KeyError::NeedsCode => "totp",
        KeyError::Limit { .. } | KeyError::KeysOff | KeyError::OwnerInactive => "",
        _ => return Some(error),
    };
    form.wrong(field, error);
    None
}
