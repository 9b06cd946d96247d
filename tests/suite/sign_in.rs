//! Signing in, staying in and out, as a person without scripts sees it.

use chrono::Duration;

use crate::support::{self, TestApp, browser::Browser, browser::Page};

/// The session's cookie in an answer, as the browser is told to keep it.
fn cookies(page: &Page) -> Vec<String> {
    page.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

fn session_cookie(app: &TestApp, page: &Page) -> String {
    let port = app.url.rsplit_once(':').unwrap().1;
    cookies(page).into_iter().find(|cookie| cookie.starts_with(&format!("keyward-{port}="))).unwrap_or_default()
}

fn password(browser: &Browser, email: &str, password: &str) -> Page {
    browser.submit("/login", &[("email", email), ("password", password)])
}

/// Everything that the page would show to somebody who is signed in, or not.
fn is_signed_in(browser: &Browser) -> bool {
    browser.get("/profile").status == 200
}

both! {
    fn a_member_without_totp_signs_in_with_a_password_and_out_again(app) {
        let emil = app.person("emil");
        let browser = app.browser();
        assert_eq!(browser.get("/profile").location().as_deref(), Some("/login?next=%2Fprofile"));
        let answer = password(&browser, &emil.email, emil.password);
        assert_eq!((answer.status, answer.location().as_deref()), (303, Some("/")));
        let cookie = session_cookie(app, &answer);
        for flag in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(flag), "{cookie}");
        }
        assert!(is_signed_in(&browser));
        let out = browser.submit_to("/profile", "/logout", &[]);
        assert_eq!((out.status, out.header("clear-site-data").is_some()), (303, true));
        assert!(!is_signed_in(&browser));
    }

    fn a_member_with_totp_needs_the_code_too(app) {
        let dora = app.person("dora");
        let browser = app.browser();
        let first = password(&browser, &dora.email, dora.password);
        assert_eq!(first.location().as_deref(), Some("/login/code"));
        assert!(!is_signed_in(&browser));
        let wrong = browser.submit("/login/code", &[("totp", "000000")]);
        assert_eq!(wrong.status, 422);
        assert!(wrong.says("not right"));
        assert!(!is_signed_in(&browser));
        let right = browser.submit("/login/code", &[("totp", &app.code("dora"))]);
        assert_eq!(right.status, 303, "{}", right.text());
        assert!(is_signed_in(&browser));
        assert_ne!(session_cookie(app, &first), session_cookie(app, &right));
    }

    fn an_unknown_address_is_told_what_a_wrong_password_is_told(app) {
        let answers: Vec<_> = ["emil@acme.example", "nobody@acme.example", "not an address"]
            .into_iter()
            .map(|email| {
                let page = password(&app.browser(), email, "tall ships sail at dusk");
                (page.status, page.find(".errmsg"), cookies(&page))
            })
            .collect();
        assert_eq!(answers[0].0, 422);
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }

    fn of_fifty_who_send_one_code_at_once_one_gets_in(app) {
        let dora = app.person("dora");
        let browsers: Vec<Browser> = (0..50).map(|_| app.browser()).collect();
        for browser in &browsers {
            assert_eq!(password(browser, &dora.email, dora.password).location().as_deref(), Some("/login/code"));
        }
        for browser in &browsers {
            browser.get("/login/code");
        }
        let code = app.code("dora");
        let code = &code;
        let entered = std::thread::scope(|scope| {
            let all: Vec<_> = browsers.into_iter().map(|browser| scope.spawn(move || send_code(&browser, code))).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).filter(|status| *status == 303).count()
        });
        assert_eq!(entered, 1);
    }

    fn a_used_code_says_so_and_does_not_count_as_a_failure(app) {
        let code = app.code("dora");
        let dora = app.person("dora");
        let enter = |browser: &Browser| {
            password(browser, &dora.email, dora.password);
            browser.submit("/login/code", &[("totp", &code)])
        };
        assert_eq!(enter(&app.browser()).status, 303);
        let again = app.browser();
        for _ in 0..8 {
            let page = enter(&again);
            assert!(page.says("already used"), "{}", page.text());
        }
        app.advance(Duration::seconds(30));
        let next = support::oathtool(dora.totp.as_deref().unwrap(), app.now());
        assert_eq!(again.submit("/login/code", &[("totp", &next)]).status, 303);
    }

    fn five_failures_refuse_the_network_for_fifteen_minutes_with_the_same_words(app) {
        let emil = app.person("emil");
        let browser = app.browser();
        for _ in 0..5 {
            assert_eq!(password(&browser, " EMIL@acme.example", "tall ships sail at dusk").status, 422);
        }
        let refused = password(&browser, &emil.email, emil.password);
        assert_eq!(refused.status, 422);
        assert!(refused.says("E-mail or password is not right"));
        app.advance(Duration::minutes(14));
        assert_eq!(password(&browser, &emil.email, emil.password).status, 422);
        app.advance(Duration::minutes(2));
        assert_eq!(password(&browser, &emil.email, emil.password).status, 303);
    }

    fn wrong_codes_count_across_sign_ins(app) {
        let dora = app.person("dora");
        let browser = app.browser();
        for _ in 0..5 {
            let first = password(&browser, &dora.email, dora.password);
            assert_eq!(first.status, 303);
            let page = browser.submit("/login/code", &[("totp", "000000")]);
            assert!(page.status == 422, "{}", page.text());
        }
        assert_eq!(password(&browser, &dora.email, dora.password).status, 422);
    }

    fn a_client_that_goes_away_leaves_room_for_others(app) {
        let emil = app.person("emil");
        let address = app.url.strip_prefix("http://").unwrap();
        for _ in 0..120 {
            let browser = app.browser();
            let form = browser.open("/login");
            let body = format!("csrf={}&email=nobody%40acme.example&password=wrong", form.csrf().unwrap());
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            // The first answer is left unread, so that the system resets the connection when it is closed.
            let requests = format!(
                "GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\nPOST /login HTTP/1.1\r\nHost: {address}\r\nOrigin: {}\r\nCookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                app.url,
                browser.cookies(),
                body.len()
            );
            std::io::Write::write_all(&mut stream, requests.as_bytes()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        app.advance(Duration::minutes(20));
        assert_eq!(password(&app.browser(), &emil.email, emil.password).status, 303);
    }

    fn a_session_ends_after_thirty_minutes_idle_and_twelve_hours_in_all(app) {
        let browser = app.signed_in("emil");
        app.advance(Duration::minutes(30) - Duration::seconds(1));
        assert!(is_signed_in(&browser));
        app.advance(Duration::minutes(30) + Duration::seconds(1));
        assert!(!is_signed_in(&browser));
        let browser = app.signed_in("emil");
        for _ in 0..35 {
            app.advance(Duration::minutes(20));
            assert!(is_signed_in(&browser));
        }
        app.advance(Duration::minutes(20));
        assert!(!is_signed_in(&browser));
    }

    fn a_cookie_that_a_client_brings_is_never_adopted(app) {
        let port = app.url.rsplit_once(':').unwrap().1.to_owned();
        let planted = format!("keyward-{port}=planted0123456789");
        let page = app.browser().get_with("/profile", &[("cookie", &planted)]);
        assert_eq!(page.status, 303);
        let emil = app.person("emil");
        let answer = password(&app.browser(), &emil.email, emil.password);
        assert!(!session_cookie(app, &answer).contains("planted"));
    }

    fn a_recovery_code_signs_in_once(app) {
        let browser = app.signed_in("dora");
        let page = browser.open("/profile/totp");
        let shown = browser.send(&page, "/profile/recovery-codes", &[("current_password", app.person("dora").password), ("totp", &app.code("dora"))]);
        assert_eq!(shown.status, 200, "{}", shown.text());
        let codes = shown.texts("#c-rc li");
        assert_eq!(codes.len(), 10);
        assert_eq!(shown.header("cache-control").as_deref(), Some("no-store"));
        let enter = |code: &str| {
            let browser = app.browser();
            password(&browser, &app.person("dora").email, app.person("dora").password);
            let page = browser.open("/login/code?with=recovery");
            browser.send(&page, "/login/code", &[("totp", code)])
        };
        assert_eq!(enter(&codes[3].to_uppercase()).status, 303);
        let again = enter(&codes[3]);
        assert_eq!(again.status, 422);
        assert!(again.says("used before"));
    }

    fn two_step_sign_in_is_set_up_with_an_app_and_leads_back(app) {
        let browser = app.signed_in("emil");
        let emil = app.person("emil");
        let page = browser.open("/profile/totp?next=/t/acme/keys/new");
        let started = browser.send(&page, "/profile/totp/start", &[("current_password", emil.password)]);
        let page = browser.follow(started);
        assert!(page.body.contains("<svg viewBox=\"-2 -2"), "{}", page.text());
        let secret = page.find("#c-t").unwrap().replace(' ', "");
        let code = support::oathtool(&secret, app.now());
        let shown = browser.send(&page, "/profile/totp", &[("totp", &code)]);
        assert_eq!((shown.status, shown.texts("#c-rc li").len()), (200, 10), "{}", shown.text());
        assert!(!session_cookie(app, &shown).is_empty());
        assert_eq!(shown.attributes("form[action='/profile/totp/done'] input[name=next]", "value"), ["/t/acme/keys/new"]);
        assert!(is_signed_in(&browser));
        // The code that set it up is used up.
        let second = app.browser();
        password(&second, &emil.email, emil.password);
        assert!(second.submit("/login/code", &[("totp", &code)]).says("already used"));
    }

    fn a_changed_password_ends_every_other_session(app) {
        let (here, there) = (app.signed_in("emil"), app.signed_in("emil"));
        let emil = app.person("emil");
        let wrong = here.submit("/profile/password", &[("current_password", "not this one"), ("new_password", "kettle under the old pier")]);
        assert_eq!(wrong.status, 422);
        let short = here.submit("/profile/password", &[("current_password", emil.password), ("new_password", "kettle pier")]);
        assert!(short.says("Enter 15 characters or more"), "{}", short.text());
        let done = here.submit("/profile/password", &[("current_password", emil.password), ("new_password", "kettle under the old pier")]);
        assert_eq!(done.status, 303, "{}", done.text());
        assert!(is_signed_in(&here));
        assert!(!is_signed_in(&there));
        assert_eq!(password(&app.browser(), &emil.email, emil.password).status, 422);
        assert_eq!(password(&app.browser(), &emil.email, "kettle under the old pier").status, 303);
    }

    fn a_session_can_be_ended_from_another(app) {
        let (here, there) = (app.signed_in("emil"), app.signed_in("emil"));
        let page = here.open("/profile");
        let ends: Vec<String> = page.attributes("form", "action").into_iter().filter(|action| action.ends_with("/end") && action.len() > 24).collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(here.send(&page, &ends[0], &[]).status, 303);
        assert!(is_signed_in(&here));
        assert!(!is_signed_in(&there));
    }

    fn a_reset_link_works_once_and_does_not_sign_in(app) {
        let emil = app.person("emil");
        let browser = app.signed_in("emil");
        let link = |email: &'static str| {
            let token = app.write(|tx| keyward::actions::credentials::start_reset(tx, email)).unwrap();
            format!("/password/reset/{}", token.reveal())
        };
        let (first, second) = (link("emil@acme.example"), link("emil@acme.example"));
        assert_eq!(app.browser().get(&first).status, 410);
        let fresh = app.browser();
        for _ in 0..3 {
            let page = fresh.get(&second);
            assert_eq!((page.status, page.header("referrer-policy").as_deref()), (200, Some("no-referrer")));
        }
        let set = fresh.submit(&second, &[("new_password", "kettle under the old pier")]);
        assert_eq!(set.location().as_deref(), Some("/login"));
        assert!(!is_signed_in(&fresh));
        assert!(!is_signed_in(&browser));
        assert_eq!(fresh.get(&second).status, 410);
        assert_eq!(password(&app.browser(), &emil.email, "kettle under the old pier").status, 303);
        let late = link("emil@acme.example");
        app.advance(Duration::minutes(61));
        assert_eq!(app.browser().get(&late).status, 410);
    }

    fn a_change_without_its_form_is_refused(app) {
        let browser = app.signed_in("emil");
        let other = app.signed_in("audrey").open("/profile").csrf().unwrap();
        let before = app.browser().open("/login").csrf().unwrap();
        let mine = browser.open("/profile").csrf().unwrap();
        let fields = [("theme", "dark"), ("time_zone", "UTC")];
        for token in ["", "x", &other, &before, &mine[..mine.len() - 1]] {
            let all = [fields[0], fields[1], ("csrf", token)];
            assert_eq!(browser.post("/profile/preferences", &all).status, 403, "{token}");
        }
        for (name, value) in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("content-type", "text/plain")] {
            let page = support::browser::agent()
                .post(format!("{}/profile/preferences", app.url))
                .header("sec-fetch-site", if name == "sec-fetch-site" { value } else { "same-origin" })
                .header("content-type", if name == "content-type" { value } else { "application/x-www-form-urlencoded" })
                .send(format!("theme=dark&time_zone=UTC&csrf={mine}"))
                .unwrap();
            assert_eq!(page.status(), 403, "{name}: {value}");
        }
        assert_eq!(browser.post("/profile/preferences", &fields).status, 303);
    }

    fn forms_refuse_what_they_do_not_have_and_what_is_too_large(app) {
        let browser = app.signed_in("emil");
        browser.open("/profile");
        let strange = browser.post("/profile/preferences", &[("theme", "dark"), ("time_zone", "UTC"), ("installation_owner", "1")]);
        assert_eq!(strange.status, 400);
        assert!(strange.says("installation_owner"));
        let twice = browser.post("/profile/preferences", &[("theme", "dark"), ("theme", "light"), ("time_zone", "UTC")]);
        assert_eq!(twice.status, 400);
        let wrong = browser.post("/profile/preferences", &[("theme", "dark"), ("time_zone", "Mars/Olympus")]);
        assert_eq!(wrong.status, 422);
        let large = "x".repeat(70_000);
        assert_eq!(browser.post("/profile/preferences", &[("theme", &large)]).status, 413);
    }

    fn every_answer_carries_the_headers_of_a_careful_console(app) {
        let browser = app.signed_in("emil");
        let answers = [
            browser.get("/profile"),
            browser.get("/no/such/page"),
            browser.get("/login?unknown=1"),
            browser.post("/profile/preferences", &[("csrf", "none")]),
            browser.post("/profile/preferences", &[("theme", &"x".repeat(70_000))]),
            app.browser().get("/login"),
            app.browser().get("/profile"),
        ];
        for page in &answers {
            let policy = page.header("content-security-policy").unwrap_or_default();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{} {policy}", page.status);
            assert_eq!(page.header("x-content-type-options").as_deref(), Some("nosniff"));
            assert_eq!(page.header("cache-control").as_deref(), Some("no-store"), "{}", page.path);
            assert!(page.header("referrer-policy").is_some() && page.header("cross-origin-opener-policy").is_some());
            assert!(page.header("server").is_none() && page.header("access-control-allow-origin").is_none());
            if page.status >= 400 {
                assert!(page.find("h1").is_some(), "{}: {}", page.status, page.body);
            }
        }
        assert_eq!(answers.iter().map(|page| page.status).collect::<Vec<_>>(), [200, 404, 400, 403, 413, 200, 303]);
    }

    fn another_host_leads_to_the_public_address(app) {
        let page = app.browser().get_with("/login?next=/profile", &[("host", "evil.example")]);
        assert_eq!(page.status, 302);
        assert_eq!(page.location().unwrap(), format!("{}/login?next=/profile", app.url));
    }

    fn an_account_that_must_have_totp_sets_it_up_before_anything_else(app) {
        app.write(|tx| {
            let before = keyward::store::tenants::by_slug(tx, "acme")?.unwrap();
            let settings = keyward::domain::tenant::Settings { require_totp: true, ..before.settings.clone() };
            keyward::store::tenants::save_settings(tx, &before, &settings)
        });
        let emil = app.person("emil");
        let browser = app.browser();
        assert_eq!(password(&browser, &emil.email, emil.password).location().as_deref(), Some("/profile/totp"));
        assert_eq!(browser.get("/profile").location().as_deref(), Some("/profile/totp"));
        let page = browser.open("/profile/totp");
        let secret = page.find("#c-t").unwrap().replace(' ', "");
        let shown = browser.send(&page, "/profile/totp", &[("totp", &support::oathtool(&secret, app.now()))]);
        assert_eq!(shown.status, 200);
        assert!(is_signed_in(&browser));
    }
}

fn send_code(browser: &Browser, code: &str) -> u16 {
    browser.post("/login/code", &[("totp", code)]).status
}

#[test]
fn behind_https_cookies_are_for_this_host_alone() {
    let app = support::spawn_with(support::Backend::Sqlite, &[("public_url", "https://keys.example.com")]);
    let page = app.browser().get_with("/login", &[("host", "keys.example.com")]);
    let cookie = cookies(&page).join(" ");
    assert!(cookie.starts_with("__Host-keyward-before=") && cookie.contains("Secure") && cookie.contains("HttpOnly"), "{cookie}");
    assert!(page.header("strict-transport-security").is_some());
    assert!(app.browser().get("/login").location().unwrap().starts_with("https://keys.example.com/login"));
}

#[test]
fn what_is_no_page_tells_browsers_not_to_guess_its_kind_and_to_keep_to_https() {
    let app = support::spawn_with(support::Backend::Sqlite, &[("public_url", "https://keys.example.com")]);
    let style = app.browser().get_with("/login", &[("host", "keys.example.com")]).attributes("link[rel=stylesheet]", "href").remove(0);
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/api/v1/nothing", 404), (style.as_str(), 200), ("/static/nothing.css", 404)] {
        let answer = app.browser().get_with(path, &[("host", "keys.example.com")]);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
        assert_eq!(answer.header("strict-transport-security").as_deref(), Some("max-age=31536000"), "{path}");
    }
    let plain = support::spawn(support::Backend::Sqlite);
    for path in ["/healthz", "/login", "/api/v1/nothing"] {
        assert_eq!(plain.browser().get(path).header("strict-transport-security"), None, "{path} over http");
    }
    let bearer = format!("Bearer {}", plain.gateway("acme"));
    let key = serde_json::json!({ "key": plain.fixture.key("dora").token });
    let verified = plain.call("POST", "/api/v1/keys/verify", &[("authorization", &bearer)], Some(key));
    assert_eq!((verified.status, verified.header("x-content-type-options").as_deref()), (200, Some("nosniff")));
}

mod set_up {
    use super::*;
    use crate::support::{Backend, spawn_empty};

    const FIELDS: [(&str, &str); 7] = [
        ("owner_name", "Olga Owner"),
        ("owner_email", "olga@example.com"),
        ("new_password", "kettle pier nine"),
        ("tenant", "Meridian Logistics"),
        ("slug", "meridian"),
        ("member_name", "Ines Ferreira"),
        ("member_email", "ines@meridian.example"),
    ];

    fn the_first_run(app: &TestApp) {
        let link = |app: &TestApp| {
            let token = app.write(keyward::actions::set_up::start).unwrap();
            format!("/setup/{}", token.reveal())
        };
        let (older, path) = (link(app), link(app));
        assert_eq!(app.browser().get(&older).status, 410);
        let browser = app.browser();
        let mut fields = FIELDS;
        fields[6].1 = "OLGA@example.com";
        let same = browser.submit(&path, &fields);
        assert_eq!(same.status, 422);
        assert!(same.says("another address"));
        assert_eq!(same.attributes("#tenant", "value"), ["Meridian Logistics"]);
        let done = browser.submit(&path, &FIELDS);
        assert_eq!(done.status, 200, "{}", done.text());
        let reset = done.find("#c-link").unwrap();
        assert_eq!(app.browser().get(&path).status, 410);
        // The owner goes on to two-step sign-in.
        let page = browser.open("/profile/totp");
        let secret = page.find("#c-t").unwrap().replace(' ', "");
        let codes = browser.send(&page, "/profile/totp", &[("totp", &support::oathtool(&secret, app.now()))]);
        assert_eq!(codes.texts("#c-rc li").len(), 10);
        assert!(is_signed_in(&browser));
        // The first member sets a password and comes in.
        let ines = app.browser();
        ines.submit(reset.strip_prefix(&app.url).unwrap(), &[("new_password", "under rain the kettle")]);
        assert_eq!(password(&ines, "ines@meridian.example", "under rain the kettle").status, 303);
        let profile = ines.open("/profile");
        assert!(profile.says("Tenant admin, Developer"), "{}", profile.text());
        assert!(app.app.store.write(app.now(), keyward::actions::set_up::start).unwrap().is_none());
    }

    #[test]
    fn the_first_run_makes_owner_tenant_and_member_once_on_sqlite() {
        the_first_run(&spawn_empty(Backend::Sqlite));
    }

    #[test]
    fn the_first_run_makes_owner_tenant_and_member_once_on_postgres() {
        the_first_run(&spawn_empty(Backend::Postgres));
    }
}
