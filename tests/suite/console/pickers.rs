//! Pickers of very many, in a browser: they search while one types.

use keyward::store::{members, tenants};

use super::{PHONE, signed_in};
use crate::support::{Backend, TestApp, chromium::DESKTOP, spawn};

/// Sixty more service accounts, and an admin who may make keys for all.
fn sixty(app: &TestApp) {
    let acme = app.fixture.tenants["acme"];
    app.write(|tx| {
        let tenant = tenants::get(tx, acme)?;
        let settings = keyward::domain::tenant::Settings { admins_manage_all: true, ..tenant.settings.clone() };
        tenants::save_settings(tx, &tenant, &settings)?;
        for number in 0..60 {
            members::create(tx, acme, None, &format!("Zed {number:02}"), "zed@machines.example")?;
        }
        Ok(())
    });
}

#[test]
fn an_owner_is_found_while_one_types() {
    for look in [DESKTOP, PHONE] {
        let app = spawn(Backend::Sqlite);
        sixty(&app);
        let ada = signed_in(&app, "ada", look);
        ada.goto("/t/acme/keys/new");
        ada.fill("Name (optional)", "Returns portal");
        ada.is_accessible("a form with many owners");
        ada.fill("Find an owner by name or e-mail", "zed 59");
        ada.sees("1 member matches.");
        assert_eq!(ada.evaluate("return document.activeElement.id").as_str(), Some("find_owner"), "one types on");
        ada.choose("Owner", "Zed 59 (service account)");
        ada.sees("Same as owner");
        ada.is_accessible("a form with a found owner");
        ada.click("button", "Create key");
        ada.sees("Save the new token");
        ada.goto("/t/acme/keys");
        ada.is_accessible("the grid with many owners");
        ada.fill("Find an owner by name or e-mail", "zed 58");
        ada.sees("Zed 58 (service account)");
        ada.choose("Owner", "Zed 58 (service account)");
        ada.sees("No key matches");
        ada.fill("Find an owner by name or e-mail", "zed 59");
        ada.sees("Zed 59 (service account)");
        ada.choose("Owner", "Zed 59 (service account)");
        ada.sees("Returns portal");
        ada.wait_until(|path| path.starts_with("/t/acme/keys?owner="));
        assert!(ada.complaints().is_empty(), "{:?}", ada.complaints());
    }
}

#[test]
fn a_save_that_came_second_is_stopped_and_says_so_accessibly() {
    let app = spawn(Backend::Sqlite);
    let ada = signed_in(&app, "ada", DESKTOP);
    let path = format!("/t/acme/members/{}/access", app.fixture.members["acme/emil"]);
    ada.goto(&path);
    let (acme, emil) = (app.fixture.tenants["acme"], app.fixture.members["acme/emil"]);
    app.write(|tx| keyward::store::access::set_resources(tx, acme, emil, &keyward::domain::access::ResourceSet::All));
    ada.click("checkbox", "site:hamburg");
    ada.click("button", "Save access");
    ada.sees("Nothing was saved.");
    ada.is_accessible("a stopped save");
    ada.click("button", "Save access");
    ada.wait_until(|at| at != path);
    ada.sees("site:hamburg");
}
