//! What somebody who accepts an invitation holds.

use keyward::actions::{By, operator};
use serde_json::{Value, json};

use super::{NEW_PASSWORD, invite, led_to, role, set_roles, url};
use crate::{
    access_pages::{self, RESOURCES, verify},
    key_pages::token_of,
    support::{TestApp, browser::Browser},
};

/// Invites with the role Developer and these other fields, and returns the path of the link.
fn invites(ada: &Browser, email: &str, fields: &[(&str, &str)]) -> String {
    let page = ada.open("/t/acme/members/invite");
    let developer = role(&page, "Developer");
    let all: Vec<(&str, &str)> = [("email", email), ("role", developer.as_str())].into_iter().chain(fields.iter().copied()).collect();
    let answer = ada.send(&page, "/t/acme/members/invite", &all);
    let link = answer.find("#c-link").unwrap_or_else(|| panic!("{} {}", answer.status, answer.text()));
    link[link.find("/invite/").unwrap()..].to_owned()
}

/// Somebody new follows a link.
fn joins(app: &TestApp, link: &str) -> Browser {
    let browser = app.browser();
    led_to(&browser.submit(link, &[("name", "Zoe New"), ("new_password", NEW_PASSWORD)]));
    browser
}

/// The scopes and resources that a gateway is told of a key that follows its owner.
fn holds(app: &TestApp, gateway: &str, person: &Browser) -> (Value, Value) {
    let (token, _) = token_of(&person.submit("/t/acme/keys/new", &[("access", "same"), ("res", "all")]));
    let mut answer = verify(app, gateway, &token);
    assert_eq!(answer["code"], json!("valid"), "{answer}");
    (answer["scopes"].take(), answer["resources"].take())
}

/// The access roles and the choice of resources that the member's page shows.
fn access(ada: &Browser, email: &str) -> (usize, String, Vec<String>) {
    let found = ada.open(&format!("/t/acme/members?q={}", email.replace('@', "%40"))).attributes("tbody a.name", "href");
    assert_eq!(found.len(), 1, "{email}");
    let page = ada.open(&format!("{}/access", found[0]));
    let ticked = |name: &str| page.attributes(&format!("input[name={name}][checked]"), "value");
    let mut chosen = ticked("resource");
    chosen.extend(page.find("#chosen").into_iter().filter(|text| !text.is_empty()));
    (ticked("access").len(), ticked("resources").concat(), chosen)
}

both! {
    fn a_new_member_holds_no_access_role_and_all_resources_unless_the_invitation_says_otherwise(app) {
        let (ada, gateway) = (app.signed_in("ada"), app.gateway("acme"));
        let zoe = joins(app, &invites(&ada, "zoe@acme.example", &[]));
        assert_eq!(holds(app, &gateway, &zoe), (json!([]), Value::Null));
        assert_eq!(access(&ada, "zoe@acme.example"), (0, "all".to_owned(), vec![]));

        let shipping = access_pages::role(app, "acme", "Shipping").to_string();
        let chosen = [("access", shipping.as_str()), ("resources", "chosen"), ("resource", "site:hamburg")];
        let yan = joins(app, &invites(&ada, "yan@acme.example", &chosen));
        assert_eq!(holds(app, &gateway, &yan), (json!(["shipments:read", "shipments:write"]), json!(["site:hamburg"])));
        assert_eq!(access(&ada, "yan@acme.example"), (1, "chosen".to_owned(), vec!["site:hamburg".to_owned()]));

        // None ticked means none.
        let xia = joins(app, &invites(&ada, "xia@acme.example", &[("resources", "chosen")]));
        assert_eq!(holds(app, &gateway, &xia), (json!([]), json!([])));
    }

    fn who_was_removed_comes_back_with_what_the_new_invitation_says(app) {
        let (ada, gateway) = (app.signed_in("ada"), app.gateway("acme"));
        // emil held Shipping, and site:rotterdam alone.
        led_to(&ada.submit(&url(app, "emil", "/remove"), &[("all", "revoke")]));
        let link = invite(&ada, "emil@acme.example", &["Developer"]);
        let emil = app.signed_in("emil");
        led_to(&emil.submit(&link, &[]));
        assert_eq!(holds(app, &gateway, &emil), (json!([]), Value::Null));
        assert_eq!(access(&ada, "emil@acme.example"), (0, "all".to_owned(), vec![]));
    }

    fn what_was_removed_since_the_invitation_is_not_given(app) {
        let (ada, gateway) = (app.signed_in("ada"), app.gateway("acme"));
        let billing = access_pages::role(app, "acme", "Billing").to_string();
        let link = invites(&ada, "zoe@acme.example", &[("access", &billing), ("resources", "chosen"), ("resource", "site:hamburg")]);
        for path in [
            format!("{RESOURCES}/{}/remove", access_pages::resource(app, "acme", "site:hamburg")),
            format!("{}/{billing}/remove", access_pages::ROLES),
        ] {
            led_to(&access_pages::remove(&ada, &path));
        }
        let zoe = joins(app, &link);
        assert_eq!(holds(app, &gateway, &zoe), (json!([]), json!([])), "none, never all");
        assert_eq!(access(&ada, "zoe@acme.example"), (0, "chosen".to_owned(), vec![]));
        // It comes back without anybody having it.
        led_to(&ada.submit(access_pages::NEW_RESOURCE, &[("kind", "site"), ("name", "hamburg")]));
        assert_eq!(access(&ada, "zoe@acme.example"), (0, "chosen".to_owned(), vec![]));
    }

    fn the_installation_owner_joins_no_tenant_by_an_invitation(app) {
        let (ada, root) = (app.signed_in("ada"), app.signed_in("root"));
        let link = invite(&ada, "root@acme.example", &["Developer"]);
        let refused = root.submit(&link, &[]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("The installation owner is a member of no tenant."), "{}", refused.text());
        let stranger = app.browser().submit(&link, &[("name", "Root"), ("new_password", NEW_PASSWORD)]);
        assert!(stranger.status == 422 && stranger.says("No account was made."), "{}", stranger.text());
        assert_eq!(root.get("/t/acme/keys/new").status, 404);
        // What `keyward user create` does.
        let email = app.person("root").email.parse().unwrap();
        let new = operator::NewUser { email: &email, name: "Root", tenant: Some("acme"), roles: &[] };
        let made = app.app.store.write(app.now(), |tx| operator::create_user(tx, &By::operator(Some("keyward user create"), tx.now()), &new));
        assert!(made.unwrap_err().to_string().contains("a member of no tenant"));
        assert_eq!(ada.open("/t/acme/members?q=root%40").texts("tbody a.name").len(), 0);
    }

    fn a_new_sign_in_opens_a_tenant_that_an_admin_shut(app) {
        let (mia, ada) = (app.signed_in("mia"), app.signed_in("ada"));
        let other = app.signed_in("mia");
        assert_eq!(mia.get("/t/acme/keys/new").status, 200);
        led_to(&ada.submit_to(&url(app, "mia", ""), &url(app, "mia", "/shut"), &[]));
        app.advance(chrono::Duration::seconds(1));
        let led = mia.open("/t/acme/keys/new");
        assert!(led.path.starts_with("/login?next="), "{}", led.path);
        // In the same browser, which is still signed in elsewhere.
        let person = app.person("mia");
        let page = mia.follow(mia.send(&led, "/login", &[("email", &person.email), ("password", person.password)]));
        let back = mia.follow(mia.send(&page, "/login/code", &[("totp", &app.code("mia"))]));
        assert_eq!((back.status, back.path.as_str()), (200, "/t/acme/keys/new"), "{}", back.text());
        assert_eq!(app.signed_in("mia").get("/t/acme/keys/new").status, 200);
        assert!(other.open("/t/acme/keys/new").path.starts_with("/login"), "a session from before stays shut out");
        assert_eq!(other.get("/t/globex/keys").status, 200);
    }

    fn a_service_account_never_counts_as_the_last_tenant_admin(app) {
        let ada = app.signed_in("ada");
        led_to(&set_roles(&ada, app, "ci", &["Tenant admin"]));
        let refused = [
            set_roles(&ada, app, "ada", &["Developer"]),
            ada.submit(&url(app, "ada", "/suspend"), &[]),
            ada.submit(&url(app, "ada", "/remove"), &[]),
            ada.submit("/profile/tenants/acme/leave", &[]),
        ];
        for answer in refused {
            assert_eq!(answer.status, 422, "{}", answer.path);
            assert!(answer.says("without an active Tenant admin"), "{}", answer.text());
        }
        assert_eq!(ada.get("/t/acme/members").status, 200);
        // A person does, and then one may go.
        led_to(&set_roles(&ada, app, "nora", &["Tenant admin"]));
        led_to(&ada.submit("/profile/tenants/acme/leave", &[]));
        // With her suspended, no active one is left, whatever the service account holds.
        let (acme, nora) = (app.fixture.tenants["acme"], app.fixture.members["acme/nora"]);
        app.write(|tx| keyward::store::members::set_suspended(tx, acme, nora, true));
        let root = app.signed_in("root");
        assert_eq!(root.get("/installation/tenants/acme/admin").status, 200);
    }
}
