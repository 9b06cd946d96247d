//! Members as admins and they themselves see them: list, invitations, roles, suspension, removal with hand-over, leaving.

mod hand_over;
mod help;
mod invitations;
mod joined;
mod leaving;
mod more_than_ten;
mod newer;
mod one_member;
mod pickers;
mod races;
mod remover;
mod roles;
mod very_many;

use crate::support::{
    TestApp,
    browser::{Browser, Page},
};

/// The ID of a member of the fixture (`acme/dora`).
fn id(app: &TestApp, name: &str) -> String {
    app.fixture.members[name].to_string()
}

/// The address of a page about a member of acme.
fn url(app: &TestApp, name: &str, end: &str) -> String {
    format!("/t/acme/members/{}{end}", id(app, &format!("acme/{name}")))
}

/// The console role of this name, as the forms send it.
fn role(page: &Page, name: &str) -> String {
    let html = page.html();
    let labels = scraper::Selector::parse("label.line").unwrap();
    let box_ = scraper::Selector::parse("input[name=role]").unwrap();
    let found =
        html.select(&labels).find(|label| label.text().collect::<String>().trim_start().starts_with(name) && label.select(&box_).next().is_some());
    let label = found.unwrap_or_else(|| panic!("no role {name} in {}", page.text()));
    label.select(&box_).next().unwrap().attr("value").unwrap().to_owned()
}

/// Whether a form offers a console role of this name.
fn offers(page: &Page, name: &str) -> bool {
    page.texts("label.line").iter().any(|label| label.starts_with(name))
}

/// The mark of what the form that posts to `action` shows.
fn seen(page: &Page, action: &str) -> String {
    page.form(action).into_iter().find(|(name, _)| name == "seen").unwrap().1
}

/// Sets the console roles of a member of acme on their page.
fn set_roles(browser: &Browser, app: &TestApp, name: &str, roles: &[&str]) -> Page {
    let page = browser.open(&url(app, name, ""));
    assert_eq!(page.status, 200, "{}", page.text());
    let ids: Vec<String> = roles.iter().map(|name| role(&page, name)).collect();
    let seen = seen(&page, &url(app, name, "/roles"));
    let fields: Vec<(&str, &str)> = std::iter::once(("seen", seen.as_str())).chain(ids.iter().map(|id| ("role", id.as_str()))).collect();
    browser.post(&url(app, name, "/roles"), &fields)
}

/// Invites as an admin, and returns the answer.
fn send_invitation(browser: &Browser, email: &str, roles: &[&str]) -> Page {
    let page = browser.open("/t/acme/members/invite");
    let ids: Vec<String> = roles.iter().map(|name| role(&page, name)).collect();
    let fields: Vec<(&str, &str)> = std::iter::once(("email", email)).chain(ids.iter().map(|id| ("role", id.as_str()))).collect();
    browser.send(&page, "/t/acme/members/invite", &fields)
}

/// Invites as an admin, and returns the path of the link.
fn invite(browser: &Browser, email: &str, roles: &[&str]) -> String {
    let answer = send_invitation(browser, email, roles);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let link = answer.find("#c-link").unwrap();
    assert!(link.contains("/invite/kwi_"), "{link}");
    link[link.find("/invite/").unwrap()..].to_owned()
}

/// Changes acme's settings.
fn set(app: &TestApp, change: impl FnOnce(&mut keyward::domain::tenant::Settings)) {
    app.write(|tx| {
        let tenant = keyward::store::tenants::get(tx, app.fixture.tenants["acme"])?;
        let mut settings = tenant.settings.clone();
        change(&mut settings);
        keyward::store::tenants::save_settings(tx, &tenant, &settings)
    });
}

/// The events about a member of acme, newest first, as words.
fn events(app: &TestApp, name: &str) -> Vec<&'static str> {
    let member = app.fixture.members[&format!("acme/{name}")];
    app.read(|db| keyward::store::events::of_member(db, app.fixture.tenants["acme"], member, 20)).iter().map(|event| event.action.word()).collect()
}

/// Where a change led, which has to be a redirect.
fn led_to(page: &Page) -> String {
    assert_eq!(page.status, 303, "{}", page.text());
    page.location().unwrap()
}

const NEW_PASSWORD: &str = "seven grey herons standing";
