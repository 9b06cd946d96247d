//! Digests as they arrive: how long they are, and whom they still concern.

use std::{collections::BTreeSet, sync::atomic::AtomicBool};

use chrono::Duration;
use keyward::{
    domain::{
        ids::KeyId,
        mail::Mail,
        time::days,
        token::{Purpose, Token, fresh_id},
    },
    jobs::notices::Sweep,
    store::{
        gateways,
        outbox::{self, State},
    },
};

use super::sending::{Sending, sending, spawn};
use crate::{
    notices::{make_many, suspend},
    support::{Backend, TestApp, smtp},
};

fn sweep(app: &TestApp) {
    Sweep::new(app.app.store.clone(), app.app.clock.clone(), "test".into()).round(&AtomicBool::new(false)).unwrap();
}

fn hand_over(app: &TestApp, key: KeyId, to: &str) {
    let at = format!("/t/acme/keys/{key}/hand-over");
    let ada = app.signed_in("ada");
    let asked = ada.submit(&at, &[("to", &app.fixture.members[to].to_string())]);
    let done = ada.send(&asked, &at, &[]);
    assert_eq!(done.status, 303, "{}", done.text());
}

fn to(mails: &[smtp::Mail], address: &str) -> Vec<smtp::Mail> {
    mails.iter().filter(|mail| mail.to == [address]).cloned().collect()
}

fn links(mail: &smtp::Mail) -> Vec<String> {
    let words = mail.text.as_ref().unwrap().split_whitespace().filter(|word| word.contains("/extend/kwx_") && !word.ends_with("/stop"));
    words.map(ToOwned::to_owned).collect()
}

sending! {
    fn a_digest_has_a_link_for_each_of_five_hundred_keys_the_most_urgent_first_and_counts_the_rest(at) {
        let app = &at.app;
        let names: Vec<String> = (0..525).map(|n| format!("later {n:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        make_many(app, "dora", "dora", &names, 29, &["ops@partner.example"]);
        let urgent = make_many(app, "dora", "dora", &["sooner a", "sooner b", "sooner c", "sooner d", "sooner e"], 28, &["ops@partner.example"]);
        app.advance(days(15));
        sweep(app);
        app.app.post.round().unwrap();
        let mails = at.server.mails();
        assert_eq!(mails.len(), 2);
        for (address, has_list) in [("dora@acme.example", true), ("ops@partner.example", false)] {
            let mail = &to(&mails, address)[0];
            let text = mail.text.as_ref().unwrap();
            assert_eq!(mail.header("Subject"), "530 API keys need your attention");
            let (links, html) = (links(mail), mail.html.as_ref().unwrap());
            assert_eq!(links.iter().collect::<BTreeSet<_>>().len(), 500);
            assert!(links.iter().all(|link| html.contains(link.as_str())) && html.len() < 700_000, "{}", html.len());
            let first_of_all = text.find("later").unwrap();
            assert!(urgent.iter().all(|key| text.find(key.as_str()).unwrap() < first_of_all));
            // A hundred are shown in full; the last ones have a line, and their links work.
            assert_eq!((text.matches("Key ID: ").count(), html.matches("Extend by 14 days<").count()), (100, 100));
            assert!(text.contains("400 more, with the link to extend each by 14 days:"), "{text}");
            let page = app.browser().press(links[if has_list { 499 } else { 498 }].strip_prefix(&app.url).unwrap());
            assert!(page.says("The key now expires on"), "{}", page.text());
            assert!(text.replace('\n', " ").contains("The 500 most urgent are above; 30 more are not shown here."), "{text}");
            assert_eq!(text.contains(&format!("{}/t/acme/keys?status=expiring", app.url)), has_list);
        }
        let ada = app.signed_in("ada");
        assert!(ada.open("/t/acme/mail").says("530 API keys need your attention"));
        let rows = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 10));
        let id = rows.iter().find(|row| row.mail == Mail::Digest).unwrap().id;
        let page = ada.open(&format!("/t/acme/mail/{id}"));
        assert!(page.texts("dd").contains(&"530".to_owned()) && page.says("30 more are not shown here"), "{:?}", page.texts("dd"));
    }

    fn an_admin_who_stands_in_is_told_why_and_where_the_keys_are(at) {
        let app = &at.app;
        make_many(app, "emil", "emil", &["left alone"], 28, &[]);
        suspend(app, "emil", true);
        app.advance(days(14));
        sweep(app);
        app.app.post.round().unwrap();
        let mail = &to(&at.server.mails(), "ada@acme.example")[0];
        let text = mail.text.as_ref().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("The API key “left alone” expires") && !text.contains("Your API key"), "{text}");
        assert!(text.contains("You get this because you administer the tenant, and nobody else is left to be told."), "{text}");
        assert!(text.contains(&format!("{}/t/acme/keys?status=expiring", app.url)) && !text.contains("/profile"), "{text}");
    }

    fn an_admin_who_stands_in_for_several_keys_reads_of_several(at) {
        let app = &at.app;
        make_many(app, "emil", "emil", &["one", "two"], 28, &[]);
        suspend(app, "emil", true);
        app.advance(days(14));
        sweep(app);
        app.app.post.round().unwrap();
        let mail = &to(&at.server.mails(), "ada@acme.example")[0];
        let text = mail.text.as_ref().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        let words = "Those who look after these keys are no longer active. To see whose they are and decide what becomes of them, sign in:";
        assert!(text.contains("2 API keys need your attention") && text.contains(words), "{text}");
    }

    fn one_click_unsubscribes_from_every_key_of_the_digest(at) {
        let app = &at.app;
        make_many(app, "dora", "dora", &["one", "two"], 28, &["ops@partner.example", "it@partner.example"]);
        app.advance(days(14));
        sweep(app);
        app.app.post.round().unwrap();
        let mail = &to(&at.server.mails(), "ops@partner.example")[0];
        let url = mail.header("List-Unsubscribe").trim_matches(['<', '>']).to_owned();
        assert_eq!(mail.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
        assert!(url.starts_with(&format!("{}/extend/kwx_", app.url)) && url.ends_with("/stop"), "{url}");
        assert!(!to(&at.server.mails(), "dora@acme.example")[0].headers.iter().any(|(name, _)| name == "List-Unsubscribe"));
        let answer = crate::support::browser::agent().post(&url).send_form([("List-Unsubscribe", "One-Click")]).unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        app.app.post.round().unwrap();
        let told = to(&at.server.mails(), "dora@acme.example");
        let left: Vec<&str> = told.iter().map(|mail| mail.header("Subject")).filter(|words| words.contains("wants no more notices")).collect();
        assert_eq!(left, ["A recipient wants no more notices of “one”", "A recipient wants no more notices of “two”"]);
        // Seven days later only the other two are told.
        app.advance(days(7));
        sweep(app);
        app.app.post.round().unwrap();
        let count = |address: &str| to(&at.server.mails(), address).len();
        assert_eq!((count("ops@partner.example"), count("it@partner.example")), (1, 2));
    }

    fn a_digest_and_its_links_are_for_who_looks_after_the_key_now(at) {
        let app = &at.app;
        let keys = make_many(app, "dora", "dora", &["stays", "goes"], 28, &[]);
        let kept = make_many(app, "dora", "ci", &["deploy"], 28, &[])[0];
        app.advance(days(14));
        sweep(app);
        // The rows are written, the server was away, and things changed.
        hand_over(app, keys[1], "acme/emil");
        app.write(|tx| keyward::store::members::remove_keeper(tx, app.fixture.tenants["acme"], app.fixture.members["acme/ci"], app.fixture.members["acme/dora"]));
        app.app.post.round().unwrap();
        let doras = to(&at.server.mails(), "dora@acme.example");
        let digest = doras.iter().find(|mail| mail.header("List-Id").contains("notices")).unwrap();
        let text = digest.text.as_ref().unwrap();
        assert!(text.contains(keys[0].as_str()) && !text.contains(keys[1].as_str()) && !text.contains(kept.as_str()), "{text}");
        // Both hear of the hand-over.
        assert!(doras.iter().any(|mail| mail.header("Subject").contains("handed over your key “goes”")), "{doras:?}");
        let emils = to(&at.server.mails(), "emil@acme.example");
        assert_eq!(emils[0].header("Subject"), "Ada Example handed over the key “goes” to you");
        let text = emils[0].text.as_ref().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("It keeps the access that it had") && text.contains("You get this because the key is yours now."), "{text}");
        let words = emils[0].text.as_ref().unwrap().replace('\n', " ");
        assert!(words.contains("Whoever had a key may still know its secret: roll it.") && words.contains("invoices:read"), "{words}");
        // The next digest tells the new owner of the stage.
        app.advance(days(1));
        sweep(app);
        app.app.post.round().unwrap();
        let emils = to(&at.server.mails(), "emil@acme.example");
        assert!(emils.last().unwrap().text.as_ref().unwrap().contains(keys[1].as_str()) && !links(emils.last().unwrap()).is_empty());
        // A link that was mailed before a hand-over is dead after it.
        let link = links(digest)[0].strip_prefix(&app.url).unwrap().to_owned();
        let reader = app.browser();
        assert_eq!(reader.open(&link).status, 200);
        hand_over(app, keys[0], "acme/emil");
        let before = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 100)).len();
        let page = reader.open(&link);
        assert!(page.status == 410 && page.says("no longer looks after the key"), "{}", page.text());
        assert_eq!(reader.post(&link, &[]).status, 410);
        assert_eq!(app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 100)).len(), before, "nothing happens");
    }

    fn a_notice_that_was_dropped_is_told_of_once_its_cause_is_back(at) {
        let app = &at.app;
        let key = make_many(app, "dora", "dora", &["pausing"], 28, &[])[0];
        app.advance(days(14));
        sweep(app);
        let dora = app.signed_in("dora");
        dora.submit(&format!("/t/acme/keys/{key}/disable"), &[]);
        app.app.post.round().unwrap();
        assert_eq!(at.server.mails().len(), 0);
        let dropped = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], Some(State::Dropped), None, 10));
        assert!(dropped.len() == 1 && dropped[0].mail == Mail::Digest);
        dora.submit(&format!("/t/acme/keys/{key}/enable"), &[]);
        for _ in 0..2 {
            app.advance(days(1));
            sweep(app);
            app.app.post.round().unwrap();
        }
        let mails = at.server.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(app.browser().open(links(&mails[0])[0].strip_prefix(&app.url).unwrap()).status, 200);
    }

    fn without_a_grace_a_digest_speaks_of_none(at) {
        let app = &at.app;
        app.write(|tx| {
            let tenant = keyward::store::tenants::get(tx, app.fixture.tenants["acme"])?;
            let settings = keyward::domain::tenant::Settings { grace_days: 0, ..tenant.settings.clone() };
            keyward::store::tenants::save_settings(tx, &tenant, &settings)
        });
        make_many(app, "dora", "dora", &["short"], 28, &[]);
        app.advance(days(14));
        sweep(app);
        app.app.post.round().unwrap();
        app.advance(days(14) + Duration::hours(1));
        sweep(app);
        app.app.post.round().unwrap();
        let mails = at.server.mails();
        let texts: Vec<String> = mails.iter().map(|mail| mail.text.as_ref().unwrap().replace('\n', " ")).collect();
        assert_eq!(mails.iter().map(|mail| mail.header("Subject")).collect::<Vec<_>>(), ["“short” expires in 14 days", "“short” has expired"]);
        assert!(texts[0].contains("and stops then.") && texts[1].contains("and no longer works."), "{texts:?}");
        assert!(texts[1].contains("It cannot be extended by link.") && !texts[1].contains("works until"), "{texts:?}");
    }

    fn contact_and_keepers_hear_of_what_others_do_with_a_key_of_a_service_account(at) {
        let app = &at.app;
        let path = |end: &str| format!("/t/acme/keys/{}/{end}", app.fixture.key("ci").id);
        let ada = app.signed_in("ada");
        ada.submit(&path("disable"), &[]);
        app.app.post.round().unwrap();
        let told = |mails: Vec<smtp::Mail>| { let mut all: Vec<String> = mails.into_iter().map(|mail| mail.to[0].clone()).collect(); all.sort(); all };
        assert_eq!(told(at.server.mails()), ["ci@acme.example", "dora@acme.example"]);
        // A keeper manages the key as their own.
        app.signed_in("dora").submit(&path("revoke"), &[]);
        app.app.post.round().unwrap();
        assert_eq!(at.server.mails().len(), 2);
    }

    fn a_scanner_that_follows_every_link_of_a_received_mail_and_sends_every_form_does_each_thing_once(at) {
        let app = &at.app;
        let key = make_many(app, "dora", "dora", &["scanned"], 28, &["ops@partner.example"])[0];
        app.advance(days(14));
        sweep(app);
        app.app.post.round().unwrap();
        let mail = &to(&at.server.mails(), "ops@partner.example")[0];
        let html = scraper::Html::parse_document(mail.html.as_ref().unwrap());
        let anchors = scraper::Selector::parse("a[href]").unwrap();
        let mut links: Vec<String> = html.select(&anchors).filter_map(|link| link.attr("href")?.strip_prefix(&app.url).map(ToOwned::to_owned)).collect();
        links.sort();
        links.dedup();
        assert!(links.len() == 2 && links[1] == format!("{}/stop", links[0]), "{links:?}");
        let scanner = app.browser();
        for _ in 0..2 {
            for link in &links {
                let page = scanner.open(link);
                for action in page.attributes("form[method=post]", "action") {
                    for _ in 0..2 {
                        assert!(matches!(scanner.send(&page, &action, &[]).status, 200 | 410), "{action}");
                    }
                }
            }
        }
        app.app.post.round().unwrap();
        let subjects: Vec<String> = to(&at.server.mails(), "dora@acme.example").iter().map(|mail| mail.header("Subject").to_owned()).collect();
        let expected = ["“scanned” expires in 14 days", "Your key “scanned” was extended to 2 Jan 2027", "A recipient wants no more notices of “scanned”"];
        assert_eq!(subjects, expected);
        let told = at.server.mails();
        assert!(to(&told, "dora@acme.example")[1].text.as_ref().unwrap().contains("Another recipient of its notices used the link"));
        let dora = app.signed_in("dora");
        assert!(dora.open(&format!("/t/acme/keys/{key}")).says("2 Jan 2027"));
    }

    fn a_gateway_credential_that_ends_is_told_of_until_it_is_revoked(at) {
        let (app, acme) = (&at.app, at.app.fixture.tenants["acme"]);
        let public_id = fresh_id(&mut keyward::chance::fill);
        let token = Token::make(Purpose::Gateway, public_id, &mut keyward::chance::fill);
        let pepper = app.app.secrets.pepper_version();
        let hash = app.app.secrets.token_hash(pepper, Purpose::Gateway, acme, token.reveal()).unwrap();
        let new = gateways::New { public_id, name: "edge", by: "Ada", expires_at: Some(app.now() + days(30)), hash, pepper };
        let id = app.write(|tx| gateways::create(tx, acme, &new));
        app.advance(days(16));
        sweep(app);
        app.app.post.round().unwrap();
        let mail = &to(&at.server.mails(), "ada@acme.example")[0];
        let text = mail.text.as_ref().unwrap().replace('\n', " ");
        assert_eq!(mail.header("Subject"), "The gateway credential “edge” expires in 14 days");
        assert!(text.contains("It has no grace") && text.contains(public_id.as_str()) && text.contains(&format!("{}/t/acme/gateways", app.url)), "{text}");
        // The next one is written, and its credential revoked before it leaves.
        app.advance(days(7));
        sweep(app);
        assert!(app.write(|tx| gateways::revoke(tx, acme, id, "Ada")));
        app.app.post.round().unwrap();
        assert_eq!(at.server.mails().len(), 1);
        assert_eq!(app.read(|db| outbox::list(db, acme, Some(State::Dropped), None, 10)).len(), 1);
    }
}
