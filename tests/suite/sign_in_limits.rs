//! How often one may be wrong when signing in, from where, and what a shorter password costs once two-step sign-in is gone.
//!
//! 127.0.0.1 is a proxy that is believed, so a test says from which network a request comes.

use std::collections::BTreeSet;

use chrono::Duration;

use crate::support::{TestApp, browser::Browser, browser::Page};

/// Somewhere that nobody has failed from.
const ELSEWHERE: &str = "203.0.114.9";

fn password(browser: &Browser, from: &str, email: &str, password: &str) -> Page {
    browser.get("/login");
    browser.post_with("/login", &[("email", email), ("password", password)], &[("x-forwarded-for", from)])
}

fn code(browser: &Browser, from: &str, code: &str) -> Page {
    browser.get("/login/code");
    browser.post_with("/login/code", &[("totp", code)], &[("x-forwarded-for", from)])
}

/// Fails from a network with a password that nobody hashes, as it is too long for any.
fn fail(app: &TestApp, times: usize, from: &str, email: &str) {
    let browser = app.browser();
    for _ in 0..times {
        assert_eq!(password(&browser, from, email, &"wrong ".repeat(50)).status, 422);
    }
}

/// What somebody sees who signs in as emil with the right password, in a browser of their own.
fn emil_from(app: &TestApp, from: &str) -> u16 {
    let emil = app.person("emil");
    password(&app.browser(), from, &emil.email, emil.password).status
}

both! {
    with [("trusted_proxies", "127.0.0.1")];

    fn the_fifth_failure_within_fifteen_minutes_refuses_the_network_for_fifteen(app) {
        let emil = app.person("emil");
        // Four are forgotten by signing in, so another four refuse nothing either.
        for _ in 0..2 {
            fail(app, 4, "203.0.113.7", &emil.email);
            assert_eq!(emil_from(app, "203.0.113.7"), 303);
        }
        fail(app, 4, "203.0.113.7", &emil.email);
        let wrong = password(&app.browser(), "203.0.113.7", &emil.email, "tall ships sail at dusk");
        let right = password(&app.browser(), "203.0.113.200", &emil.email, emil.password);
        let seen = |page: &Page| (page.status, page.find(".errmsg"), page.find("h1"), page.headers.keys().map(ToString::to_string).collect::<BTreeSet<_>>());
        assert_eq!(seen(&right), seen(&wrong), "the sixth is right, and told what the fifth was");
        assert_eq!(right.status, 422);
        assert!(!right.headers("set-cookie").iter().any(|cookie| cookie.contains("known")), "{:?}", right.headers);
        assert_eq!(emil_from(app, "203.0.112.200"), 303, "the /24 below");
        assert_eq!(emil_from(app, ELSEWHERE), 303, "the /24 above");
        let audrey = app.person("audrey");
        assert_eq!(password(&app.browser(), "203.0.113.7", &audrey.email, audrey.password).status, 303, "another account");
        // Trying again meanwhile does not prolong it.
        app.advance(Duration::minutes(14));
        fail(app, 3, "203.0.113.7", &emil.email);
        app.advance(Duration::seconds(59));
        assert_eq!(emil_from(app, "203.0.113.7"), 422);
        app.advance(Duration::seconds(1));
        assert_eq!(emil_from(app, "203.0.113.7"), 303);
    }

    fn failures_further_apart_than_fifteen_minutes_refuse_nothing(app) {
        let emil = app.person("emil");
        // At 0, 4, 8 and 12 minutes, and the fifth a second after the first is 15 minutes old.
        for minutes in [4, 4, 4, 3] {
            fail(app, 1, "203.0.113.7", &emil.email);
            app.advance(Duration::minutes(minutes));
        }
        app.advance(Duration::seconds(1));
        fail(app, 1, "203.0.113.7", &emil.email);
        // The sixth is the fifth since the one at 4 minutes.
        fail(app, 1, "203.0.113.7", &emil.email);
        assert_eq!(emil_from(app, "203.0.113.7"), 422);
        assert_eq!(emil_from(app, ELSEWHERE), 303);

        let audrey = app.person("audrey");
        for minutes in [4, 4, 4, 3] {
            fail(app, 1, "198.51.100.1", &audrey.email);
            app.advance(Duration::minutes(minutes));
        }
        app.advance(Duration::seconds(1));
        fail(app, 1, "198.51.100.1", &audrey.email);
        assert_eq!(password(&app.browser(), "198.51.100.1", &audrey.email, audrey.password).status, 303, "five in 15 minutes and a second");
    }

    fn a_network_of_ipv6_is_a_64_and_a_mapped_address_is_ipv4(app) {
        let emil = app.person("emil");
        fail(app, 5, "2001:db8:0:7::1", &emil.email);
        assert_eq!(emil_from(app, "2001:db8:0:7:ffff:ffff:ffff:ffff"), 422);
        assert_eq!(emil_from(app, "2001:db8:0:8::1"), 303);
        fail(app, 5, "::ffff:192.0.2.1", &emil.email);
        assert_eq!(emil_from(app, "192.0.2.254"), 422);
        assert_eq!(emil_from(app, "::ffff:198.51.100.1"), 303);
    }

    fn twenty_failures_over_all_accounts_refuse_the_network(app) {
        for number in 0..19 {
            fail(app, 1, "203.0.113.7", &format!("person{number}@acme.example"));
        }
        assert_eq!(emil_from(app, "203.0.113.7"), 303);
        fail(app, 1, "203.0.113.7", &app.person("audrey").email);
        assert_eq!(emil_from(app, "203.0.113.99"), 422);
        assert_eq!(emil_from(app, ELSEWHERE), 303);
        app.advance(Duration::minutes(15) - Duration::seconds(1));
        assert_eq!(emil_from(app, "203.0.113.7"), 422);
        app.advance(Duration::seconds(1));
        assert_eq!(emil_from(app, "203.0.113.7"), 303);
    }

    fn a_hundred_failures_in_a_day_leave_the_account_to_browsers_that_know_it(app) {
        let (emil, audrey) = (app.person("emil"), app.person("audrey"));
        let (known, other) = (app.browser(), app.browser());
        assert_eq!(password(&known, ELSEWHERE, &emil.email, emil.password).status, 303);
        assert_eq!(password(&other, ELSEWHERE, &audrey.email, audrey.password).status, 303);
        for browser in [&known, &other] {
            assert_eq!(browser.submit_to("/profile", "/logout", &[]).status, 303);
        }
        app.advance(Duration::minutes(1));
        for network in 0..20 {
            fail(app, if network == 0 { 4 } else { 5 }, &format!("198.51.{network}.1"), &emil.email);
        }
        assert_eq!(emil_from(app, ELSEWHERE), 303, "99");
        fail(app, 1, "192.0.2.1", &emil.email);
        assert_eq!(emil_from(app, ELSEWHERE), 422, "100");
        assert_eq!(password(&other, ELSEWHERE, &emil.email, emil.password).status, 422, "it knows another account");
        assert_eq!(password(&known, ELSEWHERE, &emil.email, "tall ships sail at dusk").status, 422);
        assert_eq!(password(&known, ELSEWHERE, &emil.email, emil.password).status, 303);
        assert_eq!(password(&app.browser(), ELSEWHERE, &audrey.email, audrey.password).status, 303, "another account");
        app.advance(Duration::days(1) - Duration::minutes(1));
        assert_eq!(emil_from(app, ELSEWHERE), 422);
        app.advance(Duration::minutes(1));
        assert_eq!(emil_from(app, ELSEWHERE), 303);
    }

    fn who_has_given_the_password_guesses_no_more_codes_once_the_account_is_closed(app) {
        let dora = app.person("dora");
        let (known, strange) = (app.browser(), app.browser());
        password(&known, ELSEWHERE, &dora.email, dora.password);
        assert_eq!(code(&known, ELSEWHERE, &app.code("dora")).status, 303);
        assert_eq!(known.submit_to("/profile", "/logout", &[]).status, 303);
        for browser in [&known, &strange] {
            assert_eq!(password(browser, ELSEWHERE, &dora.email, dora.password).location().as_deref(), Some("/login/code"));
        }
        for network in 0..20 {
            fail(app, 5, &format!("198.51.{network}.1"), &dora.email);
        }
        let right = app.code("dora");
        assert_eq!(code(&strange, ELSEWHERE, &right).location().as_deref(), Some("/login"));
        assert_eq!(strange.get("/profile").location().as_deref(), Some("/login?next=%2Fprofile"));
        assert_eq!(code(&known, ELSEWHERE, &right).location().as_deref(), Some("/"));
        assert_eq!(known.get("/profile").status, 200);
    }

    fn wrong_codes_and_wrong_passwords_are_counted_together(app) {
        let dora = app.person("dora");
        fail(app, 3, "203.0.113.7", &dora.email);
        let browser = app.browser();
        assert_eq!(password(&browser, "203.0.113.7", &dora.email, dora.password).status, 303);
        assert_eq!(code(&browser, "203.0.113.7", "000000").status, 422);
        // That was the fourth: the right password and code still lead in.
        assert_eq!(password(&app.browser(), "203.0.113.7", &dora.email, dora.password).status, 303);
        assert_eq!(code(&browser, "203.0.113.7", "000000").status, 422);
        assert_eq!(password(&app.browser(), "203.0.113.7", &dora.email, dora.password).status, 422, "and that the fifth");
        assert_eq!(code(&browser, "203.0.113.7", &app.code("dora")).location().as_deref(), Some("/login"));
        assert_eq!(password(&app.browser(), ELSEWHERE, &dora.email, dora.password).status, 303);
    }

    fn wrong_codes_at_a_roll_count_and_the_fifth_ends_the_session(app) {
        let (dora, key) = (app.person("dora"), app.fixture.key("dora"));
        let browser = app.signed_in("dora");
        let roll = format!("/t/acme/keys/{}/roll", key.id);
        let used = app.code("dora");
        let other = app.browser();
        password(&other, ELSEWHERE, &dora.email, dora.password);
        assert_eq!(code(&other, ELSEWHERE, &used).status, 303);
        for _ in 0..6 {
            let page = browser.submit(&roll, &[("totp", &used)]);
            assert!(page.status == 422 && page.says("already used"), "it is no guess: {}", page.text());
        }
        for _ in 0..4 {
            let page = browser.submit(&roll, &[("totp", "000000")]);
            assert!(page.status == 422 && page.says("not right"), "{}", page.text());
        }
        assert_eq!(password(&app.browser(), "127.0.0.1", &dora.email, dora.password).status, 303, "four");
        assert!(browser.submit(&roll, &[("totp", "000000")]).location().unwrap().starts_with("/login"));
        assert!(browser.get("/profile").location().unwrap().starts_with("/login"));
        assert_eq!(password(&app.browser(), "127.0.0.1", &dora.email, dora.password).status, 422, "five");
        assert_eq!(password(&app.browser(), ELSEWHERE, &dora.email, dora.password).status, 303);
        assert_eq!(app.verify(&key.token), "valid", "no secret was replaced");
    }

    fn a_password_that_is_short_without_two_steps_is_changed_at_the_next_sign_in(app) {
        // 14 and 15 characters.
        let (short, enough) = ("kettle pier 9!", "kettle pier 9!x");
        let change = |name: &str, to: &str| {
            let (browser, code) = (app.signed_in(name), app.code(name));
            let done = browser.submit("/profile/password", &[("current_password", app.person(name).password), ("new_password", to), ("totp", &code)]);
            assert_eq!(done.status, 303, "{}", done.text());
            browser
        };
        let sign_in = |name: &str, password: &str| {
            let browser = app.browser();
            let answer = browser.submit("/login", &[("email", &app.person(name).email), ("password", password)]);
            (answer.location().unwrap_or_default(), browser)
        };
        // By an admin, by the operator, and by oneself.
        change("dora", short);
        let member = app.fixture.members["acme/dora"];
        assert_eq!(app.signed_in("ada").submit(&format!("/t/acme/members/{member}/totp"), &[]).status, 303);
        change("gus", short);
        let cleared = std::process::Command::new(env!("CARGO_BIN_EXE_keyward"))
            .args(["user", "clear-totp", &app.person("gus").email])
            .env_clear()
            .env("KEYWARD_DATA_DIR", &app.app.config.data_dir)
            .env("KEYWARD_DATABASE_URL", &app.app.config.database_url)
            .output()
            .unwrap();
        assert!(cleared.status.success(), "{}", String::from_utf8_lossy(&cleared.stderr));
        let mia = change("mia", short);
        let code = app.code("mia");
        mia.open("/profile/totp");
        let off = mia.post("/profile/totp/remove", &[("current_password", short), ("totp", &code)]);
        assert!(mia.follow(off).says("The next sign-in asks for a longer password"));

        for name in ["dora", "gus", "mia"] {
            let (led, browser) = sign_in(name, short);
            assert_eq!(led, "/profile/password", "{name}");
            for path in ["/profile", "/t/acme/keys", "/profile/totp"] {
                assert_eq!(browser.get(path).location().as_deref(), Some("/profile/password"), "{name} {path}");
            }
            let again = browser.submit("/profile/password", &[("current_password", short), ("new_password", "pier kettle 9!")]);
            assert!(again.status == 422 && again.says("Enter 15 characters or more"), "{name}: {}", again.text());
            let done = browser.submit("/profile/password", &[("current_password", short), ("new_password", enough)]);
            assert_eq!(done.status, 303, "{name}: {}", done.text());
            assert_eq!(browser.get("/profile").status, 200, "{name}");
            assert_eq!(sign_in(name, short).0, "", "{name}");
            assert_eq!(sign_in(name, enough).0, "/", "{name}");
        }
    }

    fn a_password_of_fifteen_characters_outlives_two_step_sign_in(app) {
        let (browser, code) = (app.signed_in("dora"), app.code("dora"));
        let fields = [("current_password", app.person("dora").password), ("new_password", "kettle pier 9!x"), ("totp", &code)];
        assert_eq!(browser.submit("/profile/password", &fields).status, 303);
        let member = app.fixture.members["acme/dora"];
        assert_eq!(app.signed_in("ada").submit(&format!("/t/acme/members/{member}/totp"), &[]).status, 303);
        let (dora, browser) = (app.person("dora"), app.browser());
        assert_eq!(browser.submit("/login", &[("email", &dora.email), ("password", "kettle pier 9!x")]).location().as_deref(), Some("/"));
        assert_eq!(browser.get("/profile").status, 200);
    }
}
