//! Scopes, access roles and resources, as people with `access.manage` keep them.

mod guards;
mod looks;
mod many;
mod resources;
mod roles;
mod scopes;

use keyward::{
    domain::{
        event::Action,
        ids::{AccessRoleId, MemberId},
        permission::BuiltIn,
    },
    store::{access, events, members},
};
use serde_json::{Value, json};

use crate::support::{
    TestApp,
    browser::{Browser, Page},
};

pub const SCOPES: &str = "/t/acme/access";
pub const NEW_SCOPE: &str = "/t/acme/access/scopes/new";
pub const ROLES: &str = "/t/acme/access/roles";
pub const NEW_ROLE: &str = "/t/acme/access/roles/new";
pub const RESOURCES: &str = "/t/acme/access/resources";
pub const NEW_RESOURCE: &str = "/t/acme/access/resources/new";

/// What a gateway of acme is told of a token.
pub fn verify(app: &TestApp, gateway: &str, token: &str) -> Value {
    let answer = app.call("POST", "/api/v1/keys/verify", &[("authorization", &format!("Bearer {gateway}"))], Some(json!({ "key": token })));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// The number of an access role, by name.
pub fn role(app: &TestApp, tenant: &str, name: &str) -> AccessRoleId {
    let id = app.fixture.tenants[tenant];
    app.read(|db| access::roles(db, id)).into_iter().find(|role| role.name == name).unwrap_or_else(|| panic!("no access role {name}")).id
}

/// The number of a resource, by `kind:name`.
pub fn resource(app: &TestApp, tenant: &str, name: &str) -> i64 {
    let id = app.fixture.tenants[tenant];
    let name = name.parse::<keyward::domain::names::Resource>().unwrap();
    let page = app.read(|db| keyward::store::resources::page(db, id, Some(&name.kind), &name.name, &keyward::store::catalogue::Turn::Start, 5));
    page.rows.into_iter().find(|entry| entry.resource == name).unwrap_or_else(|| panic!("no resource {name}")).id.0
}

/// Makes a member of acme a Developer too.
pub fn make_developer(app: &TestApp, name: &str) {
    let (tenant, member) = (app.fixture.tenants["acme"], member(app, name));
    app.write(|tx| members::give_built_in(tx, tenant, member, BuiltIn::Developer));
}

pub fn member(app: &TestApp, name: &str) -> MemberId {
    app.fixture.members[&format!("acme/{name}")]
}

/// What was done to a thing of acme, newest first, and how it is told.
pub fn events(app: &TestApp, kind: &str, id: &str) -> Vec<(Action, Value)> {
    let found = app.read(|db| events::of_target(db, app.fixture.tenants["acme"], (kind, id), 20));
    found.into_iter().map(|event| (event.action, event.details)).collect()
}

/// Asks before something is removed, and confirms it.
pub fn remove(browser: &Browser, path: &str) -> Page {
    let action = path.split('?').next().unwrap();
    let question = browser.open(path);
    assert_eq!(question.status, 200, "{}", question.text());
    browser.send(&question, action, &[])
}

/// That a change led to a page that says so.
pub fn done(browser: &Browser, page: Page, words: &str) {
    assert_eq!(page.status, 303, "{}", page.text());
    let page = browser.follow(page);
    assert!(page.status == 200 && page.says(words), "{}", page.text());
}
