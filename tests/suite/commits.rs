//! A commit whose answer is lost: nobody is told that it took place, nor that it did not, and from then on the database is believed.
//! PostgreSQL alone: an SQLite file has no wire.

use crate::support::{
    TestApp,
    behind::Behind,
    browser::Page,
    spawn_through,
    wire::{Cut, Wire},
};

fn says_that_it_may_have_happened(page: &Page) {
    assert_eq!((page.status, page.header("retry-after").as_deref()), (503, Some("10")), "{}", page.text());
    assert!(page.says("look whether it was done before you try again"), "{}", page.text());
    // What was sent is not asked for again by itself: that page may be another, or none.
    assert_eq!(page.header("refresh"), None);
}

#[test]
fn the_page_of_a_lost_answer_leads_to_a_page() {
    let wire = Wire::new();
    let app = spawn_through(&wire);
    let emil = app.signed_in("emil");
    emil.open("/profile");
    wire.cut("Pacific/Tongatapu", Cut::After);
    let fields = [("theme", "dark"), ("time_zone", "Pacific/Tongatapu")];
    let from = format!("{}/profile?tenant=acme", app.url);
    let lost = emil.post_with("/profile/preferences", &fields, &[("referer", &from)]);
    says_that_it_may_have_happened(&lost);
    assert!(wire.is_cut());
    assert_eq!(lost.attributes("a.btn-primary", "href"), ["/profile?tenant=acme"]);
    assert_eq!(emil.open("/profile?tenant=acme").texts("#time_zone option[selected]"), ["Pacific/Tongatapu"]);
    // Another site's address, or none, is no way back.
    for from in ["", "https://evil.example/profile", "not an address"] {
        wire.cut("Pacific/Auckland", Cut::Before);
        let lost = emil.post_with("/profile/preferences", &[("theme", "dark"), ("time_zone", "Pacific/Auckland")], &[("referer", from)]);
        assert_eq!(lost.attributes("a.btn-primary", "href"), ["/"], "{from}");
    }
    assert_eq!(emil.open("/").status, 200);
}

fn count(app: &TestApp, from: &str) -> String {
    Behind::new(app, &[]).one(&format!("SELECT count(*) AS text FROM {from}"))
}

#[test]
fn a_revoke_whose_answer_is_lost_is_obeyed() {
    let wire = Wire::new();
    let app = spawn_through(&wire);
    let (dora, key) = (app.signed_in("dora"), app.fixture.key("dora"));
    let page = format!("/t/acme/keys/{}", key.id);
    assert_eq!(app.verify(&key.token), "valid");
    wire.cut("left on a train", Cut::After);
    says_that_it_may_have_happened(&dora.submit(&format!("{page}/revoke"), &[("reason", "left on a train")]));
    assert!(wire.is_cut());
    assert_eq!(app.verify(&key.token), "revoked");
    assert!(dora.open(&page).says("left on a train"));
    assert_eq!(count(&app, &format!("events WHERE target_id = '{}' AND action = 'key.revoke'", key.id)), "1");
}

#[test]
fn a_change_that_never_reached_the_database_can_be_made_again() {
    let wire = Wire::new();
    let app = spawn_through(&wire);
    let (dora, key) = (app.signed_in("dora"), app.fixture.key("dora"));
    let disable = format!("/t/acme/keys/{}/disable", key.id);
    assert_eq!(app.verify(&key.token), "valid");
    let reads = app.app.gate.verifier.reads();
    assert_eq!(app.verify(&key.token), "valid");
    assert_eq!(app.app.gate.verifier.reads(), reads, "it is in memory");
    wire.cut("while we move", Cut::Before);
    says_that_it_may_have_happened(&dora.submit(&disable, &[("reason", "while we move")]));
    assert!(wire.is_cut());
    assert_eq!(app.verify(&key.token), "valid");
    assert!(app.app.gate.verifier.reads() > reads, "the memory was emptied");
    assert_eq!(count(&app, &format!("events WHERE target_id = '{}' AND action = 'key.disable'", key.id)), "0");
    assert_eq!(dora.submit(&disable, &[("reason", "while we move")]).status, 303);
    assert_eq!(app.verify(&key.token), "disabled");
}

#[test]
fn a_key_whose_token_was_lost_with_the_answer_is_not_made_twice() {
    let wire = Wire::new();
    let app = spawn_through(&wire);
    let dora = app.signed_in("dora");
    let form = dora.open("/t/acme/keys/new");
    wire.cut("Half a key", Cut::After);
    says_that_it_may_have_happened(&dora.send(&form, "/t/acme/keys/new", &[("name", "Half a key")]));
    assert!(wire.is_cut());
    let again = dora.send(&form, "/t/acme/keys/new", &[("name", "Half a key")]);
    assert!(!again.body.contains("kwk_"), "{}", again.text());
    assert!(again.says("Roll"), "the key was made, and a roll gives it another token: {} {}", again.status, again.text());
    assert_eq!(count(&app, "keys WHERE name = 'Half a key'"), "1");
}

#[test]
fn a_sign_in_and_a_roll_whose_answers_are_lost_can_be_repeated() {
    let wire = Wire::new();
    let app = spawn_through(&wire);
    let (dora, key) = (app.signed_in("dora"), app.fixture.key("dora"));
    let roll = format!("/t/acme/keys/{}/roll", key.id);
    let code = app.code("dora");
    wire.cut("key.roll", Cut::After);
    says_that_it_may_have_happened(&dora.submit(&roll, &[("totp", &code)]));
    assert!(wire.is_cut());
    // The old secret works on, and rolling again keeps it, as nobody has the new one.
    assert_eq!(app.verify(&key.token), "valid_in_grace");
    let code = app.code("dora");
    let rolled = dora.submit(&roll, &[("totp", &code)]);
    let token = rolled.find("#c-tok").unwrap_or_else(|| panic!("{} {}", rolled.status, rolled.text()));
    assert_eq!([app.verify(&key.token), app.verify(&token)], ["valid_in_grace", "valid"]);

    let emil = app.person("emil");
    let browser = app.browser();
    wire.cut("account.sign_in", Cut::After);
    says_that_it_may_have_happened(&browser.submit("/login", &[("email", &emil.email), ("password", emil.password)]));
    assert!(wire.is_cut());
    assert_eq!(browser.submit("/login", &[("email", &emil.email), ("password", emil.password)]).status, 303);
    assert_eq!(browser.get("/profile").status, 200);
}
