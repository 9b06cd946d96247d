//! The link of an expiry notice: what it shows, what it does, and what becomes of it.

use chrono::Duration;
use keyward::{
    domain::{
        ids::KeyId,
        mail::{Mail, Role},
        time::{Time, days},
    },
    store::{
        events, extensions, keys, members,
        outbox::{self, NewNotice, Notice, To},
        tenants,
    },
};

use crate::support::{TestApp, browser::Page};

/// dora's key of 12 months, made 60 days before the start, expires on 22 Sep 2027, 10:00 UTC; this is 10 days before.
pub fn ten_days_before(app: &TestApp) {
    app.advance(days(295));
}

/// The expiry of dora's key.
fn expiry(app: &TestApp) -> Time {
    key(app).life.expires_at.unwrap()
}

fn key(app: &TestApp) -> keyward::domain::key::Key {
    let account = app.person("dora").account;
    app.read(|db| {
        let acting = members::acting(db, "acme", account)?.unwrap();
        Ok(keys::find(db, &acting.reach(), app.fixture.key("dora").id)?.unwrap())
    })
}

/// A notice of dora's key for a recipient, with the address of its link.
pub fn mailed(app: &TestApp, recipient: &str, role: Role) -> (Notice, String) {
    let (acme, id, expires_at) = (app.fixture.tenants["acme"], app.fixture.key("dora").id, expiry(app));
    let to = To { address: recipient.to_owned(), name: String::new() };
    let line = NewNotice { key: id, stage: "before_14".into(), expires_at, role };
    let now = app.now();
    app.write(|tx| outbox::add_notices(tx, acme, &to, now, &[line]));
    let notice = notice_to(app, id, recipient);
    let token = extensions::token(&app.app.secrets, &notice);
    let url = format!("/extend/{}", token.reveal());
    (notice, url)
}

fn notice_to(app: &TestApp, key: KeyId, recipient: &str) -> Notice {
    app.read(|db| {
        let mails = outbox::list(db, app.fixture.tenants["acme"], None, None, 100)?;
        let mut found = Vec::new();
        for mail in mails {
            found.extend(outbox::notices_of(db, mail.id)?);
        }
        found.retain(|notice| notice.key == key && notice.recipient == recipient);
        Ok(found.into_iter().max_by_key(|notice| notice.id).unwrap())
    })
}

fn mails_to(app: &TestApp, recipient: &str) -> Vec<Mail> {
    let rows = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 100));
    rows.into_iter().filter(|row| row.to.address == recipient && row.mail != Mail::Digest).map(|row| row.mail).collect()
}

pub fn name_extra(app: &TestApp, address: &str) {
    let dora = app.signed_in("dora");
    let edit = format!("/t/acme/keys/{}/edit", app.fixture.key("dora").id);
    assert_eq!(dora.submit(&edit, &[("notify", address)]).status, 303);
}

fn gone(page: &Page, words: &str) {
    assert_eq!(page.status, 410, "{}", page.text());
    assert!(page.says(words), "{}", page.text());
}

both! {
    fn a_link_shows_and_extends_when_the_button_is_pressed(app) {
        ten_days_before(app);
        let (_, url) = mailed(app, "dora@acme.example", Role::Owner);
        let reader = app.browser();
        let page = reader.open(&url);
        assert_eq!(page.status, 200);
        assert!(page.says("6 Oct 2027, 10:00 UTC") && page.says("22 Sep 2027, 10:00 UTC"), "{}", page.text());
        assert!(page.says("key of dora") && page.says("Acme") && page.says(app.fixture.key("dora").id.as_str()));
        assert!(!page.body.contains("Dora") && !page.body.contains("dora@"), "whose key it is stays unsaid");
        assert_eq!(page.header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(page.header("referrer-policy").as_deref(), Some("no-referrer"));
        assert_eq!(page.header("x-robots-tag").as_deref(), Some("noindex"));
        assert_eq!(expiry(app), "2027-09-22T10:00:00Z".parse::<Time>().unwrap(), "looking changes nothing");
        let done = reader.send(&page, &page.path, &[]);
        assert!(done.status == 200 && done.says("Extended by 14 days") && done.says("6 Oct 2027, 10:00 UTC"), "{}", done.text());
        assert_eq!((expiry(app), key(app).extensions), ("2027-10-06T10:00:00Z".parse::<Time>().unwrap(), 1));
        assert_eq!(key(app).lifetime.unwrap().to_string(), "P12M", "the original lifetime stays");
        let event = app.read(|db| events::of_key(db, app.fixture.tenants["acme"], app.fixture.key("dora").id, 1)).remove(0);
        assert_eq!((event.action.word(), event.actor.kind.as_str(), event.actor.name.as_str()), ("key.extend", "link", "dora@acme.example"));
        gone(&reader.open(&url), "You have extended this key with this link already");
        gone(&reader.post(&url, &[]), "It now expires on 6 Oct 2027, 10:00 UTC");
        assert!(mails_to(app, "dora@acme.example").is_empty(), "the owner knows what they did");
    }

    fn the_token_leaves_the_address_at_once(app) {
        ten_days_before(app);
        name_extra(app, "ops@acme.example");
        let (owners_notice, owners) = mailed(app, "dora@acme.example", Role::Owner);
        let (extras_notice, extras) = mailed(app, "ops@acme.example", Role::Extra);
        let reader = app.browser();
        for (notice, link, end) in [(&owners_notice, &owners, ""), (&extras_notice, &extras, ""), (&extras_notice, &extras, "/stop")] {
            let first = reader.get(&format!("{link}{end}"));
            assert_eq!((first.status, first.location()), (303, Some(format!("/extend/open/{}{end}", notice.id.0))));
            for (name, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-robots-tag", "noindex")] {
                assert_eq!(first.header(name).as_deref(), Some(value));
            }
            let cookie = first.headers("set-cookie").into_iter().find(|cookie| cookie.contains(&link[8..])).unwrap();
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Max-Age=3600"), "{cookie}");
            let page = reader.follow(first);
            assert_eq!(page.status, 200);
            assert!(!page.body.contains("kwx_"), "{}", page.body);
            assert_eq!(page.header("referrer-policy").as_deref(), Some("no-referrer"));
        }
        // Each page acts by its own link, whichever was opened last.
        let page = reader.get(&format!("/extend/open/{}", owners_notice.id.0));
        // The number opens nothing for others, and nothing else here.
        for other in [app.browser(), app.signed_in("dora")] {
            other.open("/login");
            for end in ["", "/stop"] {
                let path = format!("/extend/open/{}{end}", owners_notice.id.0);
                let page = other.get(&path);
                assert!(page.status == 404 && page.says("Open the link in the mail again"), "{}", page.text());
                assert_eq!(other.post(&path, &[]).status, 404);
            }
        }
        assert_eq!(reader.get("/extend/open/987654").status, 404);
        assert_eq!(reader.send(&page, &page.path, &[]).status, 200);
        let event = app.read(|db| events::of_key(db, app.fixture.tenants["acme"], app.fixture.key("dora").id, 1)).remove(0);
        assert_eq!((event.action.word(), event.actor.name.as_str()), ("key.extend", "dora@acme.example"));
    }

    fn in_the_grace_it_extends_from_now(app) {
        ten_days_before(app);
        let (_, url) = mailed(app, "dora@acme.example", Role::Owner);
        app.advance(days(13) + Duration::hours(2));
        assert_eq!(app.verify(&app.fixture.key("dora").token), "valid_in_grace");
        let done = app.browser().press(&url);
        assert!(done.says("9 Oct 2027, 12:00 UTC"), "{}", done.text());
        assert_eq!(app.verify(&app.fixture.key("dora").token), "valid");
    }

    fn one_expiry_is_extended_once_whoever_presses(app) {
        ten_days_before(app);
        name_extra(app, "ops@acme.example");
        let (_, owners) = mailed(app, "dora@acme.example", Role::Owner);
        let (_, extras) = mailed(app, "ops@acme.example", Role::Extra);
        assert_eq!(app.browser().press(&extras).status, 200);
        let page = app.browser().open(&owners);
        gone(&page, "extended by another recipient");
        assert!(!page.body.contains("ops@"), "without the address");
        let told = mails_to(app, "dora@acme.example");
        assert!(matches!(told.as_slice(), [Mail::KeyExtended { .. }]), "{told:?}");
        // The next expiry has a link of its own, until the tenant's three are used up.
        for (n, status) in [(2, 200), (3, 200), (4, 410)] {
            let (_, url) = mailed(app, "dora@acme.example", Role::Owner);
            let reader = app.browser();
            assert_eq!(reader.open(&url).status, status, "extension {n}");
            if status == 200 {
                assert_eq!(reader.press(&url).status, 200);
            } else {
                gone(&reader.open(&url), "as often as its tenant allows");
            }
        }
        assert_eq!(key(app).extensions, 3);
    }

    fn a_scanner_that_follows_every_link_and_sends_every_form_twice_extends_once(app) {
        ten_days_before(app);
        name_extra(app, "ops@acme.example");
        let urls: Vec<String> = [("dora@acme.example", Role::Owner), ("ops@acme.example", Role::Extra)].map(|(to, role)| mailed(app, to, role).1).into();
        let before = expiry(app);
        std::thread::scope(|scope| {
            for url in &urls {
                for _ in 0..10 {
                    scope.spawn(move || {
                        let scanner = app.browser();
                        for _ in 0..2 {
                            let page = scanner.open(url);
                            let linked = page.attributes("a[href^='/extend/']", "href");
                            for link in linked {
                                scanner.open(&link);
                            }
                            if page.status == 200 {
                                scanner.send(&page, &page.path, &[]);
                                scanner.send(&page, &page.path, &[]);
                            }
                        }
                    });
                }
            }
        });
        assert_eq!((expiry(app), key(app).extensions), (before + days(14), 1));
        let all = app.read(|db| events::of_key(db, app.fixture.tenants["acme"], app.fixture.key("dora").id, 100));
        assert_eq!(all.iter().filter(|event| event.action.word() == "key.extend").count(), 1);
        assert_eq!(key(app).notice_recipients.len(), 1, "following the link to *No more of these* takes nobody off");
    }

    fn a_link_that_no_longer_works_says_why(app) {
        ten_days_before(app);
        let (acme, id) = (app.fixture.tenants["acme"], app.fixture.key("dora").id);
        let (_, url) = mailed(app, "dora@acme.example", Role::Owner);
        let dora = app.signed_in("dora");
        let page = |end: &str| format!("/t/acme/keys/{id}{end}");
        let set = |change: fn(&mut keyward::domain::tenant::Settings)| {
            app.write(|tx| {
                let tenant = tenants::get(tx, acme)?;
                let mut settings = tenant.settings.clone();
                change(&mut settings);
                tenants::save_settings(tx, &tenant, &settings)
            });
        };
        let reader = app.browser();
        let says = |words: &str| gone(&reader.open(&url), words);

        set(|settings| settings.keys_enabled = false);
        says("API keys are turned off for this tenant");
        set(|settings| settings.keys_enabled = true);
        set(|settings| settings.extensions = 0);
        says("as often as its tenant allows");
        set(|settings| settings.extensions = 3);
        app.write(|tx| members::set_suspended(tx, acme, app.fixture.members["acme/dora"], true));
        says("suspended or removed");
        app.write(|tx| members::set_suspended(tx, acme, app.fixture.members["acme/dora"], false));
        dora.submit(&page("/disable"), &[]);
        says("This key is disabled");
        dora.submit(&page("/enable"), &[]);
        assert_eq!(reader.open(&url).status, 200, "whole again");
        dora.submit(&page("/roll"), &[("totp", &app.code("dora"))]);
        assert_eq!(reader.open(&url).status, 200, "a roll that keeps the expiry keeps the link");
        dora.submit(&page("/renew"), &[]);
        says("has been changed since the mail was sent. It is now 12 Sep 2028");
        dora.submit(&page("/revoke"), &[]);
        says("This key was revoked");
        dora.submit(&page("/delete"), &[("confirm", "delete")]);
        says("This key was deleted");
        assert!(reader.open(&url).says("key of dora"), "the mail named it, too");
    }

    fn a_renew_starts_the_count_of_extensions_anew(app) {
        ten_days_before(app);
        let ada = app.signed_in("ada");
        assert_eq!(ada.submit_to("/t/acme/settings", "/t/acme/settings/life", &[("extensions", "1")]).status, 303);
        let (_, first) = mailed(app, "dora@acme.example", Role::Owner);
        let reader = app.browser();
        assert_eq!(reader.press(&first).status, 200);
        assert_eq!(key(app).extensions, 1);
        // Past the first extension of 14 days.
        app.advance(days(14));
        let (_, second) = mailed(app, "dora@acme.example", Role::Owner);
        gone(&reader.open(&second), "as often as its tenant allows");
        let dora = app.signed_in("dora");
        assert_eq!(dora.submit(&format!("/t/acme/keys/{}/renew", app.fixture.key("dora").id), &[]).status, 303);
        assert_eq!(key(app).extensions, 0);
        // Ten days before the new one.
        let renewed = expiry(app);
        app.advance(renewed - app.now() - days(10));
        let (_, third) = mailed(app, "dora@acme.example", Role::Owner);
        assert_eq!(reader.press(&third).status, 200);
        assert_eq!((expiry(app), key(app).extensions), (renewed + days(14), 1));
    }

    fn a_link_dies_with_the_grace(app) {
        ten_days_before(app);
        let (_, url) = mailed(app, "dora@acme.example", Role::Owner);
        // The expiry of 22 Sep 10:00 and 14 days of grace.
        app.advance(days(24) - Duration::seconds(1));
        assert_eq!(app.browser().open(&url).status, 200);
        app.advance(Duration::seconds(1));
        gone(&app.browser().open(&url), "The grace of this key ended on 6 Oct 2027, 10:00 UTC");
    }

    fn what_was_never_sent_is_not_known(app) {
        ten_days_before(app);
        let (notice, url) = mailed(app, "dora@acme.example", Role::Owner);
        let other = app.app.secrets.link(keyward::domain::token::Purpose::Extend, notice.id.0, &[]);
        let reset = app.app.secrets.link(keyward::domain::token::Purpose::Reset, notice.id.0, &[]);
        let cut = &url[..url.len() - 1];
        let reader = app.browser();
        for wrong in [format!("/extend/{}", other.reveal()), format!("/extend/{}", reset.reveal()), cut.to_owned(), "/extend/x".into(), format!("{cut}/stop")] {
            let page = reader.open(&wrong);
            assert_eq!(page.status, 404, "{wrong}");
            reader.get("/login");
            assert!(!page.says("key of dora"), "{wrong}");
            assert_eq!(reader.post(&wrong, &[]).status, 404, "{wrong}");
        }
        assert_eq!(reader.get(&url.replacen("/extend/", "/password/reset/", 1)).status, 410);
        // The token is in the database nowhere, and not in its row.
        assert!(!format!("{notice:?}").contains(&url[8..]));
    }

    fn an_owner_who_is_signed_in_is_offered_roll(app) {
        ten_days_before(app);
        let (_, url) = mailed(app, "dora@acme.example", Role::Owner);
        let roll = format!("/t/acme/keys/{}/roll", app.fixture.key("dora").id);
        let offers = |page: Page| page.attributes("a", "href").contains(&roll);
        assert!(offers(app.signed_in("dora").open(&url)));
        for other in ["emil", "ada", "gus"] {
            assert!(!offers(app.signed_in(other).open(&url)), "{other}");
        }
        assert!(!offers(app.browser().open(&url)));
    }

    fn an_extra_recipient_may_say_no_more_of_these(app) {
        ten_days_before(app);
        name_extra(app, "ops@acme.example, it@acme.example");
        let (_, owners) = mailed(app, "dora@acme.example", Role::Owner);
        let (_, extras) = mailed(app, "ops@acme.example", Role::Extra);
        let reader = app.browser();
        assert!(!reader.open(&owners).says("No more of these"));
        gone(&reader.open(&format!("{owners}/stop")), "not among the extra recipients");
        assert!(reader.open(&extras).says("No more of these"));
        let stop = format!("{extras}/stop");
        let page = reader.open(&stop);
        assert!(page.says("ops@acme.example is then taken off"), "{}", page.text());
        assert_eq!(key(app).notice_recipients.len(), 2, "looking changes nothing");
        let done = reader.send(&page, &page.path, &[]);
        assert!(done.status == 200 && done.says("gets no more notices"), "{}", done.text());
        assert_eq!(key(app).notice_recipients.iter().map(|address| address.as_str()).collect::<Vec<_>>(), ["it@acme.example"]);
        let told = mails_to(app, "dora@acme.example");
        assert!(matches!(told.as_slice(), [Mail::RecipientLeft { address, .. }] if address == "ops@acme.example"), "{told:?}");
        gone(&reader.open(&stop), "not among the extra recipients");
        assert_eq!(reader.open(&extras).status, 200, "the link itself still extends");
    }

    fn a_mail_program_may_unsubscribe_in_one_click(app) {
        ten_days_before(app);
        name_extra(app, "ops@acme.example");
        let (_, extras) = mailed(app, "ops@acme.example", Role::Extra);
        let stop = format!("{}{extras}/stop", app.url);
        let post = |url: &str, fields: [(&str, &str); 1], origin: Option<&str>| {
            let request = crate::support::browser::agent().post(url);
            let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
            request.send_form(fields).unwrap().status().as_u16()
        };
        let one_click = [("List-Unsubscribe", "One-Click")];
        // Without the words of RFC 8058, or from a browser on another site, nothing happens.
        assert_eq!(post(&stop, [("x", "y")], None), 403);
        assert_eq!(post(&stop, one_click, Some("https://evil.example")), 403);
        assert_eq!(post(&format!("{}{extras}", app.url), one_click, None), 403);
        assert_eq!(key(app).notice_recipients.len(), 1);
        assert_eq!(post(&stop, one_click, None), 200);
        assert!(key(app).notice_recipients.is_empty());
    }

    fn links_are_followed_only_so_often(app) {
        let reader = app.browser();
        let statuses: Vec<u16> = (0..302).map(|_| reader.get("/extend/kwx_none").status).collect();
        assert!(statuses[..300].iter().all(|status| *status == 404));
        assert_eq!(statuses[300..], [429, 429]);
        assert_eq!(reader.get("/extend/kwx_none").header("retry-after").as_deref(), Some("60"));
        app.advance(Duration::minutes(1));
        assert_eq!(reader.get("/extend/kwx_none").status, 404);
    }

    fn the_settings_say_how_often_links_extend(app) {
        let ada = app.signed_in("ada");
        assert_eq!(ada.open("/t/acme/settings").attributes("#extensions", "value"), ["3"]);
        for bad in ["101", "-1", "x", ""] {
            let page = ada.submit_to("/t/acme/settings", "/t/acme/settings/life", &[("extensions", bad)]);
            assert_eq!((page.status, page.texts("#extensions-e")), (422, vec!["Enter a whole number from 0 to 100.".to_owned()]), "{bad}");
        }
        assert_eq!(ada.submit_to("/t/acme/settings", "/t/acme/settings/life", &[("extensions", "0")]).status, 303);
        assert_eq!(ada.open("/t/acme/settings").attributes("#extensions", "value"), ["0"]);
    }
}
