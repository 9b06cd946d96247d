//! Text that is not UTF-8, wherever text may come in: refused in words, and nothing changes.

use crate::support::{
    TestApp,
    behind::{Behind, Tables},
    browser::{Browser, Page, agent, read},
};

/// Bytes within a form's value that are no UTF-8, escaped and as they are; and a NUL, which PostgreSQL could not keep.
const NOT_UTF8: [(&str, &[u8]); 11] = [
    ("é in Latin-1", b"Caf%E9"),
    ("é in Latin-1, as it is", b"Caf\xe9"),
    ("a lone continuation byte", b"a%80b"),
    ("a cut off é", b"Caf%C3"),
    ("an overlong slash", b"%C0%AF"),
    ("an overlong NUL", b"%C0%80"),
    ("half of a pair of UTF-16", b"%ED%A0%80"),
    ("above all code points", b"%F4%90%80%80"),
    ("UTF-16 with its mark", b"%FF%FEC%00"),
    ("a NUL", b"a%00b"),
    ("a NUL, as it is", b"a\0b"),
];

/// Posts these bytes as the page's own form would.
fn post(app: &TestApp, browser: &Browser, path: &str, kind: &str, body: &[u8]) -> Page {
    let request = agent()
        .post(format!("{}{path}", app.url))
        .header("origin", &app.url)
        .header("cookie", browser.cookies())
        .header("x-csrf-token", browser.token())
        .header("content-type", kind);
    read(path, request.send(body))
}

/// All rows, but when a session was last seen.
fn rows(app: &TestApp) -> Tables {
    Behind::new(app, &["seen_at"]).tables()
}

const FORM: &str = "application/x-www-form-urlencoded";

both! {
    fn a_form_that_is_not_utf8_is_refused_and_changes_nothing(app) {
        let (dora, ada) = (app.signed_in("dora"), app.signed_in("ada"));
        let key = app.fixture.key("dora").id;
        let edit = format!("/t/acme/keys/{key}/edit");
        let kept: Vec<_> = dora.open(&edit).form(&edit).into_iter().filter(|(name, _)| name != "comment").collect();
        let form = serde_urlencoded::to_string(kept).unwrap();
        ada.open("/t/acme/members/invite");
        let stranger = app.browser();
        stranger.open("/login");
        let before = rows(app);
        for (what, bytes) in NOT_UTF8 {
            let with = |start: &str| [start.as_bytes(), bytes].concat();
            let all = [
                post(app, &dora, &edit, FORM, &with(&format!("{form}&comment="))),
                post(app, &dora, &edit, FORM, &[&with(&format!("{form}&comment=x&")), &b"=y"[..]].concat()),
                post(app, &dora, &edit, &format!("{FORM}; charset=iso-8859-1"), &with(&format!("{form}&comment="))),
                post(app, &dora, "/profile/preferences", FORM, &with("theme=dark&time_zone=")),
                post(app, &ada, "/t/acme/members/invite", FORM, &with("email=new@acme.example&name=")),
                post(app, &stranger, "/login", FORM, &with("email=emil@acme.example&password=")),
            ];
            for page in all {
                assert_eq!(page.status, 400, "{what}: {} {}", page.path, page.text());
                assert!(page.says("not UTF-8") && page.says("Nothing was changed"), "{what}: {}", page.text());
            }
        }
        assert!(rows(app) == before, "something changed");
        // With what it should have been, the same request works.
        let good = post(app, &dora, &edit, FORM, format!("{form}&comment=Caf%C3%A9").as_bytes());
        assert_eq!(good.status, 303, "{}", good.text());
        assert!(dora.open(&format!("/t/acme/keys/{key}")).says("Café"));
    }

    fn a_form_of_another_kind_is_refused_and_changes_nothing(app) {
        let dora = app.signed_in("dora");
        dora.open("/profile");
        let before = rows(app);
        let parts = "--x\r\nContent-Disposition: form-data; name=\"theme\"\r\n\r\ndark\r\n--x\r\nContent-Disposition: form-data; name=\"time_zone\"\r\n\r\nUTC\r\n--x--\r\n";
        let plain: &[u8] = b"theme=dark&time_zone=UTC";
        let wide: Vec<u8> = plain.iter().flat_map(|byte| [*byte, 0]).collect();
        for (kind, body) in [
            ("multipart/form-data; boundary=x", parts.as_bytes()),
            ("text/plain", plain),
            ("application/json", b"{\"theme\":\"dark\",\"time_zone\":\"UTC\"}"),
            ("", plain),
            (FORM, &wide[..]),
        ] {
            let page = post(app, &dora, "/profile/preferences", kind, body);
            assert!([400, 403].contains(&page.status) && page.says("Nothing was changed"), "{kind}: {} {}", page.status, page.text());
        }
        assert!(rows(app) == before, "something changed");
        assert_eq!(post(app, &dora, "/profile/preferences", FORM, plain).status, 303);
    }

    fn an_address_a_cookie_or_a_browsers_name_that_is_not_utf8_is_no_fault_of_ours(app) {
        let ada = app.signed_in("ada");
        for (path, status) in [
            ("/t/acme/keys?q=Caf%E9", 400),
            ("/t/acme/keys.csv?q=%C0%AF", 400),
            ("/t/acme/events?q=%ED%A0%80", 400),
            ("/t/acme/explain?key=%FF", 400),
            ("/t/acme/keys/%E9", 404),
            ("/t/%E9/keys", 404),
            ("/t/acme/members/%C3", 404),
            ("/extend/%E9", 404),
            ("/password/reset/%FF", 410),
            ("/invite/%FF", 410),
            ("/static/%FF", 404),
            ("/%E9", 404),
        ] {
            let page = ada.get(path);
            assert_eq!(page.status, status, "{path}: {}", page.text());
        }
        let latin1 = ureq::http::HeaderValue::from_bytes(b"Caf\xe9").unwrap();
        let strange = agent().get(format!("{}/profile", app.url)).header("cookie", latin1.clone()).call().unwrap();
        assert_eq!(strange.status(), 303);
        let emil = app.person("emil");
        let browser = app.browser();
        browser.open("/login");
        let request = agent()
            .post(format!("{}/login", app.url))
            .header("origin", &app.url)
            .header("cookie", browser.cookies())
            .header("user-agent", latin1.clone())
            .header("x-forwarded-for", latin1);
        let csrf = browser.token();
        let answer = request.send_form([("email", emil.email.as_str()), ("password", emil.password), ("csrf", &csrf)]).unwrap();
        assert_eq!(answer.status(), 303);
    }

    fn a_call_that_is_not_utf8_is_a_400_and_a_gateways_is_refused(app) {
        let gateway = app.gateway("acme");
        let token = &app.fixture.key("dora").token;
        let send = |body: &[u8]| {
            let request = agent().post(format!("{}/api/v1/keys/verify", app.url)).header("authorization", format!("Bearer {gateway}"));
            read("verify", request.header("content-type", "application/json").send(body))
        };
        let around = |start: &str, bytes: &[u8], end: &str| [start.as_bytes(), bytes, end.as_bytes()].concat();
        for bytes in [&b"\xe9"[..], b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\\ud800"] {
            for body in [
                around("{\"key\":\"", bytes, "\"}"),
                around(&format!("{{\"key\":\"{token}\",\"scopes\":[\""), bytes, "\"]}"),
                around(&format!("{{\"key\":\"{token}\",\"resource\":\"site:"), bytes, "\"}"),
                around(&format!("{{\"key\":\"{token}\",\""), bytes, "\":1}"),
            ] {
                let page = send(&body);
                assert_eq!((page.status, page.header("content-type").as_deref()), (400, Some("application/problem+json")), "{body:?}: {}", page.body);
                assert_eq!((page.json()["status"].as_u64(), page.json()["code"].as_str()), (Some(400), Some("bad_request")), "{body:?}");
            }
        }
        let good = format!("{{\"key\":\"{token}\"}}");
        let marked = around("\u{feff}", good.as_bytes(), "");
        let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for body in [&marked[..], &wide, b"\0", b""] {
            assert_eq!(send(body).status, 400, "{body:?}");
        }
        assert_eq!(send(good.as_bytes()).json()["code"], "valid");

        let latin1 = ureq::http::HeaderValue::from_bytes(b"Caf\xe9").unwrap();
        let ask = |path: &str, more: &str| {
            let request = agent().get(format!("{}/api/v1/auth{path}", app.url)).header("x-keyward-gateway", &gateway);
            let request = if more == "x-api-key" { request } else { request.header("x-api-key", token) };
            let request = if more.is_empty() { request } else { request.header(more, latin1.clone()) };
            request.call().unwrap().status().as_u16()
        };
        let asked = [
            ask("?scope=%E9", ""),
            ask("?resource=%C0%AF", ""),
            ask("/%E9/x?q=%FF", "x-keyward-scope"),
            ask("/x", "x-keyward-resource"),
            ask("", "x-api-key"),
            ask("/%E9?scope=%FF", ""),
            ask("", "x-forwarded-for"),
            ask("", ""),
        ];
        assert_eq!(asked, [403, 403, 403, 403, 401, 200, 200, 200]);
    }
}
