//! What gateways and programs are answered, on both databases and through real gateways.

mod answers;
mod freshness;
mod gateway_page;
mod lives;
mod much_use;
mod proxies;
mod proxies_https;
mod use_counts;

use keyward::{
    actions::{
        self, By, Who,
        keys::{KeyError, KeyForm, Made},
    },
    app::App,
    chance,
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::{KeyId, TenantId},
        ip_range::IpRanges,
        lifetime::Choice,
        roll::Stays,
        token::{self, Purpose, Token},
        verdict::Request,
    },
    store::{Tx, gateways, keys, members},
    verify::{Answer, Question, Unavailable},
};
use serde_json::{Value, json};

use crate::support::{TestApp, browser::Page};

/// A gateway credential of a tenant.
pub fn gateway(app: &TestApp, tenant: &str) -> String {
    let tenant = app.fixture.tenants[tenant];
    app.write(|tx| {
        let public_id = token::fresh_id(&mut chance::fill);
        let token = Token::make(Purpose::Gateway, public_id, &mut chance::fill);
        let pepper = tx.secrets().pepper_version();
        let hash = tx.secrets().token_hash(pepper, Purpose::Gateway, tenant, token.reveal()).unwrap();
        gateways::create(tx, tenant, &gateways::New { public_id, name: "eu-1 nginx", by: "Ada Example", expires_at: None, hash, pepper })?;
        Ok(token.reveal().to_owned())
    })
}

/// Does something as a person of the fixture.
pub fn act<T>(app: &TestApp, name: &str, f: impl FnOnce(&mut Tx<'_>, &By) -> Result<T, KeyError>) -> T {
    let (account, tenant) = (app.person(name).account, if name == "gus" { "globex" } else { "acme" });
    app.app
        .store
        .write(app.now(), |tx| {
            let acting = members::acting(tx, tenant, account)?.unwrap();
            let by = By { who: Who::Member(Box::new(acting)), address: None, user_agent: String::new(), now: tx.now(), session: None };
            f(tx, &by)
        })
        .unwrap()
}

/// What a key form says where nothing is chosen.
pub fn plain(name: &str) -> KeyForm {
    KeyForm {
        name: Some(name.parse().unwrap()),
        comment: String::new(),
        access: KeyAccess::Owner,
        resources: ResourceSet::All,
        ip_ranges: IpRanges::default(),
        notice_recipients: vec![],
    }
}

/// Makes a key of dora's.
pub fn make(app: &TestApp, form: KeyForm, expiry: Choice) -> Made {
    let form_id = token::fresh_id(&mut chance::fill).to_string();
    let owner = app.fixture.members["acme/dora"];
    act(app, "dora", |tx, by| actions::keys::create(tx, by, owner, &form, expiry, &form_id, None))
}

/// Gives a key of dora's a new secret; the token with it.
pub fn roll(app: &TestApp, id: KeyId, stays: Stays) -> String {
    act(app, "dora", |tx, by| {
        let acting = by.acting().unwrap();
        let mut key = keys::find(tx, &acting.reach(), id)?.unwrap();
        let owner = members::find(tx, acting.tenant.id, key.owner)?.unwrap();
        key.current.made_at = tx.now();
        let token = Token::make(Purpose::Key, id, &mut chance::fill);
        let pepper = tx.secrets().pepper_version();
        let hash = tx.secrets().token_hash(pepper, Purpose::Key, acting.tenant.id, token.reveal()).unwrap();
        assert!(keys::replace_secret(tx, &key, key.version, &owner, stays, hash, pepper)?);
        Ok(token.reveal().to_owned())
    })
}

/// Asks `POST /api/v1/keys/verify`.
pub fn verify(app: &TestApp, gateway: &str, body: Value) -> Value {
    let page = app.call("POST", "/api/v1/keys/verify", &[("authorization", &format!("Bearer {gateway}"))], Some(body));
    assert_eq!(page.status, 200, "{}", page.body);
    page.json()
}

/// The code that a token is answered with.
pub fn code(app: &TestApp, gateway: &str, token: &str) -> String {
    verify(app, gateway, json!({ "key": token }))["code"].as_str().unwrap().to_owned()
}

/// Asks `/api/v1/auth` as a gateway does.
pub fn auth(app: &TestApp, gateway: &str, path: &str, headers: &[(&str, &str)]) -> Page {
    let mut all = vec![("x-keyward-gateway", gateway)];
    all.extend_from_slice(headers);
    app.call("GET", &format!("/api/v1/auth{path}"), &all, None)
}

/// Asks the verifier of an app directly.
pub fn ask(app: &App, tenant: TenantId, token: &str) -> Result<Answer, Unavailable> {
    let request = Request::default();
    let question = Question { token: Some(token), request: &request, impossible_scope: false, impossible_resource: false };
    actix_web::rt::System::new().block_on(app.gate.verifier.verify(tenant, &question))
}
