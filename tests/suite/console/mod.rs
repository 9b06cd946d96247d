//! The console in a real browser: by role and accessible name, with and without scripts, wide and narrow, light and dark.

mod administration;
mod looks;
mod open;
mod pickers;

use crate::support::{
    Backend, TestApp,
    chromium::{Browser, DESKTOP, Look},
    spawn,
};

const PHONE: Look = Look { width: 390, ..DESKTOP };
const NO_SCRIPTS: Look = Look { scripts: false, ..DESKTOP };

/// A browser in which a person of the fixture has signed in by hand.
pub fn signed_in(app: &TestApp, name: &str, look: Look) -> Browser {
    let person = app.person(name);
    let browser = Browser::open(&app.url, look);
    browser.goto("/login");
    browser.fill("E-mail", &person.email);
    browser.fill("Password", person.password);
    browser.click("button", "Continue");
    if person.totp.is_some() {
        browser.sees("Six-digit code");
        browser.fill("Six-digit code", &app.code(name));
        browser.click("button", "Sign in");
    }
    browser.wait_until(|path| !path.starts_with("/login"));
    browser
}

/// Makes a key on the form and takes its token from the one page that shows it.
fn make_key(browser: &Browser, name: &str) -> String {
    browser.goto("/t/acme/keys/new");
    browser.fill("Name (optional)", name);
    browser.click("button", "Create key");
    browser.sees("Save the new token");
    browser.evaluate("return document.getElementById('c-tok').innerText").as_str().unwrap().to_owned()
}

fn a_developer_makes_rolls_and_revokes_a_key_in_dialogs(look: Look) {
    let app = spawn(Backend::Sqlite);
    let browser = signed_in(&app, "dora", look);
    let token = make_key(&browser, "Nightly sync");
    assert_eq!(app.verify(&token), "valid");
    browser.evaluate("document.querySelector('[data-copy=\"#c-tok\"]').scrollIntoView({ block: 'center' })");
    browser.click("button", "Copy");
    browser.sees("Copied");
    assert_eq!(browser.copied(), token);
    let made_at = browser.path();
    browser.click("checkbox", "I have saved the token");
    browser.click("button", "Done");
    browser.sees("Nightly sync");
    assert!(!browser.text().contains(&token));
    browser.back();
    assert!(!browser.source().contains(&token), "{made_at} shows the token again");
    browser.goto("/profile?tenant=acme");
    browser.sees("2 of 5 keys");

    browser.click("button", "Actions for Nightly sync");
    browser.click("link", "Roll…");
    browser.sees("Roll “Nightly sync”?");
    browser.fill("Code from your authenticator app", "000000");
    browser.click("button", "Roll key");
    browser.sees("This code is not right");
    browser.fill("Code from your authenticator app", &app.code("dora"));
    browser.click("button", "Roll key");
    browser.sees("Save the new token");
    let rolled = browser.evaluate("return document.getElementById('c-tok').innerText").as_str().unwrap().to_owned();
    assert_eq!((app.verify(&token).as_str(), app.verify(&rolled).as_str()), ("valid_in_grace", "valid"));
    browser.click("checkbox", "I have saved the token");
    browser.click("button", "Done");
    browser.sees_no("Save the new token");
    assert!(!browser.text().contains(&rolled));

    browser.goto("/profile?tenant=acme");
    browser.click("button", "Actions for Nightly sync");
    browser.click("link", "Finish now…");
    browser.sees("Finish the overlap of “Nightly sync” now?");
    browser.click("button", "Stop old secret");
    browser.wait("the end of the overlap", || (app.verify(&token) == "rolled").then_some(()));
    assert_eq!(app.verify(&rolled), "valid");

    browser.goto("/profile?tenant=acme");
    browser.click("button", "Actions for Nightly sync");
    browser.click("link", "Revoke…");
    browser.sees("Revoke “Nightly sync”?");
    browser.click("button", "Revoke key");
    browser.sees("Revoked");
    assert_eq!((app.verify(&token).as_str(), app.verify(&rolled).as_str()), ("revoked", "revoked"));
    assert_eq!(browser.complaints().into_iter().filter(|words| !words.contains("422")).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_developer_makes_rolls_and_revokes_a_key_in_dialogs_on_a_desktop() {
    a_developer_makes_rolls_and_revokes_a_key_in_dialogs(DESKTOP);
}

#[test]
fn a_developer_makes_rolls_and_revokes_a_key_in_dialogs_on_a_phone_at_night() {
    a_developer_makes_rolls_and_revokes_a_key_in_dialogs(Look { dark: true, ..PHONE });
}

#[test]
fn the_same_works_without_scripts() {
    let app = spawn(Backend::Sqlite);
    let browser = signed_in(&app, "dora", NO_SCRIPTS);
    let token = make_key(&browser, "By hand");
    browser.click("checkbox", "I have saved the token");
    browser.click("button", "Done");
    browser.sees("By hand");
    browser.click("link", "Roll");
    browser.fill("Code from your authenticator app", &app.code("dora"));
    browser.click("button", "Roll key");
    browser.sees("Save the new token");
    assert_eq!(app.verify(&token), "valid_in_grace");
    browser.click("checkbox", "I have saved the token");
    browser.click("button", "Done");
    browser.click("link", "Disable");
    browser.click("button", "Disable key");
    browser.sees("Disabled");
    assert_eq!(app.verify(&token), "disabled");
}

#[test]
fn the_grid_filters_while_one_types_and_its_address_says_so() {
    let app = spawn(Backend::Sqlite);
    let browser = signed_in(&app, "ada", DESKTOP);
    browser.goto("/t/acme/keys");
    browser.sees("1–3 of 3");
    browser.fill("Filter by name, ID, owner, access role or comment", "of emil");
    browser.sees("1–1 of 1");
    browser.wait_until(|path| path.contains("q=of+emil") || path.contains("q=of%20emil"));
    browser.reload();
    browser.sees("1–1 of 1");
    browser.fill("Filter by name, ID, owner, access role or comment", "nobody has this");
    browser.sees("No key matches");
    browser.click("link", "Clear the filter");
    browser.sees("1–3 of 3");
    browser.click("checkbox", "Select key of emil");
    browser.sees("1 key selected");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
