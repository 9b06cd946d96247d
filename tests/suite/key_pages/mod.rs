//! The pages of one key, as people use them.

mod emptied;
mod forms;
mod keepers;
mod life;
mod looks;
mod management;
mod off;
mod offers;
mod refusals;
mod tenant_rules;
mod turns;

use keyward::{
    chance,
    domain::token::{Purpose, Token, fresh_id},
    store::{gateways, keys},
};
use serde_json::{Value, json};

use crate::support::{
    TestApp,
    browser::{Browser, Page},
};

/// The address of a page of a key in acme.
pub fn url(id: &str, end: &str) -> String {
    format!("/t/acme/keys/{id}{end}")
}

/// A gateway credential of acme.
pub fn gateway(app: &TestApp) -> String {
    let (tenant, id) = (app.fixture.tenants["acme"], fresh_id(&mut chance::fill));
    let token = Token::make(Purpose::Gateway, id, &mut chance::fill);
    let pepper = app.app.secrets.pepper_version();
    let hash = app.app.secrets.token_hash(pepper, Purpose::Gateway, tenant, token.reveal()).unwrap();
    app.write(|tx| gateways::create(tx, tenant, &gateways::New { public_id: id, name: "edge", by: "Ada Example", expires_at: None, hash, pepper }));
    token.reveal().to_owned()
}

/// What a gateway is told of a token.
pub fn verify(app: &TestApp, gateway: &str, token: &str) -> Value {
    let answer = app.call("POST", "/api/v1/keys/verify", &[("authorization", &format!("Bearer {gateway}"))], Some(json!({ "key": token })));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// The code alone.
pub fn code_of(app: &TestApp, gateway: &str, token: &str) -> String {
    verify(app, gateway, token)["code"].as_str().unwrap().to_owned()
}

/// Creates a key with these fields; the rest is as the form has it.
pub fn create(browser: &Browser, fields: &[(&str, &str)]) -> Page {
    browser.submit("/t/acme/keys/new", fields)
}

/// The token of a page that shows one, with the key's ID.
pub fn token_of(page: &Page) -> (String, String) {
    assert_eq!(page.status, 200, "{}", page.text());
    let token = page.find("#c-tok").unwrap_or_else(|| panic!("no token: {}", page.text()));
    let id = token[4..20].to_owned();
    (token, id)
}

/// How many keys of a member count against the limit.
pub fn count(app: &TestApp, member: &str) -> i64 {
    app.read(|db| keys::count_for_limit(db, app.fixture.tenants["acme"], app.fixture.members[&format!("acme/{member}")]))
}

/// Changes acme's settings.
pub fn set(app: &TestApp, change: impl FnOnce(&mut keyward::domain::tenant::Settings)) {
    app.write(|tx| {
        let tenant = keyward::store::tenants::get(tx, app.fixture.tenants["acme"])?;
        let mut settings = tenant.settings.clone();
        change(&mut settings);
        keyward::store::tenants::save_settings(tx, &tenant, &settings)
    });
}

/// Where a change led, which has to be a redirect.
pub fn led_to(page: &Page) -> String {
    assert_eq!(page.status, 303, "{}", page.text());
    page.location().unwrap()
}
