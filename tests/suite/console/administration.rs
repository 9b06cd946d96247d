//! What an admin and an installation owner do, in a browser: from the invitation to the removal, and a new tenant.

use super::{NO_SCRIPTS, signed_in};
use crate::support::{
    Backend,
    chromium::{Browser, DESKTOP, Look},
    spawn,
};

fn an_invited_person_joins_and_leaves_a_key_behind(look: Look) {
    let app = spawn(Backend::Sqlite);
    let ada = signed_in(&app, "ada", look);
    ada.goto("/t/acme/members/invite");
    ada.fill("E-mail", "newcomer@acme.example");
    ada.click("checkbox", "Developer own keys");
    ada.click("button", "Send invitation");
    ada.sees("Invitation for newcomer@acme.example");
    let link = ada.evaluate("return document.getElementById('c-link').innerText").as_str().unwrap().to_owned();
    ada.goto("/t/acme/members");
    ada.sees("newcomer@acme.example");

    let newcomer = Browser::open(&app.url, look);
    newcomer.goto(link.strip_prefix(&app.url).unwrap());
    newcomer.sees("Acme");
    newcomer.fill("Your name", "Nele Newcomer");
    newcomer.fill("New password", "a kettle under the old pier");
    newcomer.click("button", "Join");
    newcomer.wait_until(|path| !path.starts_with("/invite"));
    newcomer.goto("/t/acme/keys/new");
    newcomer.fill("Name (optional)", "First of Nele");
    newcomer.click("button", "Create key");
    newcomer.sees("Save the new token");
    let token = newcomer.evaluate("return document.getElementById('c-tok').innerText").as_str().unwrap().to_owned();
    assert_eq!(app.verify(&token), "valid");

    ada.goto("/t/acme/members");
    ada.click("link", "Nele Newcomer");
    ada.click("link", "Suspend…");
    ada.click("button", "Suspend member");
    ada.sees("Suspended");
    assert_eq!(app.verify(&token), "owner_inactive");
    ada.click("link", "Remove…");
    ada.sees("Remove Nele Newcomer?");
    ada.choose("For all of them", "Hand over to CI (service account)");
    ada.click("button", "Remove member");
    ada.click("button", "Remove Nele Newcomer");
    ada.wait_until(|path| path == "/t/acme/members");
    assert_eq!(app.verify(&token), "valid", "the service account has it now");
    newcomer.goto("/profile");
    newcomer.wait_until(|path| path.starts_with("/login"));
}

#[test]
fn an_invited_person_joins_and_leaves_a_key_behind_with_scripts() {
    an_invited_person_joins_and_leaves_a_key_behind(DESKTOP);
}

#[test]
fn an_invited_person_joins_and_leaves_a_key_behind_without_scripts() {
    an_invited_person_joins_and_leaves_a_key_behind(NO_SCRIPTS);
}

#[test]
fn the_installation_owner_makes_a_tenant_and_stops_a_key_in_another() {
    let app = spawn(Backend::Sqlite);
    let root = signed_in(&app, "root", DESKTOP);
    root.goto("/installation/tenants");
    root.sees("Globex");
    root.click("link", "Create tenant");
    root.fill("Name", "Initech");
    root.fill("Address", "initech");
    root.fill("E-mail of its Tenant admin", "boss@initech.example");
    root.click("button", "Create tenant");
    root.sees("boss@initech.example");
    root.goto("/installation/tenants");
    root.sees("Initech");
    root.goto("/installation/keys");
    root.sees("key of gus");
    root.click("link", "key of gus");
    root.click("link", "Revoke…");
    root.click("button", "Revoke key");
    root.sees("Revoked");
    assert!(!root.text().contains("Renew"), "the installation owner extends nothing");
    assert_eq!(root.complaints(), Vec::<String>::new());
}
