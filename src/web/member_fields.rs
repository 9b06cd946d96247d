//! The fields that invitations and member pages share: console roles, access roles, resources.

use std::collections::BTreeSet;

use super::{
    form::Form,
    picker::{self, Resources},
};
use crate::{
    domain::{
        access::ResourceSet,
        ids::{AccessRoleId, ConsoleRoleId, TenantId},
        names::ResourcePattern,
        permission::BuiltIn,
    },
    store::{Db, StoreError, access::AccessRole, console_roles::ConsoleRole},
};

/// A box to tick.
#[derive(Debug, Clone)]
pub struct Tick {
    /// The ID.
    pub value: String,
    /// The name.
    pub label: String,
    /// What it is for.
    pub says: String,
}

/// What a console role is for, in few words.
pub fn role_says(role: &ConsoleRole) -> &'static str {
    match role.built_in {
        Some(BuiltIn::TenantAdmin) => "members, access, settings",
        Some(BuiltIn::Developer) => "own keys",
        Some(BuiltIn::Auditor) => "sees every key and event",
        None => "a role of this tenant",
    }
}

/// Boxes for console roles.
pub fn role_ticks<'a>(roles: impl IntoIterator<Item = &'a ConsoleRole>) -> Vec<Tick> {
    roles.into_iter().map(|role| Tick { value: role.id.to_string(), label: role.name.clone(), says: role_says(role).to_owned() }).collect()
}

/// Boxes for access roles.
pub fn access_ticks(roles: &[AccessRole]) -> Vec<Tick> {
    roles.iter().map(|role| Tick { value: role.id.to_string(), label: role.name.clone(), says: role.description.clone() }).collect()
}

/// The console roles that were ticked as `role`.
pub fn read_roles(form: &mut Form) -> Option<Vec<ConsoleRoleId>> {
    let read: Result<Vec<ConsoleRoleId>, _> = form.all("role").map(str::parse).collect();
    read.map_err(|_| form.wrong("role", "Choose among these roles.")).ok()
}

/// The access roles that were ticked as `access`.
pub fn read_access_roles(form: &mut Form) -> Option<Vec<AccessRoleId>> {
    let read: Result<Vec<AccessRoleId>, _> = form.all("access").map(str::parse).collect();
    read.map_err(|_| form.wrong("access", "Choose among these roles.")).ok()
}

/// The fields of the choice of resources, for [`Form::only`].
pub const RESOURCES: [&str; 6] = ["resources", "resource*", "chosen", "find_resource", "found_resource", "offer"];

/// How many resources may be chosen one by one.
const MOST_CHOSEN: usize = 500;

/// What the form offers: the resources that are ticked, and those that its search finds.
///
/// # Errors
/// The database is away.
pub fn resources(db: &mut Db, tenant: TenantId, form: &Form) -> Result<Resources, StoreError> {
    let ticked: Vec<ResourcePattern> = form.all("resource").filter_map(|text| text.parse().ok()).take(MOST_CHOSEN).collect();
    picker::resources(db, tenant, &ResourceSet::All, &picker::sought(form.text("find_resource")), &ticked, "")
}

/// Whether the form was sent to offer other resources, rather than to be acted on.
pub fn asks_offer(form: &Form) -> bool {
    form.checked("offer") || form.searches("resource")
}

/// All resources (`resources=all`), or those that are ticked as `resource` and the lines of `chosen`.
pub fn read_resources(form: &mut Form) -> Option<ResourceSet> {
    if form.text("resources") != "chosen" {
        return Some(ResourceSet::All);
    }
    let ticked: Vec<String> = form.all("resource").map(str::to_owned).collect();
    form.parse("chosen", |text| {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let patterns: Result<BTreeSet<ResourcePattern>, String> = ticked
            .iter()
            .map(String::as_str)
            .chain(lines)
            .map(|line| line.parse().map_err(|error| format!("{}: {error}", line.chars().take(60).collect::<String>())))
            .collect();
        match patterns {
            Ok(patterns) if patterns.len() > MOST_CHOSEN => Err(format!("Choose {MOST_CHOSEN} resources or fewer; kind:* stands for all of a kind.")),
            Ok(patterns) => Ok(ResourceSet::Chosen(patterns)),
            Err(wrong) => Err(wrong),
        }
    })
}
