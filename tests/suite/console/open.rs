//! What is open for a moment: dialogs, menus, the one page that shows a token, and the pages of links. One browser looks at each wide
//! and narrow, light and dark.

use keyward::{actions::set_up, domain::mail::Role};

use super::{PHONE, looks, make_key, signed_in};
use crate::{
    extend,
    support::{
        Backend, TestApp,
        chromium::{Browser, DESKTOP, Look},
        spawn, spawn_empty, spawn_through,
        wire::{Cut, Wire},
    },
};

/// Looks at things with one browser, and says at the end all that was wrong with them.
struct Looker {
    browser: Browser,
    wrong: Vec<String>,
}

impl Looker {
    fn new(browser: Browser) -> Self {
        Self { browser, wrong: Vec::new() }
    }

    /// Looks at the page that is open, with what is open on it, in every look.
    fn look(&mut self, what: &str) {
        self.look_in(&looks::LOOKS, what);
    }

    fn look_in(&mut self, all: &[Look], what: &str) {
        for look in all.iter().copied() {
            self.browser.look_as(look);
            // A menu stays with its button, which a narrow window may have scrolled away.
            self.browser.evaluate("const id = document.querySelector(':popover-open')?.id; document.querySelector(`[popovertarget='${id}']`)?.scrollIntoView({ block: 'nearest' })");
            let at = format!("{what} at {} px, dark {}", look.width, look.dark);
            self.wrong.extend(self.browser.violations().into_iter().map(|violation| format!("{at}: {violation}")));
            let outside = looks::out_of_reach(&self.browser);
            if outside != serde_json::json!([]) {
                self.wrong.push(format!("{at}: {outside}"));
            }
            let layer = self.browser.evaluate(
                "const layer = document.querySelector('dialog[open], :popover-open'), wrong = [];
                 const root = document.documentElement;
                 const h = document.activeElement;
                 if (h.matches('h1') && getComputedStyle(h).outlineStyle !== 'none') wrong.push('a ring around a heading, which takes no input');
                 const lead = document.querySelector('.solo h1'), next = lead?.nextElementSibling;
                 if (next?.matches('form') && next.getBoundingClientRect().top - lead.getBoundingClientRect().bottom < 12) wrong.push('a heading that sticks to its form');
                 if (root.scrollWidth > root.clientWidth) wrong.push('scrolls sideways by ' + (root.scrollWidth - root.clientWidth));
                 if (!layer) return wrong;
                 const r = layer.getBoundingClientRect();
                 if (r.left < -1 || r.top < -1 || r.right > innerWidth + 1 || r.bottom > innerHeight + 1) wrong.push('out of the window: ' + JSON.stringify(r));
                 for (const e of layer.querySelectorAll('a, button, input, select, textarea')) {
                   const c = e.getBoundingClientRect();
                   if (c.width && !e.closest('.vh') && (c.left < r.left - 1 || c.right > r.right + 1)) wrong.push('sticks out: ' + e.outerHTML.slice(0, 160));
                 }
                 return wrong",
            );
            if layer != serde_json::json!([]) {
                self.wrong.push(format!("{at}: {layer}"));
            }
            if look.dark == (look.width < 500) {
                self.browser.screenshot(&format!("open-{}", what.replace(' ', "-")));
            }
        }
        self.browser.look_as(DESKTOP);
    }

    /// Opens a page, presses what opens a dialog there, and looks at it.
    fn dialog(&mut self, what: &str, path: &str, steps: &[(&str, &str)]) {
        self.browser.goto(path);
        for (role, name) in steps {
            self.browser.click(role, name);
        }
        self.opens("dialog[open]", what);
        self.look(what);
    }

    /// Opens a page and the menu of a button, and looks at it.
    fn menu(&mut self, what: &str, path: &str, button: &str) {
        self.browser.goto(path);
        self.browser.click("button", button);
        self.opens(":popover-open", what);
        self.look(what);
    }

    fn opens(&self, selector: &str, what: &str) {
        for _ in 0..100 {
            if self.browser.evaluate(&format!("return !!document.querySelector('{selector}')")) == serde_json::json!(true) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{what} did not open: {}", self.browser.text());
    }

    /// Looks at a page.
    fn page(&mut self, what: &str, path: &str) {
        self.browser.goto(path);
        self.look(what);
    }

    /// Fails with all that was wrong.
    fn finds_nothing_wrong(self) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
    }
}

#[test]
fn what_opens_over_ones_own_keys() {
    let app = spawn(Backend::Sqlite);
    let mut dora = Looker::new(signed_in(&app, "dora", DESKTOP));
    let own = "/profile?tenant=acme";
    let url = format!("/t/acme/keys/{}", app.fixture.key("dora").id);
    dora.menu("menu of a key", own, "Actions for key of dora");
    dora.menu("account menu", own, "DE, account menu of Dora Example");
    dora.menu("tenants", own, "Acme");
    dora.browser.look_as(PHONE);
    dora.browser.goto(own);
    dora.browser.click("button", "Menu");
    dora.look_in(&[PHONE, Look { dark: true, ..PHONE }], "menu of a phone");
    for (what, name) in [("roll", "Roll…"), ("renew", "Renew…"), ("disable", "Disable…"), ("revoke", "Revoke…"), ("delete", "Delete…")] {
        dora.dialog(what, own, &[("button", "Actions for key of dora"), ("link", name)]);
    }
    dora.dialog("roll with a wrong code", &url, &[("link", "Roll")]);
    dora.browser.fill("Code from your authenticator app", "000000");
    dora.browser.click("button", "Roll key");
    dora.browser.sees("This code is not right");
    dora.look("roll with a wrong code");
    dora.browser.fill("Code from your authenticator app", &app.code("dora"));
    dora.browser.click("button", "Roll key");
    dora.browser.sees("Save the new token");
    dora.look("token after a roll");
    dora.page("key in an overlap", &url);
    dora.menu("menu of a key in an overlap", &url, "More actions for key of dora");
    dora.dialog("finish", &url, &[("link", "Finish now…")]);
    dora.dialog("roll again", &url, &[("link", "Roll")]);
    dora.page("roll again as a page", &format!("{url}/roll"));
    make_key(&dora.browser, "Nightly sync");
    dora.look("token of a new key");
    dora.dialog("find by token", own, &[("link", "Find by token")]);
    dora.browser.fill("Token", &app.fixture.key("dora").token);
    dora.browser.click("button", "Find key");
    dora.browser.sees("This token still works");
    dora.look("found by an old token");
    dora.finds_nothing_wrong();
}

#[test]
fn what_opens_over_the_grid_and_administration() {
    let app = spawn(Backend::Sqlite);
    app.gateway("acme");
    let mut ada = Looker::new(signed_in(&app, "ada", DESKTOP));
    let grid = "/t/acme/keys";
    ada.menu("columns", grid, "Columns");
    ada.menu("menu of a row", grid, "Actions for key of emil");
    let two = [("checkbox", "Select key of emil"), ("checkbox", "Select key of dora")];
    ada.browser.goto(grid);
    for (role, name) in two {
        ada.browser.click(role, name);
    }
    ada.look("two keys selected");
    ada.dialog("revoke many", grid, &[two[0], two[1], ("button", "Revoke…")]);
    ada.dialog("disable many", grid, &[two[0], two[1], ("button", "Disable")]);
    ada.dialog("revoke of another", grid, &[("button", "Actions for key of emil"), ("link", "Revoke…")]);
    ada.dialog("service account", "/t/acme/members", &[("link", "Create service account")]);
    ada.menu("menu of a member", "/t/acme/members", "Actions for Dora Example");
    ada.dialog("suspend", "/t/acme/members", &[("button", "Actions for Dora Example"), ("link", "Suspend…")]);
    ada.dialog("scope", "/t/acme/access", &[("link", "Add scope")]);
    ada.dialog("turn keys off", "/t/acme/settings", &[("link", "Turn off…")]);
    ada.menu("menu of a gateway", "/t/acme/gateways", "Actions for edge");
    ada.dialog("revoke gateway", "/t/acme/gateways", &[("button", "Actions for edge"), ("link", "Revoke…")]);
    ada.browser.goto("/t/acme/gateways");
    ada.browser.click("button", "Actions for edge");
    ada.browser.click("link", "Roll…");
    ada.browser.wait_until(|path| path.ends_with("/roll"));
    ada.look("roll a gateway");
    ada.browser.goto("/t/acme/gateways/new");
    ada.browser.fill("Name", "edge two");
    ada.browser.fill("Code from your authenticator app", &app.code("ada"));
    ada.browser.click("button", "Create credential");
    ada.browser.sees("kwg_");
    ada.look("token of a gateway");
    ada.browser.goto("/t/acme/members/invite");
    ada.browser.fill("E-mail", "new@acme.example");
    ada.browser.click("button", "Send invitation");
    ada.browser.sees("Invitation for new@acme.example");
    ada.look("invited");
    ada.finds_nothing_wrong();
}

/// The pages that somebody sees who is not signed in.
#[test]
fn pages_of_links_and_of_signing_in() {
    let app = spawn(Backend::Sqlite);
    let mut reader = Looker::new(Browser::open(&app.url, DESKTOP));
    let dora = app.person("dora");
    reader.page("sign in", "/login");
    reader.browser.fill("E-mail", &dora.email);
    reader.browser.fill("Password", "tall ships sail at dusk");
    reader.browser.click("button", "Continue");
    reader.browser.sees("is not right");
    reader.look("sign in with a wrong password");
    reader.browser.fill("Password", dora.password);
    reader.browser.click("button", "Continue");
    reader.browser.sees("Six-digit code");
    reader.look("code");
    reader.browser.fill("Six-digit code", "000000");
    reader.browser.click("button", "Sign in");
    reader.browser.sees("This code is not right");
    reader.look("code that is wrong");
    reader.page("recovery code", "/login/code?with=recovery");

    let invited = app.signed_in("ada").submit("/t/acme/members/invite", &[("email", "new@acme.example")]);
    let invitation = invited.find("#c-link").unwrap().replace(&app.url, "");
    let mut guest = Looker::new(Browser::open(&app.url, DESKTOP));
    guest.page("invitation", &invitation);
    guest.page("invitation that is dead", "/invite/kwi_nothing");

    extend::ten_days_before(&app);
    extend::name_extra(&app, "ops@acme.example");
    let (_, extend) = extend::mailed(&app, "ops@acme.example", Role::Extra);
    guest.page("extend", &extend);
    guest.page("stop", &format!("{extend}/stop"));
    guest.browser.goto(&extend);
    guest.browser.click("button", "Extend by 14 days");
    guest.browser.sees("Extended by 14 days");
    guest.look("extended");
    guest.page("extend that is used", &extend);
    guest.browser.goto(&format!("{extend}/stop"));
    guest.browser.click("button", "No more of these");
    guest.browser.sees("gets no more notices");
    guest.look("stopped");
    guest.wrong.append(&mut reader.wrong);
    guest.finds_nothing_wrong();
}

#[test]
fn pages_of_the_first_run() {
    let app = spawn_empty(Backend::Sqlite);
    let token = app.write(set_up::start).unwrap();
    let mut owner = Looker::new(Browser::open(&app.url, DESKTOP));
    owner.page("set up", &format!("/setup/{}", token.reveal()));
    owner.browser.click("button", "Create owner and tenant");
    for (name, value) in [
        ("Name", "Olga Owner"),
        ("E-mail", "olga@example.com"),
        ("New password", "kettle pier nine"),
        ("Name of the tenant", "Meridian Logistics"),
        ("Address", "meridian"),
        ("Name of the member", "Ines Ferreira"),
        ("E-mail of the member", "olga@example.com"),
    ] {
        owner.browser.fill(name, value);
    }
    owner.browser.click("button", "Create owner and tenant");
    owner.browser.sees("another address");
    owner.look("set up with errors");
    owner.browser.fill("E-mail of the member", "ines@meridian.example");
    owner.browser.fill("New password", "kettle pier nine");
    owner.browser.click("button", "Create owner and tenant");
    owner.browser.sees("Back up the secret file");
    owner.look("set up done");
    owner.page("set up that is used", &format!("/setup/{}", token.reveal()));
    owner.page("two-step sign-in that one must set up", "/profile/totp");
    owner.finds_nothing_wrong();
}

/// Where nobody can tell whether something was done, a dialog does not say that it was not.
#[test]
fn a_dialog_whose_answer_is_lost_does_not_say_that_nothing_happened() {
    let wire = Wire::new();
    let app: TestApp = spawn_through(&wire);
    let mut dora = Looker::new(signed_in(&app, "dora", DESKTOP));
    let url = format!("/t/acme/keys/{}", app.fixture.key("dora").id);
    dora.dialog("revoke before the outage", &url, &[("button", "More actions for key of dora"), ("link", "Revoke…")]);
    wire.cut("key.revoke", Cut::After);
    dora.browser.click("button", "Revoke key");
    dora.browser.sees("look whether it was done before you try again");
    assert!(wire.is_cut() && !dora.browser.text().contains("Nothing was changed"));
    dora.look("lost answer");
    dora.browser.reload();
    dora.browser.sees("Revoked");
    let other = format!("/t/acme/keys/{}/disable", app.fixture.key("ci").id);
    dora.browser.goto(&other);
    wire.cut("key.disable", Cut::After);
    dora.browser.click("button", "Disable key");
    dora.browser.sees("Keyward cannot reach its database");
    dora.look("lost answer as a page");
    dora.browser.click("link", "Go back");
    dora.browser.wait_until(|path| path == other);
    dora.finds_nothing_wrong();
}

/// A table that is wider than a phone is pushed aside first; the menu of its last column then opens where it can be seen.
#[test]
fn a_menu_in_a_table_that_was_pushed_aside_can_be_used_on_a_phone() {
    let app = spawn(Backend::Sqlite);
    app.gateway("acme");
    let ada = signed_in(&app, "ada", PHONE);
    for (path, button, item) in [
        ("/t/acme/gateways", "Actions for edge", "Revoke…"),
        ("/t/acme/members", "Actions for Nora Example", "Suspend…"),
        ("/t/acme/keys", "Actions for key of dora", "Revoke…"),
    ] {
        ada.goto(path);
        ada.click("button", button);
        let seen = ada.wait("a menu", || {
            let seen = ada.evaluate(
                "const menu = document.querySelector(':popover-open'); if (!menu) return null;
                 const r = menu.getBoundingClientRect(), at = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
                 return { inside: r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight, seen: menu.contains(at), r }",
            );
            (!seen.is_null()).then_some(seen)
        });
        assert!(seen["inside"] == true && seen["seen"] == true, "{path}: {seen}");
        ada.click("link", item);
        ada.sees("?");
        assert!(ada.has("button", "Cancel"), "{path}: {}", ada.text());
    }
}
