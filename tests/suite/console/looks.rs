//! Every page, wide and narrow, light and dark: no violation of accessibility rules, no complaint of the browser, a screenshot.

use keyward::actions::credentials;

use super::{PHONE, signed_in};
use crate::installation_pages;
use crate::support::{
    Backend, TestApp,
    chromium::{Browser, DESKTOP, Look},
    spawn,
};

pub const LOOKS: [Look; 4] = [DESKTOP, PHONE, Look { dark: true, ..DESKTOP }, Look { dark: true, ..PHONE }];

/// Runs through pages in all looks, two browsers at a time; each has a server of its own, since its clock moves with each code.
fn in_all_looks(prepare: impl Fn(&TestApp) + Sync, pages: impl Fn(&TestApp) -> Vec<(&'static str, Vec<String>)> + Sync) {
    let (prepare, pages) = (&prepare, &pages);
    std::thread::scope(|scope| {
        for pair in LOOKS.chunks(2) {
            scope.spawn(move || {
                let app = &spawn(Backend::Sqlite);
                prepare(app);
                for look in pair {
                    for (person, paths) in pages(app) {
                        let browser = if person.is_empty() { Browser::open(&app.url, *look) } else { signed_in(app, person, *look) };
                        for path in paths {
                            browser.goto(&path);
                            browser.is_accessible(&path);
                            keeps_controls_in_reach(&browser, &path);
                            browser.screenshot(&format!("{person}{}", path.replace(['/', '?', '=', '+', '&'], "-")));
                            let expected = if path == "/nowhere" || path.contains("kwx_") || path.contains("kwr_") { 1 } else { 0 };
                            let complaints = browser.complaints();
                            assert!(complaints.len() <= expected, "{path}: {complaints:?}");
                        }
                    }
                }
            });
        }
    });
}

/// No button, link or field sticks out of the window or of its card, but where one can scroll; and an arrow lies in its list.
fn keeps_controls_in_reach(browser: &Browser, path: &str) {
    assert_eq!(out_of_reach(browser), serde_json::json!([]), "{path}");
}

/// What [`keeps_controls_in_reach`] finds wrong.
pub fn out_of_reach(browser: &Browser) -> serde_json::Value {
    browser.evaluate(
        "const box = e => e.getBoundingClientRect(), wrong = [];
         const scrolls = e => { for (let p = e.parentElement; p; p = p.parentElement) if (/auto|scroll/.test(getComputedStyle(p).overflowX)) return true; return false };
         for (const e of document.querySelectorAll('main :is(.btn, button, input, select, textarea)')) {
           const r = box(e); if (!r.width || e.closest('.vh, [popover]') || e.matches('.vh') || scrolls(e)) continue;
           const c = e.closest('.card') ? box(e.closest('.card')) : { left: 0, right: innerWidth };
           if (r.left < Math.max(0, c.left) - 1 || r.right > Math.min(innerWidth, c.right) + 1) wrong.push(e.outerHTML.slice(0, 200));
         }
         for (const e of document.querySelectorAll('main .selectwrap > .icon')) {
           const s = e.parentElement.querySelector('select'), r = box(e);
           if (s && r.width && (r.left < box(s).left || r.right > box(s).right)) wrong.push('the arrow of ' + (s.id || s.name));
         }
         return wrong",
    )
}

fn all(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn pages_about_keys_are_accessible() {
    let pages = |app: &TestApp| {
        let key = app.fixture.key("dora").id;
        let of_key = ["", "/edit", "/roll", "/renew", "/disable", "/revoke", "/delete", "/hand-over"].map(|page| format!("/t/acme/keys/{key}{page}"));
        let of_dora = [&of_key[..7], &all(&["/profile?tenant=acme", "/t/acme/keys/new", "/docs", "/t/acme/events"])].concat();
        let of_ada = all(&[
            "/t/acme",
            "/t/acme/keys",
            "/t/acme/keys?q=nothing+there",
            "/t/acme/keys/find",
            "/t/acme/explain",
            "/t/acme/gateways",
            "/t/acme/gateways/new",
        ]);
        let many = format!("/t/acme/keys/revoke?key={key}&key={}", app.fixture.key("emil").id);
        vec![("dora", of_dora), ("ada", [&of_ada[..], &[many]].concat())]
    };
    in_all_looks(|_| {}, pages);
}

#[test]
fn pages_of_an_account_are_accessible() {
    let pages = |app: &TestApp| {
        let reset = app.write(|tx| credentials::start_reset(tx, "emil@acme.example")).unwrap();
        let reset = format!("/password/reset/{}", reset.reveal());
        let open = [all(&["/login", "/password/forgot", "/nowhere", "/extend/kwx_nothing", "/password/reset/kwr_nothing"]), vec![reset]].concat();
        let own = all(&["/profile/totp", "/profile/password", "/profile/email", "/profile/tenants/acme/leave"]);
        vec![("", open), ("emil", own.clone()), ("dora", own)]
    };
    in_all_looks(|_| {}, pages);
}

#[test]
fn pages_of_administration_are_accessible() {
    let prepare = |app: &TestApp| {
        let ada = app.signed_in("ada");
        let key = app.fixture.key("dora").id;
        ada.submit(&format!("/t/acme/keys/{key}/disable"), &[]);
        ada.submit("/t/acme/roles/new", &[("name", "Key manager"), ("permission", "keys.read_any"), ("permission", "events.read")]);
        ada.submit("/t/acme/members/invite", &[("email", "new@acme.example")]);
        installation_pages::mail::failed(app, "root@acme.example", "forgotten");
    };
    let pages = |app: &TestApp| {
        let member = |name: &str, page: &str| format!("/t/acme/members/{}{page}", app.fixture.members[&format!("acme/{name}")]);
        let mut of_ada = all(&[
            "/t/acme/members",
            "/t/acme/members?kind=service",
            "/t/acme/members?q=nobody",
            "/t/acme/members/invite",
            "/t/acme/members/service",
            "/t/acme/roles",
            "/t/acme/roles/new",
            "/t/acme/access",
            "/t/acme/access/scopes/new",
            "/t/acme/access/scopes/edit?scope=shipments%3Aread",
            "/t/acme/access/scopes/remove?scope=shipments%3Aread",
            "/t/acme/access/roles",
            "/t/acme/access/roles/new",
            "/t/acme/access/resources",
            "/t/acme/access/resources/new",
            "/t/acme/settings",
            "/t/acme/settings/keys",
            "/t/acme/events",
            "/t/acme/events/1",
            "/t/acme/mail",
            "/t/acme/mail/1",
            "/docs/change-access",
        ]);
        of_ada.extend(["", "/suspend", "/remove", "/totp", "/access"].map(|page| member("dora", page)));
        of_ada.extend(["", "/access", "/remove"].map(|page| member("ci", page)));
        let key = app.fixture.key("emil").id;
        let of_root = [
            all(&[
                "/installation/tenants",
                "/installation/tenants/new",
                "/installation/tenants/acme/edit",
                "/installation/tenants/acme/suspend",
                "/installation/keys",
                "/installation/mail",
                "/installation/mail?state=sent",
            ]),
            ["", "/revoke", "/delete"].map(|page| format!("/installation/keys/{key}{page}")).to_vec(),
        ];
        vec![("ada", of_ada), ("root", of_root.concat())]
    };
    in_all_looks(prepare, pages);
}

#[test]
fn a_phone_shows_who_signed_in() {
    let app = spawn(Backend::Sqlite);
    let browser = signed_in(&app, "ada", PHONE);
    browser.goto("/t/acme/events");
    browser.sees("Signed in");
    let newest = browser.evaluate("const by = document.querySelector('#events .e-by'); return [by.textContent, by.offsetWidth > 0]");
    assert_eq!(newest, serde_json::json!(["Ada Example", true]));
}
