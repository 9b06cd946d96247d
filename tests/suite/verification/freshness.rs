//! The memory obeys: at once here, within a second elsewhere, and not at all when it cannot be sure.

use std::time::{Duration, Instant};

use keyward::{
    actions::keys as act_keys,
    app::App,
    chance,
    domain::{
        lifetime::Choice,
        token::{self, Purpose, Token},
        verdict::Code,
    },
    verify::Unavailable,
};

use super::{act, ask, make, plain};
use crate::support::{Backend, TestApp, spawn, spawn_with};

/// A second process on the same database.
fn another(app: &TestApp) -> App {
    let other = App::open(app.app.config.clone(), app.app.clock.clone()).unwrap();
    other.gate.verifier.start();
    other
}

fn code(app: &App, tenant: keyward::domain::ids::TenantId, token: &str) -> Code {
    ask(app, tenant, token).unwrap().verdict.code
}

fn learn_ids(app: &App) {
    let began = Instant::now();
    while !app.gate.verifier.knows_all_ids() {
        assert!(began.elapsed() < Duration::from_secs(10));
        app.gate.verifier.confirm();
    }
}

both! {
    fn a_revoke_in_one_process_is_obeyed_by_another_within_a_second(app) {
        let (acme, dora) = (app.fixture.tenants["acme"], app.fixture.key("dora"));
        let other = another(app);
        assert_eq!((code(&app.app, acme, &dora.token), code(&other, acme, &dora.token)), (Code::Valid, Code::Valid));
        act(app, "dora", |tx, by| act_keys::revoke(tx, by, dora.id, ""));
        assert_eq!(code(&app.app, acme, &dora.token), Code::Revoked);
        let began = Instant::now();
        while code(&other, acme, &dora.token) != Code::Revoked {
            assert!(began.elapsed() < Duration::from_secs(1));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn a_key_made_elsewhere_works_within_a_second_and_on_a_shared_database_at_once(app) {
        let acme = app.fixture.tenants["acme"];
        let other = another(app);
        learn_ids(&other);
        let made = make(app, plain("new"), Choice::Never);
        if app.backend == Backend::Postgres {
            assert_eq!(code(&other, acme, made.token.reveal()), Code::Valid);
        }
        let began = Instant::now();
        while code(&other, acme, made.token.reveal()) != Code::Valid {
            assert!(began.elapsed() < Duration::from_secs(1));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn unknown_keys_neither_grow_the_memory_nor_read_the_database_twice(app) {
        let acme = app.fixture.tenants["acme"];
        let verifier = &app.app.gate.verifier;
        learn_ids(&app.app);
        assert_eq!(code(&app.app, acme, &app.fixture.key("dora").token), Code::Valid);
        let (remembered, reads) = (verifier.remembered(), verifier.reads());
        let tokens: Vec<Token> = (0..2_000).map(|_| Token::make(Purpose::Key, token::fresh_id(&mut chance::fill), &mut chance::fill)).collect();
        let wrong: Vec<Token> = (0..200).map(|_| Token::make(Purpose::Key, app.fixture.key("dora").id, &mut chance::fill)).collect();
        for token in tokens.iter().chain(&wrong) {
            assert_eq!(code(&app.app, acme, token.reveal()), Code::NotFound);
        }
        assert_eq!(verifier.remembered(), remembered);
        let looked_up = verifier.reads() - reads;
        match app.backend {
            // The one process knows which IDs exist.
            Backend::Sqlite => assert_eq!(looked_up, 0),
            Backend::Postgres => {
                let again = verifier.reads();
                for _ in 0..10 {
                    assert_eq!(code(&app.app, acme, tokens[0].reveal()), Code::NotFound);
                }
                assert_eq!(verifier.reads(), again);
            }
        }
        assert_eq!(code(&app.app, acme, &app.fixture.key("dora").token), Code::Valid);
    }

    fn a_change_of_the_tenant_is_obeyed_by_every_key_of_it(app) {
        let acme = app.fixture.tenants["acme"];
        let other = another(app);
        for owner in ["dora", "emil", "ci"] {
            assert_eq!(code(&other, acme, &app.fixture.key(owner).token), Code::Valid);
        }
        app.write(|tx| keyward::store::tenants::set_suspended(tx, acme, true));
        let began = Instant::now();
        while ["dora", "emil", "ci"].iter().any(|owner| code(&other, acme, &app.fixture.key(owner).token) != Code::TenantDisabled) {
            assert!(began.elapsed() < Duration::from_secs(1));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(code(&other, app.fixture.tenants["globex"], &app.fixture.key("gus").token), Code::Valid);
    }
}

#[test]
fn a_process_that_cannot_read_the_changes_stops_answering_and_starts_again() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let app = spawn_with(backend, &[("max_staleness", "1s")]);
        let (acme, dora) = (app.fixture.tenants["acme"], app.fixture.key("dora"));
        let other = another(&app);
        assert_eq!(code(&other, acme, &dora.token), Code::Valid);
        other.gate.verifier.cut_off(true);
        act(&app, "dora", |tx, by| act_keys::revoke(tx, by, dora.id, ""));
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(ask(&other, acme, &dora.token).unwrap_err(), Unavailable);
        other.gate.verifier.cut_off(false);
        other.gate.verifier.confirm();
        assert_eq!(code(&other, acme, &dora.token), Code::Revoked);
    }
}

#[test]
fn an_outage_is_503_for_gateways_and_readiness() {
    let app = spawn_with(Backend::Sqlite, &[("max_staleness", "1s")]);
    let gateway = super::gateway(&app, "acme");
    let token = ("x-api-key", app.fixture.key("dora").token.as_str());
    assert_eq!((super::auth(&app, &gateway, "", &[token]).status, app.call("GET", "/readyz", &[], None).status), (200, 200));
    app.app.gate.verifier.cut_off(true);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!((super::auth(&app, &gateway, "", &[token]).status, app.call("GET", "/readyz", &[], None).status), (503, 503));
    let page = app.call("POST", "/api/v1/keys/verify", &[("authorization", &format!("Bearer {gateway}"))], Some(serde_json::json!({ "key": "x" })));
    assert_eq!((page.status, page.header("retry-after").as_deref()), (503, Some("1")));
    assert_eq!(app.call("GET", "/healthz", &[], None).status, 200);
    app.app.gate.verifier.cut_off(false);
    app.app.gate.verifier.confirm();
    assert_eq!(super::auth(&app, &gateway, "", &[token]).status, 200);
}

#[test]
fn no_edit_of_one_character_is_accepted_or_looked_up() {
    let app = spawn(Backend::Sqlite);
    let acme = app.fixture.tenants["acme"];
    let verifier = &app.app.gate.verifier;
    let dora = app.fixture.key("dora").token.clone();
    assert_eq!(code(&app.app, acme, &dora), Code::Valid);
    let reads = verifier.reads();
    let fresh = (0..1_000).map(|_| Token::make(Purpose::Key, token::fresh_id(&mut chance::fill), &mut chance::fill).reveal().to_owned());
    let system = actix_web::rt::System::new();
    let request = keyward::domain::verdict::Request::default();
    for text in std::iter::once(dora).chain(fresh) {
        for at in 0..text.len() {
            for other in ["", "0", "z", "_", "-", "é", "\0", "%30"] {
                if other == &text[at..=at] {
                    continue;
                }
                let edited = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                let question =
                    keyward::verify::Question { token: Some(&edited), request: &request, impossible_scope: false, impossible_resource: false };
                let answer = system.block_on(verifier.verify(acme, &question)).unwrap();
                assert_eq!(answer.verdict.code, Code::NotFound, "{edited}");
            }
        }
    }
    assert_eq!(verifier.reads(), reads);
}
