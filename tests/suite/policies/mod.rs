//! Policies as they are known elsewhere, each set up with settings and roles alone, and walked from end to end as people do.

mod change_access;
mod own_keys;
mod roll;
mod seats;
mod watch_only;

use keyward::domain::token::{Purpose, Token, fresh_id};

use crate::support::{
    TestApp,
    browser::{Browser, Page},
};

/// Saves a card of the tenant's settings with just these boxes ticked and fields changed.
pub fn saves(admin: &Browser, tenant: &str, card: &str, ticked: &[&str], fields: &[(&str, &str)]) {
    let (page, action) = (format!("/t/{tenant}/settings"), format!("/t/{tenant}/settings/{card}"));
    let form = admin.open(&page);
    let boxes = ["see_all", "manage_all", "delete", "code_create", "code_enable", "code_turn_on", "require_totp"];
    let kept =
        form.form(&action).into_iter().filter(|(name, _)| !boxes.contains(&name.as_str()) && !fields.iter().any(|(changed, _)| changed == name));
    let kept: Vec<(String, String)> = kept.collect();
    let mut all: Vec<(&str, &str)> = kept.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend(fields);
    all.extend(ticked.iter().map(|name| (*name, "on")));
    let answer = admin.post(&action, &all);
    assert_eq!(answer.status, 303, "{}", answer.text());
}

/// The console role of this name, as the forms send it.
fn role(page: &Page, name: &str) -> String {
    let html = page.html();
    let (label, input) = (scraper::Selector::parse("label.line").unwrap(), scraper::Selector::parse("input[name=role]").unwrap());
    let found = html.select(&label).find(|label| label.text().collect::<String>().trim().starts_with(name) && label.select(&input).next().is_some());
    let found = found.unwrap_or_else(|| panic!("no role {name}: {}", page.text()));
    found.select(&input).next().unwrap().attr("value").unwrap().to_owned()
}

/// Gives a member just these console roles, on their page.
pub fn gives(admin: &Browser, member: &str, roles: &[&str]) -> Page {
    let page = admin.open(member);
    assert_eq!(page.status, 200, "{}", page.text());
    let ids: Vec<String> = roles.iter().map(|name| role(&page, name)).collect();
    let action = format!("{member}/roles");
    let seen = page.form(&action).into_iter().find(|(name, _)| name == "seen").unwrap().1;
    let fields: Vec<(&str, &str)> = std::iter::once(("seen", seen.as_str())).chain(ids.iter().map(|id| ("role", id.as_str()))).collect();
    admin.post(&action, &fields)
}

/// The page of a member of acme.
pub fn member(app: &TestApp, name: &str) -> String {
    format!("/t/acme/members/{}", app.fixture.members[&format!("acme/{name}")])
}

/// Invites somebody with these console roles, and returns the answer.
pub fn invites(admin: &Browser, tenant: &str, email: &str, roles: &[&str]) -> Page {
    let path = format!("/t/{tenant}/members/invite");
    let page = admin.open(&path);
    let ids: Vec<String> = roles.iter().map(|name| role(&page, name)).collect();
    let fields: Vec<(&str, &str)> = std::iter::once(("email", email)).chain(ids.iter().map(|id| ("role", id.as_str()))).collect();
    admin.send(&page, &path, &fields)
}

/// The path of the link that an answer shows once.
pub fn link(page: &Page) -> String {
    let link = page.find("#c-link").unwrap_or_else(|| panic!("no link: {} {}", page.status, page.text()));
    link[link.find("/invite/").unwrap()..].to_owned()
}

/// Somebody new who follows the link of an invitation, and is signed in then.
pub fn joins(app: &TestApp, link: &str, name: &str) -> Browser {
    let browser = app.browser();
    let answer = browser.submit(link, &[("name", name), ("new_password", "seven grey herons standing")]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    browser.follow(answer);
    browser
}

/// Creates a key of one's own; what is not named is as the form has it.
pub fn creates(browser: &Browser, tenant: &str, name: &str) -> Page {
    browser.submit(&format!("/t/{tenant}/keys/new"), &[("name", name)])
}

/// What a gateway of a tenant is told of a token.
pub fn code(app: &TestApp, tenant: &str, token: &str) -> String {
    let (public_id, pepper) = (fresh_id(&mut keyward::chance::fill), app.app.secrets.pepper_version());
    let id = app.read(|db| keyward::store::tenants::by_slug(db, tenant)).unwrap().id;
    let gateway = Token::make(Purpose::Gateway, public_id, &mut keyward::chance::fill);
    let hash = app.app.secrets.token_hash(pepper, Purpose::Gateway, id, gateway.reveal()).unwrap();
    let new = keyward::store::gateways::New { public_id, name: "edge", by: "test", expires_at: None, hash, pepper };
    app.write(|tx| keyward::store::gateways::create(tx, id, &new));
    let headers = [("authorization", &*format!("Bearer {}", gateway.reveal()))];
    let answer = app.call("POST", "/api/v1/keys/verify", &headers, Some(serde_json::json!({ "key": token })));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["code"].as_str().unwrap().to_owned()
}

both! {
    fn each_policy_has_a_page_in_the_documentation(app) {
        let nora = app.signed_in("nora");
        let links: Vec<String> = nora.open("/docs").attributes("a", "href").into_iter().filter(|to| to.starts_with("/docs/")).collect();
        assert_eq!(links.len(), 5, "{links:?}");
        for link in &links {
            let page = nora.open(link);
            assert!(page.status == 200 && page.says("How to set it up"), "{link}: {}", page.text());
            assert!(page.attributes("main a", "href").iter().all(|to| !to.contains("/settings")), "no link to what she may not open");
        }
        assert!(app.signed_in("ada").open(&links[0]).attributes("main a", "href").contains(&"/t/acme/settings".to_owned()));
        assert_eq!(nora.get("/docs/nothing").status, 404);
        assert!(app.browser().get(&links[0]).location().unwrap().starts_with("/login"));
    }
}
